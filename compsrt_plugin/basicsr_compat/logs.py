"""Repairs of BasicSR's log: TensorBoard may be missing, every run has its log file, the remaining time is right."""

from __future__ import annotations

import importlib.util
import logging
from typing import Any

from compsrt_plugin.basicsr_compat.rebind import is_repaired, rebind


def apply() -> dict[str, str]:
    """Repair BasicSR's logging, once.

    Returns:
        Repair -> one line for `basicsr doctor`.
    """
    from basicsr.utils import logger

    if is_repaired(logger.get_root_logger):
        return {}
    rebind(logger.init_tb_logger, _without_tensorboard(logger.init_tb_logger))
    rebind(logger.get_root_logger, _with_log_file(logger.get_root_logger))
    logger.MessageLogger.__init__ = _with_last_iteration(logger.MessageLogger.__init__)
    found = {
        "logger": "BasicSR's logger ignores a log file that is named after its first use: the file is added",
        "eta": "BasicSR's eta leaves out one iteration and ends below zero: it is counted",
    }
    if importlib.util.find_spec("tensorboard") is None:
        found["tensorboard"] = "TensorBoard is not installed: training continues without it"
    return found


class _NoTensorBoard:
    """Stands in for a TensorBoard writer and writes nothing."""

    def add_scalar(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def _without_tensorboard(original: Any) -> Any:
    """Return `init_tb_logger` that warns where TensorBoard cannot be imported, so that training continues."""

    def init_tb_logger(log_dir: str) -> Any:
        from basicsr.utils.logger import get_root_logger

        try:
            return original(log_dir)
        except ImportError as error:
            get_root_logger().warning(
                "TensorBoard is not available (%s): training continues without it; pip install tensorboard", error
            )
            return _NoTensorBoard()

    return init_tb_logger


def _with_log_file(original: Any) -> Any:
    """Return `get_root_logger` that obeys `log_file` in every call.

    BasicSR configures its logger at the first call. If a network that is being built makes that call, the log file
    and all INFO lines of the pipeline are lost.
    """
    from basicsr.utils.dist_util import get_dist_info

    def get_root_logger(
        logger_name: str = "basicsr", log_level: int = logging.INFO, log_file: str | None = None
    ) -> logging.Logger:
        logger = original(logger_name, log_level)
        if log_file is not None and get_dist_info()[0] == 0:
            for handler in [h for h in logger.handlers if isinstance(h, logging.FileHandler)]:
                logger.removeHandler(handler)  # one log file for each run in this process
                handler.close()
            # UTF-8 in every locale; file names that are not Unicode are escaped
            handler = logging.FileHandler(log_file, "w", encoding="utf-8", errors="backslashreplace")
            handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s: %(message)s"))
            handler.setLevel(log_level)
            logger.addHandler(handler)
            logger.setLevel(log_level)
        return logger

    return get_root_logger


def _with_last_iteration(original: Any) -> Any:
    """Return `MessageLogger.__init__` whose `eta` counts the last iteration; it ended at "-1 day, 23:59:58"."""

    def __init__(self: Any, opt: Any, start_iter: int = 1, tb_logger: Any = None) -> None:
        original(self, opt, start_iter, tb_logger)
        self.max_iters += 1

    return __init__
