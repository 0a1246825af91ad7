"""Repairs of BasicSR 1.4.2's data sets: fixed order of images, LMDBs opened once, one line for an unusable image.

They take effect when this module is imported, and use our readers of images and databases.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compsrt_plugin import basicsr_compat
from compsrt_plugin.basicsr_compat.rebind import is_repaired, rebind
from compsrt_plugin.data.databases import open_database
from compsrt_plugin.data.images import read_image
from compsrt_plugin.errors import CompSRTError


def _apply() -> dict[str, str]:
    """Repair BasicSR's data sets, once.

    Returns:
        Repair -> one line for `basicsr doctor`.
    """
    from basicsr import data
    from basicsr.data import data_util
    from basicsr.data.prefetch_dataloader import PrefetchGenerator
    from basicsr.utils.file_client import LmdbBackend
    from basicsr.utils.registry import DATASET_REGISTRY

    if is_repaired(data.build_dataset):
        return {}
    for _, kind in DATASET_REGISTRY:
        if _is_basicsrs(kind):
            kind.__getitem__ = _reading(kind.__getitem__)
    rebind(data_util.paired_paths_from_folder, _sorting(data_util.paired_paths_from_folder))
    rebind(data.build_dataset, _building(data.build_dataset))
    backend: Any = LmdbBackend
    generator: Any = PrefetchGenerator
    backend.__init__ = _open_once
    generator.run, generator.__next__ = _run_to_its_end, _next_or_error
    return {
        "data sets": "BasicSR's data sets do not name an unusable image and read images in any order: they do both",
        "prefetching": "BasicSR waits for ever after an error in the prefetching thread: the error is raised",
        "lmdb": "BasicSR opens an LMDB once for each data set, which lmdb refuses: data sets share it",
    }


def _run_to_its_end(self: Any) -> None:
    """Replace `PrefetchGenerator.run`: pass an error of the data set on like a batch."""
    try:
        for item in self.generator:
            self.queue.put(item)
        self.queue.put(None)
    except BaseException as error:
        self.queue.put(error)


def _next_or_error(self: Any) -> Any:
    """Replace `PrefetchGenerator.__next__`: raise an error that was passed on."""
    item = self.queue.get()
    if item is None:
        raise StopIteration
    if isinstance(item, BaseException):
        raise item
    return item


def _open_once(self: Any, db_paths: Any, client_keys: Any = "default", **_: Any) -> None:
    """Replace `LmdbBackend.__init__`: share open databases. BasicSR's other arguments have lmdb's defaults."""
    keys = [client_keys] if isinstance(client_keys, str) else client_keys
    self.db_paths = [str(path) for path in ([db_paths] if isinstance(db_paths, str) else db_paths)]
    self._client = {key: open_database(Path(path)) for key, path in zip(keys, self.db_paths)}


def _is_basicsrs(kind: Any) -> bool:
    return kind.__module__.split(".")[0] == "basicsr"


def _sorting(original: Any) -> Any:
    def paired_paths_from_folder(*args: Any) -> list[dict[str, str]]:
        return sorted(original(*args), key=lambda pair: pair["gt_path"])

    return paired_paths_from_folder


def _building(original: Any) -> Any:
    def build_dataset(dataset_opt: dict[str, Any]) -> Any:
        from basicsr.utils.registry import DATASET_REGISTRY

        try:
            return original(dataset_opt)
        except CompSRTError:
            raise
        except Exception as error:
            if not _is_basicsrs(DATASET_REGISTRY.get(dataset_opt["type"])):
                raise  # the traceback of a user's own code is useful
            raise CompSRTError(f"data set {dataset_opt['name']}: {_reason(error)}") from error

    return build_dataset


def _reading(original: Any) -> Any:
    def __getitem__(self: Any, index: int) -> Any:
        try:
            return original(self, index)
        except CompSRTError:
            raise
        except Exception as error:
            raise _unusable(self, index, error) from error

    return __getitem__


def _unusable(dataset: Any, index: int, error: Exception) -> CompSRTError:
    """Return the error for a data set entry on which BasicSR failed."""
    entry = dataset.paths[index] if hasattr(dataset, "paths") else f"entry {index}"
    files = [str(part) for part in (entry.values() if isinstance(entry, Mapping) else [entry])]
    in_database = "db_paths" in (getattr(dataset, "io_backend_opt", None) or {})
    try:
        for file in files if hasattr(dataset, "paths") and not in_database else ():
            read_image(Path(file))
    except CompSRTError as found:
        return found
    told = ", ".join(dict.fromkeys(files))
    return CompSRTError(f"data set {dataset.opt.get('name')}: {told} cannot be used ({_reason(error)})")


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it has no key {error}"
    return str(error) or type(error).__name__


basicsr_compat.add_repairs(_apply())
