"""Plans: the published recipe's operations, what more devices and other numbers change, what was measured."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from weixing.cli.main import run
from weixing.errors import UserError
from weixing.planning.devices import Device, device_called, devices
from weixing.planning.plan import plan, planned_stages, shapes_called
from weixing.planning.text import as_table, duration
from weixing.planning.time import update_seconds
from weixing.recipes import RECIPES, UER_STAGE_1, WEIXING_STAGE_1
from weixing.zoo import ZOO

RESULTS = Path(__file__).parents[2] / "bench" / "results" / "speed"
PLAIN = Device("plain", "a GPU", 40, {"bf16": 100.0}, 2.0, 100.0, {128: 0.5}, 0.0, True)


def test_time_is_operations_over_peak_times_share_and_cost_is_hours_of_all_devices():
    stage = replace(UER_STAGE_1, steps=1000)
    one = plan(ZOO["2/128"], [stage], PLAIN, 1)
    tokens = 1000 * 512 * 128
    flops = tokens * ZOO["2/128"].training_flops_per_token(128, 0.15)
    assert one.stages[0].tokens == tokens
    assert one.stages[0].flops == pytest.approx(flops)
    assert one.seconds == pytest.approx(flops / 50e12)
    assert one.cost == pytest.approx(one.seconds / 3600 * 2)
    # On four GPUs: a quarter of that, and three halves of the gradients through links at half of 100 GB/s.
    four = plan(ZOO["2/128"], [stage], PLAIN, 4)
    assert four.seconds == pytest.approx(flops / 200e12 + 1000 * 1.5 * 4 * ZOO["2/128"].parameters / 50e9)
    assert four.cost == pytest.approx(four.seconds / 3600 * 8)


def test_all_24_with_the_published_recipe_are_its_two_stages():
    plans = [plan(shape, planned_stages("uer"), device_called("h200"), 8) for shape in shapes_called("all", 21_128)]
    assert [one.shape.name for one in plans] == list(ZOO)
    assert [stage.recipe for stage in plans[0].stages] == list(RECIPES["uer"])
    for one in plans:
        assert one.seconds == sum(stage.seconds for stage in one.stages)
        assert one.memory.total == max(stage.memory.total for stage in one.stages)
        assert one.fits
        assert one.shape.parameters == ZOO[one.shape.name].parameters
    assert sum(stage.tokens for stage in plans[0].stages) == 1_000_000 * 512 * 128 + 250_000 * 128 * 512


def test_a_budget_of_tokens_becomes_steps_of_the_stage_for_that_length():
    (stage,) = planned_stages("weixing", sequence_length=512, tokens=10_000_000, batch_size=4)
    assert (stage.sequence_length, stage.batch_size, stage.steps) == (512, 4, 4883)
    assert stage.peak_learning_rate == RECIPES["weixing"][1].peak_learning_rate


def test_what_does_not_fit_is_said():
    small = replace(PLAIN, memory_gib=2)
    assert not plan(ZOO["12/768"], [UER_STAGE_1], small, 1).fits
    assert plan(ZOO["12/768"], [UER_STAGE_1], small, 1, micro_batch_size=1).memory.total < plan(
        ZOO["12/768"], [UER_STAGE_1], small, 1
    ).memory.total  # fmt: skip
    assert "does not fit" in as_table([plan(ZOO["12/768"], [UER_STAGE_1], small, 1)])[1]


def test_entries_that_are_left_out_cost_nothing_where_the_recipe_leaves_them_out():
    core = device_called("zen4-core")
    assert plan(ZOO["2/128"], [WEIXING_STAGE_1], core, 2, entries=9104).seconds < 0.7 * (
        plan(ZOO["2/128"], [WEIXING_STAGE_1], core, 2).seconds
    )
    uer = [plan(ZOO["2/128"], [UER_STAGE_1], core, 2, entries=entries) for entries in (9104, None)]
    assert uer[0] == uer[1]


def measured():
    """Device, shape, rows, tokens/s and entries of every run whose device the sheet calls measured."""
    for name, case in json.loads((RESULTS / "gpu.json").read_text())["cases"].items():
        if "captured" not in name and "H200" in (case["machine"]["gpu"] or ""):
            figures = case["sides"]["weixing"]["figures"]
            yield pytest.param("h200", 1, name, figures["tokens_per_second"]["median"], 9104, id=f"h200 {name}")
    for name, case in json.loads((RESULTS / "pretrain.json").read_text())["cases"].items():
        kinds = {"model 17": "zen4-core", "model 207": "amx-core"}
        kind = next((kind for model, kind in kinds.items() if model in case["machine"]["processor"]), None)
        if kind and case["machine"]["cores"] == 2:
            figures = case["sides"]["weixing"]["figures"]
            entries = int(figures["vocabulary_trained"]["median"])
            yield pytest.param(kind, 2, name, figures["tokens_per_second"]["median"], entries, id=f"{kind} {name}")


@pytest.mark.parametrize(("kind", "count", "name", "tokens_per_second", "entries"), measured())
def test_planned_speeds_are_within_a_quarter_of_those_that_were_measured(kind, count, name, tokens_per_second, entries):
    shape, rows = name.split(", ")
    recipe = replace(WEIXING_STAGE_1, batch_size=int(rows.split(" × ")[0]))
    device = device_called(kind)
    seconds = update_seconds(ZOO[shape], recipe, device, count, "bf16", entries)
    assert recipe.batch_size * 128 / seconds == pytest.approx(tokens_per_second, rel=0.25)


def test_every_device_of_the_sheet_can_be_planned_for():
    for kind, device in devices().items():
        assert kind == device.kind
        one = plan(ZOO["4/256"], [WEIXING_STAGE_1], device, 2)
        assert one.seconds > 0
        assert one.precision in device.peak_tflops
    assert devices()["h100"].share(256) == devices()["h200"].share(256)
    assert not devices()["h100"].measured


def test_shares_between_the_widths_of_the_sheet_are_between_theirs():
    device = replace(PLAIN, shares={128: 0.1, 512: 0.3})
    assert device.share(64) == 0.1
    assert device.share(256) == pytest.approx(0.2)
    assert device.share(1024) == 0.3


def test_the_command_prints_a_table_or_one_json_document(capsys):
    assert run(["plan"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n{name:8}" in text for name in ZOO)
    assert "1,000,000 updates of 512 rows of 128" in text
    assert run(["plan", "--model", "8/512", "--device", "amx-core", "--devices", "2", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert one["parameters"] == ZOO["8/512"].parameters
    assert one["memory_bytes"] == max(stage["memory"]["total"] for stage in one["stages"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--device", "abacus"], "h200"),
        (["--model", "9"], "2/128 … 12/768"),
        (["--devices", "0"], "1 or more"),
        (["--recipe", "other"], "weixing or uer"),
        (["--tokens", "1000"], "--seq-length"),
        (["--seq-length", "1024"], "at most 512"),
        (["--device", "t4", "--precision", "bf16"], "float32"),
        (["--entries", "30000"], "at most 21128"),
        (["--price", "-1"], "0 or more"),
    ],
)
def test_wrong_options_are_refused_with_what_is_accepted(arguments, told, capsys):
    assert run(["plan", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_an_unknown_device_is_an_error_of_the_user():
    with pytest.raises(UserError, match="no device"):
        device_called("h300")


def test_durations_are_told_in_a_unit_that_leaves_two_of_it():
    told = [duration(seconds) for seconds in (40, 130, 7_199, 7_200, 200_000)]
    assert told == ["40 s", "2 min", "120 min", "2.0 h", "2.3 d"]
