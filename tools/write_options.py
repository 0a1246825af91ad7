"""Write the option files of `basicsr train` and `basicsr test`.

SwinIR-light and DAT-light have 3 scales × 3 widths × 2 commands, SwinIR-light 3 teachers besides, and MambaIRv2-light 3
widths × 2 commands at x4.

`python tools/write_options.py` writes the files into `options/`; `--check` only compares. The files differ in scale
and bits only, so one source makes them all. Each file is complete by itself.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

import option_templates as templates

from compsrt_plugin.data.roots import BENCHMARKS
from compsrt_plugin.packed.bundled import bundled_names

SCALES = (2, 3, 4)
BITS = (2, 3, 4)
BUNDLED = bundled_names()  # names whose checkpoint comes with the package
# Rate of the bounds, and what else distillation is told. Finer codes want smaller steps (docs/notes/training.md).
RATES = {2: ("2e-3", "~"), 3: ("1e-3", "{lr_weights: !!float 1e-4}"), 4: ("3e-4", "{lr_weights: !!float 3e-5}")}
DAT_RATES = {
    2: ("2e-3", "{lr_weights: !!float 2e-4}"),
    3: ("1e-3", "{lr_weights: !!float 2e-4}"),
    4: ("5e-4", "{lr_weights: !!float 5e-5}"),
}
BODY = 4  # the scale whose teacher is trained first; the others begin with its body


@dataclass(frozen=True)
class Network:
    """What option files say of a network.

    Attributes:
        title: its name in prose.
        prefix: what names of its files begin with.
        block: template of `network_g`.
        scales: at which there are files.
        weights: what gives its full-precision weights, in the form of `--force_yml`; None: they come with the package.
        rates: by code width, the rate of the bounds and what else distillation is told.
        overrides: the line of `quant.overrides`, or nothing.
    """

    title: str
    prefix: str
    block: str
    scales: tuple[int, ...] = SCALES
    weights: str | None = None
    rates: Mapping[int, tuple[str, str]] = field(default_factory=lambda: RATES)
    overrides: str = ""


NETWORKS = (
    Network("SwinIR-light", "compsrt", templates.NETWORK),
    Network(
        "DAT-light",
        "dat_light",
        templates.DAT,
        weights="network_g:base:file=DAT_light_x$scale.pth",
        rates=DAT_RATES,
        overrides=templates.WIDER,
    ),
    Network(
        "MambaIRv2-light",
        "compsrt_mambairv2",
        templates.MAMBAIRV2,
        (4,),
        "path:pretrain_network_g=mambairv2_light_x$scale.pth",
    ),
)


def option_texts() -> dict[str, str]:
    """Return every option file: path below `options/` -> text."""
    texts = {}
    for network in NETWORKS:
        for scale in network.scales:
            for bits in BITS:
                texts |= _quantized(network, scale, bits)
    body = f"swinir_light_x{BODY}_teacher"
    for scale in SCALES:
        name = f"swinir_light_x{scale}_teacher"
        start = "~" if scale == BODY else f"experiments/{body}/models/{body}.safetensors"
        values = {"name": name, "scale": scale, "gt_size": 64 * scale, "start": start}
        values |= {"val_freq": 500, "save_freq": 500}
        parts = _parts(values, templates.NETWORK)
        texts[f"train/{name}.yml"] = Template(templates.TEACHER).substitute(values | parts)
    return texts


def _quantized(network: Network, scale: int, bits: int) -> dict[str, str]:
    """Return the test file and the train file of a quantized network."""
    name = f"{network.prefix}_x{scale}_{bits}bit"
    values: dict[str, object] = {"name": name, "title": network.title, "scale": scale, "bits": bits}
    values |= {"gt_size": 32 * scale, "val_freq": 150, "save_freq": 50, "overrides": network.overrides}
    values |= dict(zip(("lr", "distill"), network.rates[bits], strict=True))
    own = network.weights is None  # the full-precision weights come with the package
    weights = "" if network.weights is None else Template(network.weights).substitute(scale=scale)
    file = weights.rpartition("=")[2]
    values["weights"] = f" --force_yml {weights}" if weights else ""
    described = ":base:file=" in weights
    default = "those that come with the package" if own else "network_g.base.file" if described else ""
    values["start_if_empty"] = f"; ~: {default}" if default else f", {file}"
    values["checkpoint"] = name if name in BUNDLED and not own else "~"
    values["checkpoint_if_empty"] = "; ~: the one that comes with the package" if own else ""
    values["weights_if_empty"] = default or "none"
    values |= _parts(values, network.block)
    values["network"] = f"{values['network']}\n{Template(templates.QUANT).substitute(values)}"
    values["benchmarks"] = "\n".join(
        Template(templates.BENCHMARK).substitute(values, number=number, dataset=dataset)
        for number, dataset in enumerate(BENCHMARKS, start=2)
    )
    note = "" if name in BUNDLED else Template(templates.NO_CHECKPOINT).substitute(values)
    return {
        f"test/{name}.yml": Template(templates.TEST).substitute(values, checkpoint_note=note),
        f"train/{name}.yml": Template(templates.TRAIN).substitute(values),
    }


def _parts(values: Mapping[str, object], network: str) -> dict[str, str]:
    """Return the parts that several files have in common."""
    parts = {"network": network, "holdout": templates.HOLDOUT, "validation": templates.VALIDATION}
    return {name: Template(text).substitute(values) for name, text in parts.items()}


def out_of_step(folder: Path) -> list[str]:
    """Return the option files below `folder` that differ from the script, are missing, or are left over."""
    texts = option_texts()
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.glob("t*/*.yml"))}
    wrong = [name for name in texts if name not in found or found[name].read_text(encoding="utf-8") != texts[name]]
    return wrong + [name for name in found if name not in texts]


def main(argv: list[str] | None = None) -> int:
    """Write the option files, or compare them; return 1 if `--check` finds a difference."""
    parser = argparse.ArgumentParser(prog="python tools/write_options.py", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    parser.add_argument("--out", type=Path, default=Path("options"), help="folder to write to (default: options)")
    args = parser.parse_args(argv)
    if args.check:
        wrong = out_of_step(args.out)
        for name in wrong:
            sys.stdout.write(f"out of step: {args.out / name}\n")
        return 1 if wrong else 0
    for name, text in option_texts().items():
        path = args.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
