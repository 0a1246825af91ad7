"""A thread that reads ahead hands its errors on; no one waits for a batch that never comes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from basicsr.data.prefetch_dataloader import PrefetchGenerator

import compsrt_plugin
from compsrt_plugin.errors import CompSRTError

compsrt_plugin.register()


def test_an_error_in_the_thread_is_raised_where_batches_are_taken() -> None:
    def batches() -> Iterator[int]:
        yield 1
        raise CompSRTError("the image is damaged")

    found = PrefetchGenerator(batches(), 1)
    assert next(found) == 1
    with pytest.raises(CompSRTError, match="the image is damaged"):
        next(found)


def test_the_end_is_the_end() -> None:
    assert list(PrefetchGenerator(iter([1, 2]), 1)) == [1, 2]
