"""docs/quantize.md says of recipes and learning rates what the code has."""

from __future__ import annotations

import re

import pages
import pytest

from compsrt_plugin.config.files import find_option_file
from compsrt_plugin.config.reader import read_option_file
from compsrt_plugin.config.recipes import RECIPES

PAGE = pages.read("docs/quantize.md")


def test_the_table_has_every_recipe_and_says_what_it_does() -> None:
    section = pages.sections(PAGE)["Choose a recipe"]
    rows = {line.split("`")[1]: line.strip("| ").split(" | ")[1:] for line in section.splitlines() if line[:3] == "| `"}
    assert set(RECIPES) < set(rows)  # the parts of `plus` follow in a table of their own
    for name, recipe in RECIPES.items():
        transform, _, trained, limited = rows[name]
        activation = recipe.values["activation"]
        assert (transform == "none") == (activation["transform"] == "none")
        assert (limited == "yes") == (activation["codes"] == "strict")
        conditioned = "before the search" if "conditioning" in recipe.passes else "no"
        changes = "yes" if recipe.distill.get("train_weights") else conditioned
        assert trained == changes


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_the_rates_are_those_of_the_installed_files(bits: int) -> None:
    options = read_option_file(find_option_file(f"compsrt_x4_{bits}bit", "train"))
    distill = {**RECIPES["plus"].distill, **(options["distill"] or {})}
    rates = [distill["lr_weights"], options["train"]["optim_g"]["lr"]]
    (told,) = re.findall(rf"(\S+) and (\S+) at {bits} bits", " ".join(PAGE.split()))
    assert [float(rate) for rate in told] == rates
