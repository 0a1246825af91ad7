"""Spoil packed checkpoints in every way we can think of and judge what the reader makes of them.

Shared by the suite (200 cases) and `benchmarks/fuzz_packed.py` (10,000). A case is a number: it chooses
the file, the kind of damage and its place, so that any failure can be repeated alone.
"""

from __future__ import annotations

import contextlib
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed import Packed, read_packed, write_packed

from .damages import DAMAGES

MEMORY = 128 << 20  # bytes a reader may take for any of our files, all of them below 1 MB
SECONDS = 5.0  # of a core per file; a sound one takes milliseconds


@dataclass
class Outcome:
    """How often each (damage, verdict) came up, what went wrong, and the slowest case in seconds."""

    verdicts: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0


def sample_state(seed: int, blocks: int) -> tuple[dict[str, torch.Tensor], dict[str, int]]:
    """Return a state like a quantized network's, with every kind of tensor, and its code bits."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, torch.Tensor] = {"empty": torch.empty(0, 3), "step": torch.tensor(seed)}
    code_bits: dict[str, int] = {}
    for block in range(blocks):
        for i, layer in enumerate(("attn.q", "attn.proj", "mlp.fc1")):
            name, bits = f"layers.0.blocks.{block}.{layer}", 1 + (seed + block + i) % 8
            codes = torch.randint(0, 1 << bits, (2, 5, 8), generator=generator, dtype=torch.uint8).amin(0)
            mask = torch.rand(5, 8 if i < 2 else 1, generator=generator).gt(0.4).expand(5, 8).clone()
            state[f"{name}.weight_codes"] = codes * mask if i else codes  # the first keeps all: a mask of its own
            code_bits[f"{name}.weight_codes"] = bits
            state[f"{name}.mask"] = mask
            for bound in ("lower", "upper"):
                state[f"{name}.quantizer.{bound}"] = torch.randn((), generator=generator)
            state[f"{name}.bias"] = torch.randn(5, generator=generator).half()
    if blocks > 5:  # large enough to be compressed
        state["table16"] = torch.randn(600, generator=generator).half()
        state["convolution"] = torch.randn(2000, generator=generator).mul(9).add(128).to(torch.uint8)
        code_bits["convolution"] = 8
    state["table"] = torch.randint(0, 256, (7,), generator=generator, dtype=torch.uint8)
    return state, code_bits


def sample_masks(state: dict[str, torch.Tensor]) -> dict[str, str]:
    """Return which mask each code tensor of a sample state has."""
    prefixes = [name[: -len(".mask")] for name in state if name.endswith((".proj.mask", ".fc1.mask"))]
    return {f"{prefix}.weight_codes": f"{prefix}.mask" for prefix in prefixes}


def sample_files(folder: Path) -> list[Path]:
    """Write the sound files that are to be spoilt: a tiny one, a middling one, one without tensors."""
    header = {"arch": {"type": "SwinIR", "upscale": 4}, "spec": {"bits": 3}, "provenance": {"seed": 0}}
    paths = []
    for i, blocks in enumerate((1, 12, 0)):
        state, code_bits = sample_state(i, blocks) if blocks else ({}, {})
        paths.append(folder / f"sound{i}.safetensors")
        write_packed(paths[-1], state, code_bits, header, sample_masks(state))
    return paths


def fuzz(
    cases: Iterable[int],
    folder: Path,
    sound_files: list[Path],
    read: Callable[[Path], Packed] = read_packed,
) -> Outcome:
    """Spoil, read, judge. A reader must refuse in one line what was not sealed anew, whatever was changed."""
    outcome = Outcome()
    originals = [(path.read_bytes(), read_packed(path)) for path in sound_files]
    for case in cases:
        chance = random.Random(case)
        content, original = chance.choice(originals)
        name, spoil = chance.choice(DAMAGES)
        spoilt, sealed = spoil(content, chance)
        path = folder / f"case{case}.safetensors"
        path.write_bytes(spoilt)
        began = time.process_time()
        with limited_memory(MEMORY):
            verdict = _judge(read, path, original, changed=spoilt != content, sealed=sealed)
        outcome.slowest = max(outcome.slowest, time.process_time() - began)
        path.unlink()
        outcome.verdicts[name, verdict.split(":")[0]] += 1
        if verdict.startswith("FAILURE"):
            outcome.failures.append(f"case {case} ({name}): {verdict}")
    return outcome


def _judge(read: Callable[[Path], Packed], path: Path, original: Packed, *, changed: bool, sealed: bool) -> str:
    try:
        found = read(path)
    except CompSRTError as error:
        message = str(error)
        return "refused" if "\n" not in message and len(message) < 600 else f"FAILURE: message {message!r}"
    except BaseException as error:
        return f"FAILURE: {type(error).__name__}: {error}"
    if same(found, original):
        # A file sealed anew may say the same in another way; one that was not may differ in no bit.
        return "the same" if sealed or not changed else "FAILURE: a change went unnoticed"
    if not sealed:
        return "FAILURE: a weight changed silently"
    # An honest seal on other contents is another file, and must be a sound one.
    return "another sound file" if _consistent(found) else "FAILURE: unsound contents accepted"


def same(one: Packed, other: Packed) -> bool:
    """Tell whether two files hold the same, bit for bit and in the same order."""
    return (
        list(one.state) == list(other.state)
        and one.code_bits == other.code_bits
        and one.header == other.header
        and all(identical(tensor, other.state[name]) for name, tensor in one.state.items())
    )


def identical(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Tell whether two tensors have the same type, shape and bits; NaNs are compared by their bits too."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    bits = [t.contiguous().reshape(-1).view(torch.uint8) for t in (one, other)]
    return torch.equal(*bits)


def _consistent(packed: Packed) -> bool:
    return all(
        packed.state[name].dtype == torch.uint8
        and (packed.state[name].numel() == 0 or int(packed.state[name].max()) < 1 << bits)
        for name, bits in packed.code_bits.items()
    )


@contextlib.contextmanager
def limited_memory(extra: int) -> Iterator[None]:
    """Let this process take `extra` bytes more than it has, where the system knows such limits (Linux)."""
    if not sys.platform.startswith("linux"):
        yield
        return
    import resource

    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + extra, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
