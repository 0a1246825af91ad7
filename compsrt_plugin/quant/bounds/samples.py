"""`Samples`: the values of one tensor over many batches, in memory that does not grow with the number of batches."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import torch
from torch import Tensor

EXACT_LIMIT = 1 << 16
"""Number of values that are kept exactly (256 KiB); more values are counted in bins."""

BINS = 1 << 16
"""Number of bins of the histogram, a power of two (512 KiB of counts)."""

_CHUNK = 1 << 18  # values binned at a time, so that 2 MiB of scratch stay in the cache
_MANTISSA_BITS = 24  # of float32: bins narrower than the spacing of values hold no more information
_SMALLEST_EXPONENT = -112  # keeps 1 / width within float32


class Samples:
    """Gather the values of one tensor batch by batch for a bound search.

    Up to `EXACT_LIMIT` values are kept exactly. More values are counted in at most `BINS` bins of width 2^k. Bin q
    counts the values with trunc(x / 2^k) = q. (Because of the truncation, bin 0 reaches from −2^k to 2^k, with exact
    zeros, the most frequent of repeated values, in its middle.) k is the smallest exponent for which the range fits,
    so it depends on minimum and maximum only. Counts of a smaller k merge into wider bins without loss, since
    trunc(trunc(y) / 2) = trunc(y / 2). The result is therefore the same for every order and every split of the
    batches. Minimum and maximum are exact.

    Values are converted to float32. The state is on the device of the values.

    >>> samples = Samples()
    >>> samples.add(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    >>> samples.add(torch.tensor([-0.5]))
    >>> samples.count, samples.minimum, samples.maximum
    (5, -0.5, 4.0)
    """

    def __init__(self) -> None:
        self._count = 0
        self._minimum = math.inf
        self._maximum = -math.inf
        self._kept: list[Tensor] = []  # the values themselves, up to EXACT_LIMIT
        self._bins: Tensor | None = None  # int64 (BINS,): bin q is stored at q mod BINS, whatever the range
        self._exponent = 0  # k
        self._lock = threading.Lock()  # batches may be gathered concurrently

    @property
    def count(self) -> int:
        """Number of values gathered."""
        return self._count

    @property
    def minimum(self) -> float:
        """Smallest value, exact. Raises ValueError if there is none."""
        self._require_values()
        return self._minimum

    @property
    def maximum(self) -> float:
        """Largest value, exact. Raises ValueError if there is none."""
        self._require_values()
        return self._maximum

    def add(self, x: Tensor) -> None:
        """Gather all values of `x`, of any shape and real dtype; the caller may change `x` afterwards.

        Raises:
            ValueError: `x` holds NaN, infinity or a value beyond float32; none of its values is gathered then.
        """
        # State created in inference mode could not be updated outside it.
        with torch.inference_mode(False), torch.no_grad():
            values = x.detach().reshape(-1).to(torch.float32)
            if values.numel() == 0:
                return
            low, high = (bound.item() for bound in torch.aminmax(values))  # NaN makes both NaN
            if not (math.isfinite(low) and math.isfinite(high)):
                raise ValueError("the values to search bounds for hold NaN or infinity")
            with self._lock:
                low, high = min(low, self._minimum), max(high, self._maximum)
                self._count += values.numel()
                if self._count <= EXACT_LIMIT:
                    self._kept.append(values.clone())
                else:
                    self._fit_bins(low, high, values.device)
                    for few in (*self._kept, values):
                        self._tally(few)
                    self._kept.clear()
                self._minimum, self._maximum = low, high

    def distribution(self) -> Distribution:
        """Return the distribution of the gathered values. Raises ValueError if there are none."""
        self._require_values()
        with torch.inference_mode(False), torch.no_grad():
            if self._bins is None:
                return _of_values(torch.cat(self._kept).cpu())
            bins, counts = self._counts(self._bins)
            return _of_bins(bins.cpu(), counts.cpu(), 2.0**self._exponent, self._minimum, self._maximum)

    def _require_values(self) -> None:
        if self._count == 0:
            raise ValueError("no values were gathered")

    def _counts(self, ring: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bins of the current range in ascending order (n,), and the count of each (n,)."""
        first, last = (_bin_of(bound, self._exponent) for bound in (self._minimum, self._maximum))
        bins = torch.arange(first, last + 1, device=ring.device)
        return bins, ring[bins.bitwise_and(BINS - 1)]

    def _fit_bins(self, low: float, high: float, device: torch.device) -> None:
        """Prepare bins for values from `low` to `high`; keep all counts."""
        exponent = _smallest_exponent(low, high)
        if self._bins is None:
            self._bins = torch.zeros(BINS, dtype=torch.int64, device=device)
        elif exponent > self._exponent:
            bins, counts = self._counts(self._bins)
            wider = bins.div(1 << (exponent - self._exponent), rounding_mode="trunc")
            self._bins = torch.zeros_like(self._bins).index_add_(0, wider.bitwise_and(BINS - 1), counts)
        self._exponent = exponent

    def _tally(self, values: Tensor) -> None:
        """Count float32 `values` (n,) in the current bins."""
        assert self._bins is not None
        size = min(_CHUNK, values.numel())
        scaled = torch.empty(size, dtype=torch.float32, device=values.device)
        slots = torch.empty(size, dtype=torch.int32, device=values.device)
        for chunk in values.split(size):
            # Scaling by a power of two is exact and the cast truncates, so each value lands in its own bin.
            y = torch.mul(chunk, 2.0**-self._exponent, out=scaled[: chunk.numel()])
            slot = slots[: chunk.numel()].copy_(y).bitwise_and_(BINS - 1)
            self._bins += torch.bincount(slot, minlength=BINS)


def _bin_of(x: float, exponent: int) -> int:
    return int(math.ldexp(x, -exponent))


def _smallest_exponent(low: float, high: float) -> int:
    """Return the smallest k for which `BINS` bins of width 2^k cover `low` to `high`."""
    k = max(
        math.frexp((high - low) / BINS)[1] - 2,  # initial guess, at least twice too narrow; the loop below corrects it
        math.frexp(max(-low, high))[1] - _MANTISSA_BITS,
        _SMALLEST_EXPONENT,
    )
    while _bin_of(high, k) - _bin_of(low, k) >= BINS:
        k += 1
    return k


@dataclass(frozen=True)
class Distribution:
    """Count, sum and sum of squares of the values below any point.

    K knots divide the line into K + 1 segments; segment j starts at knot j − 1 (segment 0 at −∞). Exact values lie on
    the knots (density 0); binned values are spread evenly between them. Coordinates are relative to `centre`, which
    keeps squares small if a narrow range lies far from zero. All tensors are float64, on the CPU.

    Attributes:
        centre: the origin of the coordinates.
        knots: (K,), ascending.
        prefix: (3, K + 1): count, sum and sum of squares of the values below each segment.
        density: (K + 1,): values per unit of length within each segment.
    """

    centre: float
    knots: Tensor
    prefix: Tensor
    density: Tensor

    @property
    def totals(self) -> Tensor:
        """Count, sum and sum of squares of all values, relative to `centre`, (3,)."""
        return self.prefix[:, -1]

    def below(self, points: Tensor) -> Tensor:
        """Return count, sum and sum of squares of the values below each of `points`, (3, *points.shape)."""
        segment = torch.searchsorted(self.knots, points)
        start = self.knots[(segment - 1).clamp_(min=0)]
        spread = torch.stack([points - start, (points**2 - start**2) / 2, (points**3 - start**3) / 3])
        return self.prefix[:, segment] + self.density[segment] * spread

    def quantile(self, share: float) -> float:
        """Return the smallest value with a fraction `share` (above 0, up to 1) of all values at or below it.

        The result is a value of the tensor, not relative to `centre`.
        """
        target = share * self.totals[0].item()
        reached = int(torch.searchsorted(self.prefix[0], target))  # first segment that starts at or above it; ≥ 1
        point, density = self.knots[reached - 1].item(), self.density[reached - 1].item()
        if density > 0:
            point -= (self.prefix[0, reached].item() - target) / density
        return point + self.centre


def _of_values(values: Tensor) -> Distribution:
    knots = values.to(torch.float64).sort().values
    centre = (knots[0] + knots[-1]).item() / 2
    knots -= centre
    return Distribution(
        centre=centre,
        knots=knots,
        prefix=_running_totals(torch.stack([torch.ones_like(knots), knots, knots**2])),
        density=knots.new_zeros(knots.numel() + 1),
    )


def _of_bins(bins: Tensor, counts: Tensor, width: float, low: float, high: float) -> Distribution:
    centre = (low + high) / 2
    # Bin q covers q to q + 1 widths if q > 0, q − 1 to q if q < 0, and −1 to 1 if q = 0.
    left = torch.where(bins > 0, bins, bins - 1).to(torch.float64) * width
    left[0] = low
    knots = torch.cat([left, left.new_tensor([high])]) - centre
    counted = counts.to(torch.float64)
    length = knots.diff()
    density = (counted / length).nan_to_num_(posinf=0.0)  # the last bin may begin at `high` and have no length
    middle = knots[:-1] + length / 2
    total = counted * middle
    moments = torch.stack([counted, total, total * middle + counted * length**2 / 12])
    before, after = density.new_zeros(3, 1), density.new_zeros(1)
    return Distribution(
        centre=centre,
        knots=knots,
        prefix=torch.cat([before, _running_totals(moments)], dim=1),
        density=torch.cat([after, density, after]),
    )


def _running_totals(moments: Tensor) -> Tensor:
    """Return the sums of the first 0, 1, … n columns of `moments` (3, n): (3, n + 1)."""
    return torch.cat([moments.new_zeros(3, 1), moments.cumsum(1)], dim=1)
