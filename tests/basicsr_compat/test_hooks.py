"""BasicSR's pipeline asks the model class for its training loader, and knows no class by name."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from basicsr import train
from basicsr.utils.registry import MODEL_REGISTRY

import compsrt_plugin
from compsrt_plugin.basicsr_compat.hooks import train_loader_of


@pytest.fixture(autouse=True)
def registered() -> None:
    compsrt_plugin.register()


@pytest.fixture
def own_class(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a user's class, derived from ours and registered."""
    ours: Any = MODEL_REGISTRY.get("CompSRTModel")
    own = type("UsersModel", (ours,), {})
    monkeypatch.setitem(MODEL_REGISTRY._obj_map, "UsersModel", own)
    return "UsersModel"


def test_a_users_subclass_has_numbered_draws_too(own_class: str) -> None:
    assert train_loader_of(own_class) is not None
    assert train_loader_of("CompSRTTeacherModel") is not None
    assert train_loader_of("SRModel") is None


@pytest.mark.parametrize(("model", "epochs"), [("UsersModel", 0), ("SRModel", 7)])
def test_the_loader_of_the_class_replaces_basicsrs(
    model: str, epochs: int, own_class: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def own_loader(cls: type, opt: Any, loader: Any, val_loaders: Any, iterations: int) -> tuple[str, str]:
        assert (loader, val_loaders, iterations) == ("loader", ["held out"], 70)
        return "own loader", "own sampler"

    monkeypatch.setattr(MODEL_REGISTRY.get(own_class), "train_loader", classmethod(own_loader))
    repaired: Any = train.create_train_val_dataloader
    basicsrs = repaired.__closure__[0].cell_contents
    assert basicsrs.__module__ == "basicsr.train"
    monkeypatch.setattr(
        repaired.__closure__[0], "cell_contents", lambda opt, logger: ("loader", "sampler", ["held out"], 7, 70)
    )
    found = train.create_train_val_dataloader({"model_type": model}, logging.getLogger())
    names = ("own loader", "own sampler") if model == own_class else ("loader", "sampler")
    assert found == (*names, ["held out"], epochs, 70)
