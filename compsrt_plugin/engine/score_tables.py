"""Tables that attention adds to its scores, position biases and masks, as the operators read them.

Most windows of a mask of shifted windows are alike, and so are the masks of all layers: a matrix is kept once.
"""

from __future__ import annotations

import hashlib
import weakref
from typing import NamedTuple

import torch
from torch import Tensor

from compsrt_plugin.engine.attention import LOG2E

_made: weakref.WeakValueDictionary[tuple[tuple[bytes, ...], float, int], Tensor] = weakref.WeakValueDictionary()


class KeptTable(NamedTuple):
    """A table as the operators read it, and what it was made from.

    Attributes:
        source: the matrices of the network's code, kept alive so that their memory is not reused. None for masks, which
            are many matrices and mostly equal.
        version: of `source` when it was read.
        digests: of the matrices then.
        factor: that they were multiplied by.
        table: of the matrices that differ.
        numbers: which of these each matrix is, int32 (n,).
    """

    source: Tensor | None
    version: int
    digests: tuple[bytes, ...]
    factor: float
    table: Tensor
    numbers: Tensor

    def is_of(self, matrices: Tensor, factor: float) -> bool:
        """Whether a table made of these matrices would be this one."""
        if factor != self.factor:
            return False
        return self._reads(matrices) or _digests(matrices) == self.digests

    def _reads(self, matrices: Tensor) -> bool:
        """Whether these are the matrices that were read, in the same place and unchanged."""
        source = self.source
        if source is None or _version(matrices) != self.version:
            return False
        places = [(x.data_ptr(), x.shape, x.stride()) for x in (matrices, source)]
        return places[0] == places[1]


def kept_table(
    known: dict[tuple[int, int], KeptTable],
    key: tuple[int, int],
    table: Tensor,
    factor: float,
    leading: tuple[int, ...],
    lanes: int,
) -> tuple[Tensor, Tensor]:
    """Return a table as the operators read it; it is rebuilt only if its values changed since the last call.

    Args:
        known: tables of earlier calls.
        key: of this one among them.
        table: what is added, (..., query, key).
        factor: of the table.
        leading: shape of the scores without queries and keys, of which the table has broadcast axes.
        lanes: queries that are worked on at once.

    Returns:
        the table, and which of its matrices each problem has, int32 (problems,).
    """
    matrices, which = which_table(leading, table)
    kept = known.get(key)
    if kept is None or not kept.is_of(matrices, factor):
        kept = known[key] = _kept(matrices, factor, lanes)
    return kept.table, kept.numbers[which]


def _kept(matrices: Tensor, factor: float, lanes: int) -> KeptTable:
    digests = _digests(matrices)
    places = {digest: number for number, digest in reversed(list(enumerate(digests)))}  # the first of each
    distinct = tuple(dict.fromkeys(digests))
    table = _made.get((distinct, factor, lanes))
    if table is None:
        table = table_of_scores(matrices[[places[digest] for digest in distinct]], lanes, factor)
        _made[distinct, factor, lanes] = table
    order = {digest: number for number, digest in enumerate(distinct)}
    numbers = torch.tensor([order[digest] for digest in digests], dtype=torch.int32, device="cpu")
    source = matrices if len(distinct) == len(digests) else None
    return KeptTable(source, _version(matrices), digests, factor, table, numbers)


def _digests(matrices: Tensor) -> tuple[bytes, ...]:
    shape = str(tuple(matrices.shape[1:])).encode()
    return tuple(hashlib.blake2b(one.contiguous().numpy().data, key=shape).digest() for one in matrices.detach())


def which_table(leading: tuple[int, ...], table: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distinct matrices of a table, (n, query, key), and which of them each problem has, int32 (problems,).

    Args:
        leading: shape of the scores without queries and keys, of which the table has broadcast axes.
        table: (..., query, key).
    """
    own = table.shape[:-2]
    matrices = table.reshape(-1, *table.shape[-2:])
    numbers = torch.arange(matrices.shape[0], dtype=torch.int32, device="cpu").view(own)
    return matrices, numbers.expand(leading).reshape(-1).contiguous()


def table_of_scores(matrices: Tensor, lanes: int, factor: float = 1.0) -> Tensor:
    """Return what is added to scores, (..., query, key), as the operators read it: (n, blocks, key, lane of the query).

    Args:
        matrices: what is added.
        lanes: queries that are worked on at once.
        factor: of the matrices.
    """
    queries, keys = matrices.shape[-2:]
    blocks = -(-queries // lanes)
    flat = matrices.new_zeros(matrices.shape[:-2].numel(), blocks * lanes, keys)
    torch.mul(matrices.reshape(-1, queries, keys), LOG2E * factor, out=flat[:, :queries])
    return flat.view(-1, blocks, lanes, keys).transpose(-2, -1).contiguous()


def _version(x: Tensor) -> int:
    return -1 if x.is_inference() else x._version  # of inference tensors torch counts no versions
