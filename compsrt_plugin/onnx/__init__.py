"""`export_onnx`: write a quantized network as an ONNX file for any image size, with weights as integer codes.

Needs the extra `onnx`.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import write_whole
from compsrt_plugin.packed.header import Header

NETWORK = "CompSRTSwinIR"
NAMES = ("input", "output")  # that vs-mlrt and chaiNNer expect


def export_onnx(
    path: str | Path, network: nn.Module, header: Header, names: tuple[str, str] = NAMES
) -> tuple[int, int]:
    """Write a frozen network as one ONNX file; the file is written completely or not at all.

    Args:
        path: path of the file.
        network: rebuilt from a packed file, in eval mode.
        header: header of that file; scale, recipe and bits become metadata.
        names: of input and output.

    Returns:
        Size of the file in bytes, and the opset.

    Raises:
        CompSRTError: the extra `onnx` is not installed, the network is not supported, or it works at one size only.
    """
    if header.arch["type"] != NETWORK:
        raise CompSRTError(
            f"{header.arch['type']} has no ONNX form",
            allowed=NETWORK,
            hint="`basicsr export --dense` writes its weights for other tools",
        )
    if names[0] == names[1] or not all(names):
        found = f"the names of input and output are {names[0]!r} and {names[1]!r}"
        raise CompSRTError(found, allowed="two different names")
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise CompSRTError(
            "ONNX export needs the package onnx", hint="install it: pip install 'compsrt_plugin[onnx]'"
        ) from error
    from compsrt_plugin.onnx.swinir import swinir_model

    about = {"scale": header.scale, "bits": header.bits, "recipe": header.recipe, "range": "RGB, 0 to 1"}
    model = swinir_model(network, {key: str(value) for key, value in about.items()}, names)
    content = model.SerializeToString()
    write_whole(path, content)
    return len(content), model.opset_import[0].version
