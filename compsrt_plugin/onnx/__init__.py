"""`export_onnx`: write a quantized network as an ONNX file for any image size, with weights as integer codes.

Needs the extra `onnx`.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from compsrt_plugin.errors import CompSRTError, unknown_name
from compsrt_plugin.files import write_whole
from compsrt_plugin.packed.open import PackedNetwork
from compsrt_plugin.quant import quantized_layers
from compsrt_plugin.quant.modes import switched_off

WRITTEN_OUT = "CompSRTSwinIR"  # its graph is written node by node; other networks are traced
NAMES = ("input", "output")  # that vs-mlrt and chaiNNer expect
KINDS = {
    "weights": "weights as low-bit codes, activations in floats",
    "int8": "linear layers on 8-bit integers, for runtimes that have kernels for them",
    "exact": "what the simulated network computes, roundings of activations included",
    "float": "weights decoded to floats, for tools that read no integers",
}
HALF_KINDS = ("weights", "float")  # whose floats can be of 16 bits; the others compute with codes


def export_onnx(
    path: str | Path,
    source: PackedNetwork,
    kind: str = "weights",
    names: tuple[str, str] = NAMES,
    images: Path | None = None,
    half: bool = False,
) -> tuple[int, int]:
    """Write the network of a packed file as one ONNX file; the file is written completely or not at all.

    Args:
        path: path of the file.
        source: the packed file. Scale, recipe and bits in its header become metadata.
        kind: a key of `KINDS`.
        names: of input and output.
        images: folder on which `int8` searches bounds; None takes photographs of the package.
        half: whether floats are computed in 16 bits; for the kinds in `HALF_KINDS`.

    Returns:
        Size of the file in bytes, and the opset.

    Raises:
        CompSRTError: the extra `onnx` is not installed, the network is not supported or works at one size only,
            `images` holds none, or the kind has no form in 16 bits.
    """
    header = source.header
    if kind not in KINDS:
        raise unknown_name("kind of ONNX file", kind, KINDS)
    if names[0] == names[1] or not all(names):
        found = f"the names of input and output are {names[0]!r} and {names[1]!r}"
        raise CompSRTError(found, allowed="two different names")
    if kind == "exact" and header.arch["type"] != WRITTEN_OUT:
        kinds = ", ".join(name for name in KINDS if name != kind)
        raise CompSRTError(f"{header.arch['type']} has no ONNX file of the kind exact", allowed=kinds)
    if half and kind not in HALF_KINDS:
        raise CompSRTError(f"the kind {kind} has no form in 16-bit floats", allowed=", ".join(HALF_KINDS))
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise CompSRTError(
            "ONNX export needs the packages onnx and onnxruntime", hint="install it: pip install 'compsrt_plugin[onnx]'"
        ) from error
    from compsrt_plugin.onnx.calibration import calibration_patches
    from compsrt_plugin.onnx.compact import compact
    from compsrt_plugin.onnx.half import in_half
    from compsrt_plugin.onnx.int8 import int8_model
    from compsrt_plugin.onnx.swinir import swinir_model
    from compsrt_plugin.onnx.traced import traced_model
    from compsrt_plugin.onnx.weights import from_codes, in_floats, stacked

    about = {"scale": header.scale, "bits": header.bits, "recipe": header.recipe, "range": "RGB, 0 to 1"}
    texts = {key: str(value) for key, value in about.items()}
    if kind == "weights":
        weights = stacked(quantized_layers(source.network))
    else:
        weights = from_codes if kind == "exact" else in_floats
    if header.arch["type"] == WRITTEN_OUT:
        with nullcontext() if kind == "exact" else switched_off(source.network):
            model = swinir_model(source.network, texts, names, weights)
    else:
        model = traced_model(source, texts, names, weights)
    if kind == "int8":
        model = int8_model(model, calibration_patches(header.scale, images))
    if half:
        model = in_half(model)
    compact(model)
    content = model.SerializeToString()
    write_whole(path, content)
    return len(content), model.opset_import[0].version
