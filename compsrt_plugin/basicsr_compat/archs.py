"""Repair of BasicSR 1.4.2's networks: gradient checkpointing in its SwinIR."""

from __future__ import annotations

from typing import Any

from compsrt_plugin.basicsr_compat.rebind import is_repaired


def apply() -> dict[str, str]:
    """Repair BasicSR's SwinIR, once.

    Returns:
        Repair -> one line for `basicsr doctor`.
    """
    from basicsr.archs.swinir_arch import BasicLayer

    if is_repaired(BasicLayer.forward):
        return {}
    BasicLayer.forward = _with_sizes(BasicLayer.forward)
    return {"checkpointing": "BasicSR's SwinIR fails with use_checkpoint: its blocks get the size they need"}


def _with_sizes(original: Any) -> Any:
    """Return `BasicLayer.forward` that passes the size to checkpointed blocks too."""

    def forward(self: Any, x: Any, x_size: Any) -> Any:
        if not self.use_checkpoint:
            return original(self, x, x_size)
        from torch.utils.checkpoint import checkpoint

        for block in self.blocks:
            x = checkpoint(block, x, x_size, use_reentrant=False)
        return x if self.downsample is None else self.downsample(x)

    forward.repaired = True  # pyright: ignore[reportFunctionMemberAccess]
    return forward
