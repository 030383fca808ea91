"""What a checkpoint says of the task that it belongs to."""

from __future__ import annotations

import json

import msgspec
import pytest

from striate.errors import RunError
from striate.fitting.checkpoint import check_same_task
from striate.fitting.recipe import Recipe

RECIPE = json.loads(msgspec.json.encode(Recipe(epochs=3)))
NOW = {"recipe": RECIPE, "classes": ["a", "b"], "data": "digits"}


def test_the_same_task_goes_on(tmp_path):
    check_same_task(tmp_path, NOW, NOW)


@pytest.mark.parametrize("missing", sorted(set(RECIPE) - {"epochs"}))
def test_a_setting_that_an_older_version_lacked_is_at_its_default(missing, tmp_path):
    older = {key: value for key, value in RECIPE.items() if key != missing}
    check_same_task(tmp_path, NOW, NOW | {"recipe": older})


@pytest.mark.parametrize("key, other", [("classes", ["a", "c"]), ("data", "mnist"), ("data", None), ("recipe", None)])
def test_another_task_is_refused_by_name(key, other, tmp_path):
    with pytest.raises(RunError, match=f"{key}: this run began with another {key}"):
        check_same_task(tmp_path, NOW, NOW | {key: other})


def test_of_two_recipes_only_what_differs_is_said(tmp_path):
    with pytest.raises(RunError) as caught:
        check_same_task(tmp_path, NOW, NOW | {"recipe": RECIPE | {"epochs": 4}})
    assert caught.value.got == "epochs=3 (it began with 4)"
