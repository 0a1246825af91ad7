"""Run one analysis from end to end."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from compsrt_plugin.analysis.tensors import image_patches
from compsrt_plugin.analysis.tensors.image_patches import PatchSet, to_input
from compsrt_plugin.analysis.tensors.places import analysis_spec, describe_places, gather_activations, gather_weights
from compsrt_plugin.analysis.tensors.subject import Subject, find_subject, reference_of
from compsrt_plugin.analysis.tensors.summary import Analysis
from compsrt_plugin.analysis.tensors.walk import WALK_SIDE, Walk, walk
from compsrt_plugin.data.images import read_image
from compsrt_plugin.data.low_resolution import centre_piece
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.inference import pad_to_windows
from compsrt_plugin.packed.open import open_packed
from compsrt_plugin.quant import calibrate
from compsrt_plugin.report.results import FileRecord
from compsrt_plugin.terminal import progress

_CODES = "The weights of a packed file are codes. Only activations are analyzed, with decoded weights."


def analyze(
    source: str,
    *,
    force_yml: list[str] | None = None,
    images: Path | None = None,
    most: int | None = None,
    walk_image: Path | None = None,
    seed: int = 0,
    command: str = "",
) -> Analysis:
    """Return the analysis of a network.

    Args:
        source: an option file, a packed file or a weight file.
        force_yml: changes to the option file.
        images: folder of low-resolution images. None uses the calibration patches of the option file, or embedded
            images if it has none.
        most: maximum number of patches; None uses all.
        walk_image: low-resolution image to follow through the quantized network, or None.
        seed: of samples and bootstrap intervals.
        command: the command line, for the record.

    Raises:
        CompSRTError: a file is missing or damaged, or the network cannot be analyzed.
    """
    subject = find_subject(source, force_yml)
    from compsrt_plugin.report.versions import versions  # after BasicSR's repairs, which `find_subject` asks for

    chosen = _patches(subject, images, most)
    followed = None if walk_image is None else _walk(subject, walk_image, chosen)
    converted = copy.deepcopy(subject.network)
    _quantize(converted, analysis_spec(subject.quant.spec if subject.quant else None))
    gathered = [] if subject.decoded else gather_weights(converted)
    gathered += gather_activations(converted, progress(chosen, desc="activations", unit="patches"), seed)
    places = describe_places(gathered, partial(progress, desc="statistics", unit="places"))
    record = FileRecord.of(subject.weights)
    about: dict[str, Any] = {
        "name": subject.name,
        "source": source,
        "weights": Path(subject.weights).name,
        "sha256": record.sha256,
        "scale": subject.scale,
        "pictures": chosen.about,
        "seed": seed,
        "versions": versions(),
        "command": command,
        "notes": [_CODES] if subject.decoded else [],
    }
    return Analysis.of(about, places, followed, seed)


def _patches(subject: Subject, images: Path | None, most: int | None) -> PatchSet:
    if images is not None:
        return image_patches.from_folder(images, subject.window, most)
    if subject.train_set is not None:
        return image_patches.from_train_set(subject.train_set, subject.calibration(), most)
    return image_patches.embedded(subject.scale, subject.window, most)


def _quantize(network: nn.Module, spec: Any) -> None:
    network.quantize(spec)  # pyright: ignore[reportCallIssue]  `check_network` lets no other network pass


def _walk(subject: Subject, walk_image: Path, chosen: PatchSet) -> Walk:
    """Follow an image through the packed network, or through a network whose bounds are searched now."""
    whole = read_image(walk_image)
    piece = centre_piece(whole, WALK_SIDE)
    about = f"{walk_image.name}" + ("" if piece.shape == whole.shape else f", the middle {WALK_SIDE} pixels")
    lq = pad_to_windows(to_input(piece), subject.window, "reflect")
    if subject.packed is not None:
        packed = open_packed(subject.packed)
        exact = reference_of(packed) if subject.decoded else subject.network
        return walk(exact, packed.network, lq, about, f"{packed.path.name}, {packed.header.bits} bits")
    if subject.quant is None:
        raise CompSRTError(
            f"--walk needs to know how {subject.source} is quantized",
            allowed="an option file with a quant: block, or a packed file",
        )
    quantized = copy.deepcopy(subject.network)
    _quantize(quantized, subject.quant.spec)
    calibrate(quantized, progress(chosen, desc="bound search", unit="patches"))
    network = f"{subject.quant.recipe} at {subject.quant.bits} bits, bounds searched, nothing trained"
    return walk(subject.network, quantized, lq, about, network)
