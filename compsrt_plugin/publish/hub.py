"""A repository of the Hugging Face Hub: `config.json`, `model.safetensors`, and `README.md` with the card's YAML.

The fields of the YAML are those that the Hub documents for model cards.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import yaml

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import write_whole
from compsrt_plugin.packed import write_packed
from compsrt_plugin.packed.bundled import REPOSITORY_FILE
from compsrt_plugin.packed.container import VERSION
from compsrt_plugin.packed.network_state import masks_of
from compsrt_plugin.packed.open import PackedNetwork
from compsrt_plugin.report import Results, Score

TASK = "image-to-image"


def write_repository(
    folder: Path, source: PackedNetwork, *, license_id: str | None = None, results: Results | None = None
) -> int:
    """Write the files of a repository, ready to push; `compsrt_plugin.load` reads the folder.

    Args:
        folder: made if missing; files of these names are replaced.
        source: the packed network.
        license_id: as the Hub writes it, such as `apache-2.0`; None leaves it out.
        results: scores of this file, as `basicsr test` writes them.

    Returns:
        Bytes of `model.safetensors`, in the newest version of the format.

    Raises:
        CompSRTError: the results are those of another file, or the folder cannot be written.
    """
    if results is not None:
        _check_results(results, source)
    packed, name = source.packed, source.path.stem
    size = write_packed(
        folder / REPOSITORY_FILE, packed.state, packed.code_bits, packed.header, masks_of(source.network)
    )
    config = json.dumps(_config(source), indent=2, sort_keys=True)
    write_whole(folder / "config.json", config.encode() + b"\n")
    write_whole(folder / "README.md", _card(name, source, license_id, results).encode())
    return size


def _check_results(results: Results, source: PackedNetwork) -> None:
    tested = results.files.get("checkpoint")
    if tested is None or tested.sha256 != source.packed.sha256:
        name = tested.path if tested else "a full-precision network"
        raise CompSRTError(
            f"the results are those of {name}, not of {source.path}", hint="test this file: basicsr test"
        )


def architecture_of(source: PackedNetwork) -> str:
    """Return the name of the full-precision network's class."""
    base = source.header.arch.get("base")
    if not isinstance(base, dict):
        return str(source.header.arch["type"]).removeprefix("CompSRT")
    return str(base.get("class") or base["type"])


def _config(source: PackedNetwork) -> dict[str, Any]:
    header = source.header
    return {
        "library": "compsrt_plugin",
        "format": f"compsrt-packed {VERSION}",
        "architecture": architecture_of(source),
        "scale": header.scale,
        "bits": header.bits,
        "recipe": header.recipe,
        "arch": header.arch,
        "spec": header.spec.to_dict(),
    }


def _card(name: str, source: PackedNetwork, license_id: str | None, results: Results | None) -> str:
    header, architecture = source.header, architecture_of(source)
    about: dict[str, Any] = {} if license_id is None else {"license": license_id}
    about |= {
        "library_name": "compsrt_plugin",
        "pipeline_tag": TASK,
        "tags": ["super-resolution", architecture.lower(), f"x{header.scale}", f"{header.bits}-bit", "quantized"],
    }
    if results is not None:
        about |= {"metrics": ["psnr", "ssim"], "model-index": [_index(name, results)]}
    text = f"""\
---
{yaml.safe_dump(about, sort_keys=False, allow_unicode=True)}---

# {name}

{architecture}, {header.scale} times super-resolution, {header.bits} bits (recipe `{header.recipe}`), as one packed file
of `compsrt_plugin`. It runs on processors without a GPU.

```python
import compsrt_plugin as csr

net = csr.load("FOLDER")  # this repository, downloaded
net.upscale("photo.png").save("photo_large.png")
```

```
basicsr upscale photos -o large --model FOLDER/{REPOSITORY_FILE}
```
"""
    return text if results is None else text + _table(results)


def _index(name: str, results: Results) -> dict[str, Any]:
    found = []
    for dataset, scores in results.datasets.items():
        task = {"type": TASK, "name": "Image super-resolution"}
        about = {"name": dataset, "type": dataset.lower()}
        found.append({"task": task, "dataset": about, "metrics": _metrics(scores.mean.quantized)})
    return {"name": name, "results": found}


def _metrics(score: Score) -> list[dict[str, Any]]:
    named = {"psnr": score.psnr, "ssim": score.ssim}
    finite = {kind: value for kind, value in named.items() if value is not None and math.isfinite(value)}
    return [{"type": kind, "name": kind.upper(), "value": round(value, 4)} for kind, value in finite.items()]


def _table(results: Results) -> str:
    rows = []
    for dataset, scores in results.datasets.items():
        mean = scores.mean
        cells = [_cell(score) for score in (mean.bicubic, mean.teacher, mean.quantized)]
        rows.append(f"| {dataset} | {len(scores.per_image)} | {' | '.join(cells)} |")
    return "\n".join(
        [
            "\nPSNR in dB / SSIM, by `basicsr test`:\n",
            "| data set | images | bicubic | full precision | quantized |",
            "| --- | ---: | ---: | ---: | ---: |",
            *rows,
            "",
        ]
    )


def _cell(score: Score | None) -> str:
    if score is None:
        return ""
    return f"{score.psnr:.2f}" if score.ssim is None else f"{score.psnr:.2f} / {score.ssim:.4f}"
