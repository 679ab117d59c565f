"""Recipes promise: the published numbers; a change of any value shows as a diff of tests/golden/recipes.json.

`UPDATE_GOLDEN=1 pytest tests/test_recipes.py` rewrites that file.
"""

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from weixing.errors import UserError
from weixing.recipes import RECIPES, recipe_for

GOLDEN = Path(__file__).parent / "golden" / "recipes.json"


def test_every_value_of_every_recipe_is_the_golden_one():
    resolved = {name: [asdict(stage) for stage in stages] for name, stages in RECIPES.items()}
    text = json.dumps(resolved, indent=2) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_uer_feeds_as_many_positions_as_the_model_cards_say():
    first, second = RECIPES["uer"]
    for stage in (first, second):
        assert stage.batch_size * stage.sequence_length == 65_536
    assert first.steps * 65_536 == 65_536_000_000
    assert (first.peak_learning_rate, second.peak_learning_rate) == (1e-4, 5e-5)


def test_the_sequence_length_chooses_the_stage():
    assert recipe_for("uer", 512).batch_size == 128
    assert recipe_for("uer", 128).batch_size == 512
    assert recipe_for("weixing", 64).sequence_length == 64
    with pytest.raises(UserError, match="weixing or uer"):
        recipe_for("adam", 128)
