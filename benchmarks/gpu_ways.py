"""The ways to run SwinIR-light on a GPU that the GPU engine is timed beside, and how they are timed."""

from __future__ import annotations

import statistics
import traceback
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import compsrt_plugin

compsrt_plugin.register()

from compsrt_plugin.bundled import checkpoint_path  # noqa: E402
from compsrt_plugin.engine_gpu import GpuEngine  # noqa: E402
from compsrt_plugin.packed_network import open_packed  # noqa: E402
from compsrt_plugin.profiling.ways import full_precision  # noqa: E402

SCALE = 4
Call = Callable[[], Any]


def say(*words: Any) -> None:
    """Print at once."""
    print(*words, flush=True)


def attempt(name: str, call: Callable[[], Any]) -> Any:
    """Return what a call returns, or None with its error printed: one way that fails must not end the run."""
    try:
        return call()
    except Exception as error:
        say(f"FAILED {name}: {type(error).__name__}: {str(error)[:600]}")
        say("".join(traceback.format_exc().splitlines(keepends=True)[-6:]))
        return None


def as_graph(call: Callable[[], Tensor]) -> Call:
    """Return what replays a call, recorded as a CUDA graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        made = call()
    kept = (call, made)  # what the graph reads and writes
    return lambda: (graph.replay(), kept)


def milliseconds(call: Call, inner: int = 1) -> float:
    """Return how long a call takes on the GPU, mean of `inner` in a row."""
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    before.record()
    for _ in range(inner):
        call()
    after.record()
    after.synchronize()
    return before.elapsed_time(after) / inner


def smooth(b: int, h: int, w: int) -> Tensor:
    """Return smooth pictures (b, 3, h, w), the same each time."""
    coarse = torch.rand(b, 3, h // 8 + 1, w // 8 + 1, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, size=(h, w), mode="bicubic").clamp(0, 1)


class SdpaAttention(nn.Module):
    """BasicSR's window attention with `scaled_dot_product_attention`; the weights fill heads of 10 up to 16."""

    bias: Tensor

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.heads, self.scale = attention.num_heads, attention.scale
        width = attention.dim // self.heads
        self.width = -(-width // 8) * 8
        grow = (0, 0, 0, self.width - width)
        weight = F.pad(attention.qkv.weight.view(3 * self.heads, width, -1), grow).flatten(0, 1)
        bias = F.pad(attention.qkv.bias.view(3 * self.heads, width), grow[2:]).flatten()
        proj = F.pad(attention.proj.weight.view(-1, self.heads, width), grow[2:]).flatten(1)
        self.qkv_weight, self.qkv_bias, self.proj_weight = nn.Parameter(weight), nn.Parameter(bias), nn.Parameter(proj)
        self.proj_bias = attention.proj.bias
        table, index = attention.relative_position_bias_table, attention.relative_position_index
        self.register_buffer("bias", table[index.view(-1)].view(*index.shape, -1).permute(2, 0, 1)[None].contiguous())
        self.masked: Tensor | None = None

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map (windows, n, c) to the same shape."""
        total, n, _ = x.shape
        windows = 1 if mask is None else mask.shape[0]
        if mask is not None and self.masked is None:
            self.masked = (self.bias + mask[:, None]).flatten(0, 1)[None].contiguous()
        bias = self.bias if self.masked is None else self.masked
        q, k, v = (
            F.linear(x, self.qkv_weight, self.qkv_bias)
            .view(total // windows, windows, n, 3, self.heads, self.width)
            .permute(3, 0, 1, 4, 2, 5)
            .flatten(2, 3)
        )
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.expand(len(q), -1, -1, -1), scale=self.scale)
        out = out.view(total, self.heads, n, self.width).transpose(1, 2).flatten(2)
        return F.linear(out, self.proj_weight, self.proj_bias)


def network_for(size: tuple[int, int, int], dtype: torch.dtype, sdpa: bool = False) -> nn.Module:
    """Return BasicSR's SwinIR-light on the GPU, its masks ready for pictures of this size."""
    made = full_precision(open_packed(checkpoint_path(SCALE, 4)))
    modules: list[Any] = list(made.modules())
    for module in modules:
        if getattr(module, "attn_mask", None) is not None:
            module.attn_mask = module.calculate_mask(size[1:])
        if hasattr(module, "attn_mask"):
            module.input_resolution = size[1:]
        if sdpa and hasattr(module, "attn"):
            module.attn = SdpaAttention(module.attn)
    return made.to("cuda", dtype).eval().requires_grad_(False)


def ways_of(size: tuple[int, int, int], engines: dict[int, GpuEngine]) -> dict[str, Call]:
    """Return what is timed, by name, each having run once."""
    x = smooth(*size).cuda()
    half = x.half()
    ways: dict[str, Call] = {}

    def add(name: str, make: Callable[[], Call]) -> None:
        def ready() -> Call:
            call = make()
            call()
            torch.cuda.synchronize()
            return call

        made = attempt(name, ready)
        if made is not None:
            ways[name] = made

    eager, sdpa = network_for(size, torch.float16), network_for(size, torch.float16, sdpa=True)
    single = network_for(size, torch.float32)
    add("eager fp32", lambda: lambda: single(x))
    add("eager fp16", lambda: lambda: eager(half))
    add("fp16 SDPA", lambda: lambda: sdpa(half))
    add("fp16 as a CUDA graph", lambda: as_graph(lambda: eager(half)))
    add("fp16 SDPA as a CUDA graph", lambda: as_graph(lambda: sdpa(half)))
    for bits, engine in engines.items():
        add(f"GpuEngine {bits} bits", lambda e=engine: lambda: e(x))
    return ways


def time_ways(ways: dict[str, Call], rounds: int) -> None:
    """Print medians of rounds in which all take turns, and the ratios to eager fp16."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, call in ways.items():
            times[name].append(milliseconds(call, 2))
    reference = times.get("eager fp16")
    for name, found in times.items():
        ratio = statistics.median(a / b for a, b in zip(reference, found)) if reference else float("nan")
        say(f"  {name:28s} {statistics.median(found):8.3f} ms (least {min(found):.3f})  {ratio:6.2f} times eager fp16")
