"""`export_onnx`: write a quantized network as an ONNX file for any image size, with weights as integer codes.

Needs the extra `onnx`.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from compsrt_plugin.errors import CompSRTError, unknown_name
from compsrt_plugin.files import write_whole
from compsrt_plugin.packed.open import PackedNetwork
from compsrt_plugin.quant.modes import switched_off

NETWORK = "CompSRTSwinIR"
NAMES = ("input", "output")  # that vs-mlrt and chaiNNer expect
KINDS = {
    "weights": "weights as low-bit codes, activations in floats",
    "exact": "what the simulated network computes, roundings of activations included",
    "float": "weights decoded to floats, for tools that read no integers",
}


def export_onnx(
    path: str | Path, source: PackedNetwork, kind: str = "weights", names: tuple[str, str] = NAMES
) -> tuple[int, int]:
    """Write the network of a packed file as one ONNX file; the file is written completely or not at all.

    Args:
        path: path of the file.
        source: the packed file. Scale, recipe and bits in its header become metadata.
        kind: a key of `KINDS`.
        names: of input and output.

    Returns:
        Size of the file in bytes, and the opset.

    Raises:
        CompSRTError: the extra `onnx` is not installed, the network is not supported, or it works at one size only.
    """
    header = source.header
    if kind not in KINDS:
        raise unknown_name("kind of ONNX file", kind, KINDS)
    if names[0] == names[1] or not all(names):
        found = f"the names of input and output are {names[0]!r} and {names[1]!r}"
        raise CompSRTError(found, allowed="two different names")
    if header.arch["type"] != NETWORK:
        raise CompSRTError(
            f"{header.arch['type']} has no ONNX form",
            allowed=NETWORK,
            hint="`basicsr export --dense` writes its weights for other tools",
        )
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise CompSRTError(
            "ONNX export needs the package onnx", hint="install it: pip install 'compsrt_plugin[onnx]'"
        ) from error
    from compsrt_plugin.onnx.swinir import swinir_model
    from compsrt_plugin.onnx.weights import from_codes, in_floats

    about = {"scale": header.scale, "bits": header.bits, "recipe": header.recipe, "range": "RGB, 0 to 1"}
    texts = {key: str(value) for key, value in about.items()}
    with nullcontext() if kind == "exact" else switched_off(source.network):
        model = swinir_model(source.network, texts, names, in_floats if kind == "float" else from_codes)
    content = model.SerializeToString()
    write_whole(path, content)
    return len(content), model.opset_import[0].version
