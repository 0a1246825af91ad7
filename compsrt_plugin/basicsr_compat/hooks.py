"""The hook by which a model class supplies its own training data to BasicSR's pipeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

TrainLoader = Callable[..., tuple[Any, Any]]
"""Class method (opt, loader, val_loaders, iterations) -> (loader, sampler) of a model class.

Arguments are BasicSR's: the parsed options, the loaders it built, and the number of iterations of the run.
"""


def train_loader_of(model_type: str) -> TrainLoader | None:
    """Return the class method `train_loader` of a registered model class, or None if the class has none.

    A class that has it promises that its runs resume exactly: training patches depend on their number alone, and its
    states hold the network. Subclasses inherit the method.
    """
    from basicsr.utils.registry import MODEL_REGISTRY

    return getattr(MODEL_REGISTRY.get(model_type), "train_loader", None)
