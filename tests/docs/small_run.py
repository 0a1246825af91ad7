"""Commands of a page, made small."""

from __future__ import annotations

from pathlib import Path

import yaml
from training import tiny_run


def small(arguments: list[str], *entries: str) -> list[str]:
    """Return a command of a page with the small run's option file, a short schedule, and further entries."""
    options = tiny_run.options(Path.cwd())
    if arguments[0] == "test":
        options["datasets"] = {"test_1": {**options["datasets"]["val"], "subset": None}}
        for block in ("train", "logger"):
            del options[block]
        del options["val"]["val_freq"]
        options["path"] = {"pretrain_network_teacher": options["path"]["pretrain_network_g"]}
    Path("small.yml").write_text(yaml.safe_dump(options))
    found = [*arguments, *entries]
    found[found.index("-opt") + 1] = "small.yml"
    return [word for word in found if word not in ("--preset", "quick")]
