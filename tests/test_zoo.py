"""The 24 shapes: their names, and their parameter counts against transformers."""

import pytest
import torch
import transformers

import weixing
from weixing.errors import UserError
from weixing.model.heads import MaskedLanguageModel
from weixing.zoo import ALIASES, ZOO, Shape, parse_shape


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", [*ZOO, "3/192"])
def test_a_shape_has_the_parameters_of_transformers_masked_language_model_and_of_our_own(name: str) -> None:
    shape = ZOO[name]
    config = transformers.BertConfig(
        vocab_size=shape.vocabulary_size,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.hidden // 64,
        intermediate_size=4 * shape.hidden,
    )
    with torch.device("meta"):
        theirs, ours = transformers.BertForMaskedLM(config), MaskedLanguageModel(shape)
    theirs.tie_weights()
    assert shape.parameters == count(theirs) == count(ours)


def test_the_zoo_is_the_24_combinations_in_order_and_each_knows_its_upstream_id() -> None:
    assert len(ZOO) == len(set(ZOO)) == 24
    assert list(ZOO)[:5] == ["2/128", "2/256", "2/512", "2/768", "4/128"]
    assert ZOO["8/512"].upstream_id == "uer/chinese_roberta_L-8_H-512"
    assert len({shape.upstream_id for shape in ZOO.values()}) == 24


def test_an_alias_is_the_shape_that_it_stands_for() -> None:
    assert {alias: ZOO[alias].name for alias in ALIASES} == ALIASES
    assert [ZOO[alias].alias for alias in ALIASES] == ["tiny", "mini", "small", "medium", "base"]
    assert ZOO["Tiny"] == ZOO["2/128"]
    assert ZOO["2/256"].alias is None


def test_a_custom_shape_has_no_alias_and_no_upstream_id_and_takes_a_vocabulary_size() -> None:
    shape = parse_shape("3/192", vocabulary_size=500)
    assert shape == Shape(3, 192, 500)
    assert (shape.heads, shape.feed_forward, shape.alias, shape.upstream_id) == (3, 768, None, None)


@pytest.mark.parametrize("name", ["2/100", "0/128", "2/0"])
def test_an_impossible_shape_is_refused_with_what_is_accepted(name: str) -> None:
    with pytest.raises(UserError, match="Accepted"):
        parse_shape(name)


@pytest.mark.parametrize("name", ["", "2-128", "2/128/3", "uer/chinese_roberta_L-2_H-128", "huge"])
def test_what_is_no_shape_name_is_none_and_no_key_of_the_zoo(name: str) -> None:
    assert parse_shape(name) is None
    assert name not in ZOO
    with pytest.raises(KeyError):
        ZOO[name]


def test_a_training_step_costs_three_forward_passes_of_the_stated_formula() -> None:
    # Shape 2/128, T 128, 15 % predicted, by hand. First layer: 24·128² + 4·128·128. Last: keys and values everywhere,
    # 4·128²; the other 20·128² + 4·128·128 at the predicted positions. Head: 0.3·(21128·128 + 128²).
    first, last = 393_216 + 65_536, 65_536 + 0.15 * (327_680 + 65_536)
    shape = ZOO["2/128"]
    assert shape.forward_flops_per_token(128, 0.15) == pytest.approx(first + last + 811_315.2 + 4_915.2)
    assert shape.training_flops_per_token(128, 0.15) == 3 * shape.forward_flops_per_token(128, 0.15)


def test_the_package_name_zoo_is_the_table_and_the_module_can_still_be_imported_from() -> None:
    assert weixing.zoo["8/512"].parameters == 36_585_608
    from weixing.zoo import Shape as imported

    assert imported is Shape
    assert weixing.zoo is ZOO
