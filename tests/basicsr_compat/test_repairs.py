"""Each repair is needed (the fault is shown first), and cures the fault."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import time
import types
from pathlib import Path

import pytest

from compsrt_plugin import basicsr_compat
from compsrt_plugin.basicsr_compat import importing, resume
from compsrt_plugin.errors import CompSRTError


@pytest.fixture(scope="module", autouse=True)
def repaired_basicsr() -> None:
    basicsr_compat.apply()


def pristine(module_name: str) -> types.ModuleType:
    """Load a BasicSR module a second time, as it is on disk, without our repairs."""
    found = importlib.util.find_spec(module_name)
    assert found is not None and found.origin is not None
    spec = importlib.util.spec_from_file_location(f"{module_name}_pristine", found.origin)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def without_modules(monkeypatch: pytest.MonkeyPatch, *tops: str) -> None:
    """Forget modules that are imported already; the test's end brings them back."""
    for name in list(sys.modules):
        if name.split(".")[0] in tops:
            monkeypatch.delitem(sys.modules, name)


def package(folder: Path, name: str, **files: str) -> Path:
    """Write a package of small modules, `a__b="..."` being a/b.py."""
    for path, text in {"__init__": "", **files}.items():
        target = folder / name / (path if path == "__init__" else path.replace("__", "/"))
        target.parent.mkdir(parents=True, exist_ok=True)
        (target.parent / "__init__.py").touch()
        target.with_suffix(".py").write_text(text)
    return folder / name


# TensorBoard


def test_training_goes_on_without_tensorboard(
    monkeypatch: pytest.MonkeyPatch, basicsr_log: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    from basicsr.utils import logger

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError):
        pristine("basicsr.utils.logger").init_tb_logger(str(tmp_path))
    writer = logger.init_tb_logger(str(tmp_path))
    writer.add_scalar("losses/l_pix", 0.5, 1)
    writer.close()
    monkeypatch.undo()
    assert [record.levelname for record in basicsr_log.records] == ["WARNING"]


# the logger


def test_a_log_file_named_after_the_loggers_first_use_is_written(tmp_path: Path) -> None:
    from basicsr.utils import logger as repaired

    for module, written in ((pristine("basicsr.utils.logger"), False), (repaired, True)):
        name = f"test_{module.__name__}"
        module.get_root_logger(name)
        module.get_root_logger(name, log_file=str(tmp_path / f"{name}.log")).info("hello")
        path = tmp_path / f"{name}.log"
        assert (path.is_file() and "INFO: hello" in path.read_text()) is written


def test_a_second_run_logs_to_its_own_file_only(tmp_path: Path) -> None:
    from basicsr.utils.logger import get_root_logger

    for run in ("first", "second"):
        get_root_logger("test_two_runs", log_file=str(tmp_path / f"{run}.log")).info(run)
    assert "second" not in (tmp_path / "first.log").read_text()
    assert "second" in (tmp_path / "second.log").read_text()


def test_the_log_takes_any_text_whatever_the_locale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from basicsr.utils.logger import get_root_logger

    monkeypatch.setattr("locale.getpreferredencoding", lambda *_: "ascii")
    get_root_logger("test_text", log_file=str(tmp_path / "run.log")).info("−0.11 dB, caf\udce9.png")
    assert "−0.11 dB, caf\\udce9.png" in (tmp_path / "run.log").read_text(encoding="utf-8")


@pytest.mark.parametrize("repaired", [False, True])
def test_the_time_left_is_never_below_zero(repaired: bool) -> None:
    from basicsr.utils import logger

    module, lines = logger if repaired else pristine("basicsr.utils.logger"), []
    opt = {"name": "x", "logger": {"print_freq": 1, "use_tb_logger": False}, "train": {"total_iter": 5}}
    messages = module.MessageLogger(opt, start_iter=1)
    messages.logger = types.SimpleNamespace(info=lines.append)
    for iteration in (4, 5):
        messages.start_time = time.time() - 2 * iteration  # two seconds an iteration
        messages({"epoch": 0, "iter": iteration, "lrs": [1e-3], "time": 2.0, "data_time": 0.1})
    wanted = ["0:00:02", "0:00:00"] if repaired else ["0:00:00", "-1 day, 23:59:58"]
    assert [line.split("eta: ")[1].split(", time")[0] for line in lines] == wanted


def test_repairs_reach_every_module_that_imported_the_function() -> None:
    import basicsr
    from basicsr.models import sr_model
    from basicsr.utils import logger

    assert sr_model.get_root_logger is logger.get_root_logger is basicsr.get_root_logger
    assert basicsr.load_resume_state is resume.load_resume_state


def test_repairing_twice_changes_nothing() -> None:
    from basicsr.utils import logger

    before = (logger.get_root_logger, logger.init_tb_logger, basicsr_compat.repairs_in_force())
    basicsr_compat.apply()
    assert before == (logger.get_root_logger, logger.init_tb_logger, basicsr_compat.repairs_in_force())


# a wrong basicsr


@pytest.fixture
def fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder before the installed packages, for a package that calls itself basicsr."""
    without_modules(monkeypatch, "basicsr")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [f for f in sys.meta_path if getattr(f, "name", "") != "basicsr"])
    return tmp_path


def test_the_toolbox_passes() -> None:
    assert basicsr_compat.check_basicsr().__name__ == "basicsr"


def test_a_fork_named_basicsr_is_refused_with_its_path_version_and_the_way_out(fork: Path) -> None:
    package(fork, "basicsr", version="__version__ = '1.2.0+hat'")
    with pytest.raises(CompSRTError) as error:
        basicsr_compat.check_basicsr()
    for part in (str(fork / "basicsr"), "1.2.0+hat", "basicsr.models.sr_model", "basicsr doctor --install"):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_an_installed_fork_is_to_be_uninstalled(fork: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(fork / "site-packages")
    package(fork / "site-packages", "basicsr")
    with pytest.raises(CompSRTError, match=r"version unknown.*pip uninstall -y .*, then basicsr doctor --install"):
        basicsr_compat.check_basicsr()


def test_a_basicsr_that_fails_to_import_is_named(fork: Path) -> None:
    package(fork, "basicsr", __init__="import a_module_that_nobody_has")
    with pytest.raises(CompSRTError, match=r"cannot be imported .*a_module_that_nobody_has"):
        basicsr_compat.check_basicsr()


def test_no_basicsr_at_all_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    without_modules(monkeypatch, "basicsr")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CompSRTError, match="BasicSR is not installed; install it with basicsr doctor --install"):
        basicsr_compat.check_basicsr()


# registration on import


def test_a_callback_waits_for_the_import_of_basicsr(fork: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(fork, "basicsr", __init__="order = ['imported']")
    prepared: list[str] = []
    monkeypatch.setattr(importing, "prepare_import", lambda: prepared.append("prepared"))

    def callback() -> None:
        sys.modules["basicsr"].order.append("called back")  # pyright: ignore[reportAttributeAccessIssue]

    basicsr_compat.on_basicsr_import(callback)
    assert importlib.util.find_spec("basicsr") is not None
    assert not prepared, "looking for the package is not importing it"
    basicsr = importlib.import_module("basicsr")
    assert (prepared, basicsr.order) == (["prepared"], ["imported", "called back"])


def test_a_callback_is_called_at_once_if_basicsr_is_there() -> None:
    called: list[int] = []
    basicsr_compat.on_basicsr_import(lambda: called.append(1))
    assert called == [1]
