"""What BasicSR 1.4.2 needs on today's torch and torchvision, and the check for a wrong `basicsr`.

Each repair acts only where the fault is there. Two come before `import basicsr`, which fails otherwise
(`compsrt_plugin_startup`), the others after it; `apply()` does all of them in that order, and doing it twice changes
nothing.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from compsrt_plugin import compat_archs, compat_data, compat_resume, compat_training
from compsrt_plugin.errors import CompSRTError

C = TypeVar("C", bound=Callable[..., Any])

WANTED_VERSION = "1.4.2"
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

_in_force: dict[str, str] = {}  # repair -> one line for `basicsr doctor`
_waiting: list[Callable[[], None]] = []  # callbacks of an import that `check_basicsr` is in the middle of
_checking = False


def apply() -> None:
    """Make BasicSR 1.4.2 importable and usable; imports it.

    Raises:
        CompSRTError: the `basicsr` found is not the toolbox, or there is none.
    """
    _prepare_import()
    check_basicsr()
    _silence_missing_tensorboard()
    _resume_on_any_device()
    _keep_the_log_file()
    _count_the_last_iteration()
    _in_force.update(compat_training.apply(_rebind))
    _in_force.update(compat_data.apply(_rebind))
    _in_force.update(compat_archs.apply())
    while _waiting:
        _waiting.pop()()


def repairs_in_force() -> list[str]:
    """Return one line per repair that `apply()` found necessary in this process."""
    import compsrt_plugin_startup

    return [*compsrt_plugin_startup.in_force.values(), *_in_force.values()]


def on_basicsr_import(callback: Callable[[], None]) -> None:
    """Run `callback` as soon as `basicsr` is imported: at once if it is already.

    So `import compsrt_plugin` costs nothing until someone needs BasicSR, and the two repairs that must come
    before that import do come before it, whoever writes it.
    """
    if "basicsr" in sys.modules:
        callback()
    else:
        import compsrt_plugin_startup  # not above: in a source folder it is found only after that has been prepared

        def after() -> None:
            if _checking:
                _waiting.append(callback)
            else:
                callback()

        sys.meta_path.insert(0, compsrt_plugin_startup.AroundImport("basicsr", _prepare_import, after))


def register_once(registry: Any) -> Callable[[C], C]:
    """Return a decorator that registers a class or function in a BasicSR registry, unless its name is there.

    BasicSR's own decorator stops the program at the second registration of a name (a reloaded module, say).
    """

    def register(entry: C) -> C:
        if entry.__name__ not in registry:
            registry.register(entry)
        return entry

    return register


def check_basicsr() -> ModuleType:
    """Return the imported `basicsr` if it is the toolbox, version 1.4.x, with all we build on.

    Several restoration projects ship an own, older package of that name; whichever lies first on the path is
    imported, and the failure would come later as "No object named … found in registry".

    Raises:
        CompSRTError: none is installed, it cannot be imported, or it is another package; names its path, its
            version, and what to do.
    """
    loaded = sys.modules.get("basicsr")
    spec = loaded.__spec__ if loaded else importlib.util.find_spec("basicsr")
    if spec is None:
        raise CompSRTError("BasicSR is not installed", hint=f"pip install basicsr=={WANTED_VERSION}")
    place = str(Path(spec.origin).parent) if spec.origin else str(list(spec.submodule_search_locations or []))
    global _checking
    _checking = True  # what fails below is BasicSR's own, not that of someone waiting for its import
    try:
        basicsr = importlib.import_module("basicsr")
    except Exception as error:
        what = f"the basicsr at {place} cannot be imported ({type(error).__name__}: {error})"
        raise CompSRTError(what, hint=_way_out(place)) from error
    finally:
        _checking = False
    missing = _missing_names()
    version = getattr(sys.modules.get("basicsr.version"), "__version__", None)
    if missing or not str(version).startswith("1.4."):
        what = f"the basicsr at {place} (version {version or 'unknown'}) is not the BasicSR toolbox 1.4.x"
        lacks = f"; it lacks {', '.join(missing)}" if missing else ""
        raise CompSRTError(what + lacks, hint=_way_out(place))
    return basicsr


def _missing_names() -> list[str]:
    """List what we build on and the imported `basicsr` does not have."""
    missing = []
    for module_name, names in WANTED_NAMES.items():
        try:
            module = importlib.import_module(module_name)
        except ImportError:
            missing.append(module_name)
            continue
        missing += [f"{module_name}.{name}" for name in names if not hasattr(module, name)]
    return missing


def _way_out(place: str) -> str:
    """Say how to get the toolbox instead of the package at `place`."""
    install = f"pip install basicsr=={WANTED_VERSION}"
    if "site-packages" not in place and "dist-packages" not in place:
        return f"take {Path(place).parent} off the Python path (or start from another folder), then {install}"
    owners = importlib.metadata.packages_distributions().get("basicsr", ["basicsr"])
    return f"pip uninstall -y {' '.join(sorted(set(owners)))}, then {install}"


def _prepare_import() -> None:
    """Do the repairs without which `import basicsr` fails."""
    import compsrt_plugin_startup  # not above: in a source folder it is found only after that has been prepared

    compsrt_plugin_startup.repair_torchvision()
    # BasicSR's SwinIR builds its index with torch.meshgrid as it was meant to; the user can do nothing about it.
    warnings.filterwarnings("ignore", message=r"torch\.meshgrid: in an upcoming release")


def _rebind(original: Callable[..., Any], repaired: Callable[..., Any]) -> None:
    """Replace a BasicSR function under its name in every module that imported it."""
    name = original.__name__
    for module_name, module in list(sys.modules.items()):
        if module_name.split(".")[0] == "basicsr" and getattr(module, name, None) is original:
            setattr(module, name, repaired)


class _NoTensorBoard:
    """Stands in for a TensorBoard writer and writes nothing."""

    def add_scalar(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def _silence_missing_tensorboard() -> None:
    """Let training go on, with one warning, where TensorBoard cannot be imported (`tb-nightly`)."""
    if "tensorboard" in _in_force:
        return
    from basicsr.utils import logger as basicsr_logger

    original = basicsr_logger.init_tb_logger
    if getattr(original, "repaired", False):
        return

    def init_tb_logger(log_dir: str) -> Any:
        try:
            return original(log_dir)
        except ImportError as error:
            basicsr_logger.get_root_logger().warning(
                "TensorBoard is not there (%s): training goes on without it; pip install tensorboard", error
            )
            return _NoTensorBoard()

    init_tb_logger.repaired = True  # pyright: ignore[reportFunctionMemberAccess]
    _rebind(original, init_tb_logger)
    if importlib.util.find_spec("tensorboard") is None:
        _in_force["tensorboard"] = "TensorBoard is not installed: training goes on without it"


def _resume_on_any_device() -> None:
    """Replace `basicsr.train.load_resume_state`, which needs a GPU and runs code it finds in the file."""
    from basicsr import train

    original = train.load_resume_state
    if original is not compat_resume.load_resume_state:
        _rebind(original, compat_resume.load_resume_state)
        _in_force["resume"] = "BasicSR resumes on GPUs only: states load on any device, and only data is read"


def _keep_the_log_file() -> None:
    """Honour `log_file` in BasicSR's logger whoever asked for the logger first.

    BasicSR sets its logger up at the first call; if that is, say, a network being built, then the log file
    and all INFO lines of the pipeline that follows are lost.
    """
    from basicsr.utils import logger as basicsr_logger
    from basicsr.utils.dist_util import get_dist_info

    original = basicsr_logger.get_root_logger
    if getattr(original, "repaired", False):
        return

    def get_root_logger(
        logger_name: str = "basicsr", log_level: int = logging.INFO, log_file: str | None = None
    ) -> logging.Logger:
        logger = original(logger_name, log_level)
        if log_file is not None and get_dist_info()[0] == 0:
            for handler in [h for h in logger.handlers if isinstance(h, logging.FileHandler)]:
                logger.removeHandler(handler)  # one run, one log: the second run has its own file
                handler.close()
            # in UTF-8 whatever the locale, and escaped where a file's name is no Unicode
            handler = logging.FileHandler(log_file, "w", encoding="utf-8", errors="backslashreplace")
            handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s: %(message)s"))
            handler.setLevel(log_level)
            logger.addHandler(handler)
            logger.setLevel(log_level)
        return logger

    get_root_logger.repaired = True  # pyright: ignore[reportFunctionMemberAccess]
    _rebind(original, get_root_logger)
    _in_force["logger"] = "BasicSR's logger ignores a log file named after its first use: it is added"


def _count_the_last_iteration() -> None:
    """Let BasicSR's `eta` be the time of the iterations that are left: it leaves the last one out.

    At the end that made it "-1 day, 23:59:58".
    """
    from basicsr.utils.logger import MessageLogger

    original = MessageLogger.__init__
    if getattr(original, "repaired", False):
        return

    def __init__(self: Any, opt: Any, start_iter: int = 1, tb_logger: Any = None) -> None:
        original(self, opt, start_iter, tb_logger)
        self.max_iters += 1

    __init__.repaired = True  # pyright: ignore[reportFunctionMemberAccess]
    MessageLogger.__init__ = __init__
    _in_force["eta"] = "BasicSR's eta leaves one iteration out and ends below zero: it is counted"
