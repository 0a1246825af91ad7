"""Collect exact extremes and moments of a tensor, and a uniform sample of its vectors, batch by batch.

Memory does not grow with the number of batches.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor

from compsrt_plugin.quant.transforms import TRANSFORMS

SAMPLE_VALUES = 1 << 17
"""Maximum number of values in the sample of one tensor (512 KiB)."""

_CHUNK = 1 << 18  # values transformed at a time, so that intermediate results stay in the CPU cache


class Moments:
    """Extremes and the first four moments of all values seen.

    Power sums are taken about the mean of the first batch, which keeps them small for values far from zero.
    """

    def __init__(self) -> None:
        self.count = 0
        self.minimum, self.maximum = math.inf, -math.inf
        self._pivot = 0.0
        self._sums = [0.0] * 4

    def add(self, values: Tensor) -> None:
        """Add all values of a float32 tensor.

        Raises:
            ValueError: the tensor has NaN or infinity. None of its values is added.
        """
        flat = values.reshape(-1)
        if flat.numel() == 0:
            return
        low, high = (float(bound) for bound in torch.aminmax(flat))
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError("the values hold NaN or infinity")
        if self.count == 0:
            self._pivot = float(flat.mean())
        self.count += flat.numel()
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)
        first = flat - self._pivot
        second = first * first
        sums = first.sum(), second.sum(), torch.dot(second, first), torch.dot(second, second)
        self._sums = [total + float(part) for total, part in zip(self._sums, sums)]

    @property
    def span(self) -> float:
        """Range: maximum − minimum."""
        return self.maximum - self.minimum

    @property
    def mean(self) -> float:
        """Mean of all values."""
        return self._pivot + self._sums[0] / self.count

    @property
    def std(self) -> float:
        """Population standard deviation of all values."""
        return math.sqrt(self._central()[0])

    @property
    def kurtosis(self) -> float:
        """Excess kurtosis: 0 for a normal distribution, more for heavier tails, 0 if all values are equal."""
        second, fourth = self._central()
        return fourth / second**2 - 3 if second > 0 else 0.0

    def _central(self) -> tuple[float, float]:
        """Return the second and fourth central moment."""
        shift, second, third, fourth = (total / self.count for total in self._sums)
        return (
            max(0.0, second - shift**2),
            max(0.0, fourth - 4 * shift * third + 6 * shift**2 * second - 3 * shift**4),
        )


class Reservoir:
    """A uniform sample of the vectors of all batches.

    Every vector gets a random key, and the vectors with the smallest keys are kept. Keys depend only on the seed, the
    name, and the number of previous batches.

    Args:
        name: name of the tensor. Two tensors have different keys.
        seed: seed of all keys.
        most: maximum number of values, in complete vectors.
    """

    def __init__(self, name: str, seed: int = 0, most: int = SAMPLE_VALUES) -> None:
        self._generator = torch.Generator("cpu").manual_seed(zlib.crc32(name.encode()) ^ seed)
        self._most = most
        self._keys = torch.empty(0, dtype=torch.float32, device="cpu")
        self._vectors: Tensor | None = None

    def add(self, vectors: Tensor) -> None:
        """Add a batch of vectors (n, d).

        Raises:
            ValueError: d differs from that of earlier batches.
        """
        if self._vectors is None:
            self._vectors = vectors[:0].clone()
        if vectors.shape[1] != self._vectors.shape[1]:
            raise ValueError(f"vectors of {vectors.shape[1]} numbers after vectors of {self._vectors.shape[1]}")
        most = max(1, self._most // vectors.shape[1])
        keys = torch.rand(len(vectors), generator=self._generator, dtype=torch.float32, device="cpu")
        if len(self._keys) == most:
            chosen = (keys < self._keys.max()).nonzero().flatten()
            keys, vectors = keys[chosen], vectors[chosen.to(vectors.device)]
        keys, vectors = torch.cat([self._keys, keys]), torch.cat([self._vectors, vectors])
        if len(keys) > most:
            kept = keys.topk(most, largest=False).indices
            keys, vectors = keys[kept], vectors[kept.to(vectors.device)]
        self._keys, self._vectors = keys, vectors

    @property
    def vectors(self) -> Tensor:
        """The sample (n, d), in arbitrary order. Raises ValueError if no vector was added."""
        if self._vectors is None or not len(self._vectors):
            raise ValueError("no values arrived")
        return self._vectors


class Stream:
    """Collects one tensor before and after each transform, batch by batch.

    Args:
        name: name of its place.
        transforms: names of transforms, including `none`.
        seed: seed of the sample.

    Attributes:
        moments: transform -> moments of all values in that domain.
        sample: vectors of the original domain.
    """

    def __init__(self, name: str, transforms: Sequence[str], seed: int = 0) -> None:
        self.name = name
        self.moments = {transform: Moments() for transform in transforms}
        self.sample = Reservoir(name, seed)

    def add(self, x: Tensor) -> None:
        """Add a batch (..., d).

        Raises:
            ValueError: the batch has NaN or infinity, or d changed.
        """
        vectors = x.detach().reshape(-1, x.shape[-1]).float()
        self.sample.add(vectors)
        for chunk in vectors.split(max(1, _CHUNK // vectors.shape[1])):
            for transform, moments in self.moments.items():
                moments.add(TRANSFORMS[transform].forward(chunk))
