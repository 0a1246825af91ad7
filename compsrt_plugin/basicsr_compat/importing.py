"""The import of `basicsr`: what it needs beforehand, whether it is the toolbox, and who waits for it."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from compsrt_plugin.basicsr_compat.installing import COMMAND
from compsrt_plugin.errors import CompSRTError

WANTED_NAMES = {
    "basicsr.version": ("__version__",),
    "basicsr.utils.registry": ("ARCH_REGISTRY", "DATASET_REGISTRY", "METRIC_REGISTRY", "MODEL_REGISTRY"),
    "basicsr.utils.logger": ("get_root_logger", "init_tb_logger"),
    "basicsr.train": ("load_resume_state", "train_pipeline"),
    "basicsr.test": ("test_pipeline",),
    "basicsr.models.sr_model": ("SRModel",),
    "basicsr.data.paired_image_dataset": ("PairedImageDataset",),
    "basicsr.archs.swinir_arch": ("SwinIR",),
}

_waiting: list[Callable[[], None]] = []  # callbacks held back while `check_basicsr` imports
_checking = False


def prepare_import() -> None:
    """Run the repairs without which `import basicsr` fails."""
    import compsrt_plugin_startup  # not at the top: a source folder must be put on the path first

    compsrt_plugin_startup.repair_torchvision()
    # BasicSR's SwinIR calls torch.meshgrid without `indexing`; the result is right and users cannot change it.
    warnings.filterwarnings("ignore", message=r"torch\.meshgrid: in an upcoming release")


def on_basicsr_import(callback: Callable[[], None]) -> None:
    """Run `callback` when `basicsr` is imported, or at once if it is imported already.

    `import compsrt_plugin` therefore costs nothing until BasicSR is needed, and the repairs that must precede
    `import basicsr` do so whoever imports it.
    """
    if "basicsr" in sys.modules:
        callback()
        return
    import compsrt_plugin_startup  # not at the top: a source folder must be put on the path first

    def after() -> None:
        if _checking:
            _waiting.append(callback)
        else:
            callback()

    sys.meta_path.insert(0, compsrt_plugin_startup.AroundImport("basicsr", prepare_import, after))


def run_waiting() -> None:
    """Run the callbacks that `check_basicsr` held back."""
    while _waiting:
        _waiting.pop()()


def check_basicsr() -> ModuleType:
    """Import `basicsr` and return it if it is the toolbox, version 1.4.x, with all names that we use.

    Several restoration projects ship an older package of the same name. Python imports whichever comes first on the
    path; without this check the failure would come later, as "No object named … found in registry".

    Raises:
        CompSRTError: none is installed, it cannot be imported, or it is another package. The message gives its path,
            its version and the remedy.
    """
    loaded = sys.modules.get("basicsr")
    spec = loaded.__spec__ if loaded else importlib.util.find_spec("basicsr")
    if spec is None:
        raise CompSRTError("BasicSR is not installed", hint=f"install it with {COMMAND}")
    place = str(Path(spec.origin).parent) if spec.origin else str(list(spec.submodule_search_locations or []))
    global _checking
    _checking = True  # callbacks may raise; an error during this import must be BasicSR's own
    try:
        basicsr = importlib.import_module("basicsr")
    except Exception as error:
        what = f"the basicsr at {place} cannot be imported ({type(error).__name__}: {error})"
        raise CompSRTError(what, hint=_remedy(place)) from error
    finally:
        _checking = False
    missing = _missing_names()
    version = getattr(sys.modules.get("basicsr.version"), "__version__", None)
    if missing or not str(version).startswith("1.4."):
        what = f"the basicsr at {place} (version {version or 'unknown'}) is not the BasicSR toolbox 1.4.x"
        lacks = f"; it lacks {', '.join(missing)}" if missing else ""
        raise CompSRTError(what + lacks, hint=_remedy(place))
    return basicsr


def _missing_names() -> list[str]:
    """Return the names that we use and the imported `basicsr` lacks."""
    missing = []
    for module_name, names in WANTED_NAMES.items():
        try:
            module = importlib.import_module(module_name)
        except ImportError:
            missing.append(module_name)
            continue
        missing += [f"{module_name}.{name}" for name in names if not hasattr(module, name)]
    return missing


def _remedy(place: str) -> str:
    """Return how to install the toolbox instead of the package at `place`."""
    if "site-packages" not in place and "dist-packages" not in place:
        return f"take {Path(place).parent} off the Python path (or start from another folder), then {COMMAND}"
    owners = importlib.metadata.packages_distributions().get("basicsr", ["basicsr"])
    return f"pip uninstall -y {' '.join(sorted(set(owners)))}, then {COMMAND}"
