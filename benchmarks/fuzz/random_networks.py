"""Fuzz what Python hands to the engine: descriptions of networks, sizes of images and numbers of threads.

    python benchmarks/fuzz/random_networks.py --seconds 60            # .ci/sanitize does this with the sanitized build
    python benchmarks/fuzz/random_networks.py --seconds 3600 --seed 5
    python benchmarks/fuzz/random_networks.py --case CASE.json        # one case again

Every case is a network drawn at random (shape, bits, transforms, granularity, overrides, pruning), run on images of
several sizes. It fails if the process dies, if the number of threads changes a pixel, or if pixels differ from those of
the simulated network by more than rounding explains. The cases in engine_cases come first.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from compsrt_plugin.engine import Engine  # noqa: E402
from compsrt_plugin.errors import CompSRTError  # noqa: E402
from tests.engine.networks import _network, distance, in_double, network, picture, turned  # noqa: E402

ROUNDING = 1e-5
FEW, ROUNDING_OF_FEW = 16, 1e-4  # pixels: their spread, which is the unit, may be a fraction of their values
CASE = Path("build", "fuzz_engine_case.json")  # that runs: what is left if the process dies
PLACES = ("*.attn.q", "*.attn.k", "*.attn.v", "*.attn.map", "*.fc1", "*.fc2", "*.qkv.k", "*.attn.proj", "*.fc1.weight")
TRANSFORMS = ("none", "hadamard", "hadamard_signed")


def draw(chance: random.Random) -> dict[str, Any]:
    """Return a case: the options of a network, sizes in windows, threads."""
    heads, window = chance.choice([1, 2, 3]), chance.choice([1, 2, 3, 4, 5, 7, 8, 8, 8, 8, 12])
    arch = {
        "embed_dim": heads * chance.randint(1, 24),
        "num_heads": [heads],
        "depths": [chance.randint(1, 2)],
        "window_size": window,
        "img_size": 2 * window,
        "upscale": chance.choice([1, 2, 3, 4]),
        "mlp_ratio": chance.choice([0.5, 1, 1.5, 2, 3]),
        "qkv_bias": chance.random() < 0.7,
        "patch_norm": chance.random() < 0.7,
        "in_chans": chance.choice([1, 3]),
        "resi_connection": "1conv",
    }
    options: dict[str, Any] = {
        "bits": chance.randint(2, 8),
        "recipe": chance.choice(["compsrt", "plus", "minmax"]),
        "arch": arch,
        "activation": {
            "transform": chance.choice(TRANSFORMS),
            "granularity": chance.choice(["per_tensor", "per_token"]),
        },
        "weight": {
            "transform": chance.choice(TRANSFORMS),
            "granularity": chance.choice(["per_tensor", "per_channel"]),
        },
        "overrides": {"*.map": {"transform": chance.choice(["none", "hadamard", "hadamard_softmax"])}},
    }
    for place in chance.sample(PLACES, chance.randint(0, 3)):
        options["overrides"][place] = chance.choice(
            [{"keep": True}, {"bits": chance.randint(2, 8)}, {"transform": chance.choice(TRANSFORMS[:2])}]
        )
    if chance.random() < 0.3:
        options["pruning"] = chance.choice(
            [
                {"hook": "magnitude", "ratio": 0.4},
                {"hook": "n_m", "ratio": None, "options": {"n": 2, "m": 4}},
                {"hook": "channel", "ratio": 0.3},
            ]
        )
    sizes = [[chance.randint(1, 3), chance.randint(1, 3)] for _ in range(2)]
    return {"options": options, "sizes": sizes, "threads": chance.randint(2, 5)}


def failure(case: dict[str, Any]) -> str | None:
    """Return what is wrong; None if nothing is, or if the network is refused in one line."""
    arch = case["options"]["arch"]
    try:
        made = network(**case["options"])
        engines = [Engine(made, threads=count) for count in (1, case["threads"])]
    except CompSRTError:
        return None
    for height, width in case["sizes"]:
        window = arch["window_size"]
        x = picture(height * window, width * window)[:, : arch["in_chans"]]
        found, other = (engine(x) for engine in engines)
        if not torch.equal(found, other):
            return f"{case['threads']} threads change pixels of {tuple(x.shape)}"
        wanted = in_double(made, x)
        allowed = ROUNDING if wanted[0, 0].numel() >= FEW else ROUNDING_OF_FEW
        if (apart := distance(found, wanted)) > allowed:
            explained = distance(turned(made, x), wanted)
            if apart > 3 * explained:
                return f"{tuple(x.shape)}: {apart:.2g} apart, of which rounding explains {explained:.2g}"
    return None


def main() -> int:
    """Run the corpus, then cases drawn at random, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0, help="of the first case that is drawn (0)")
    parser.add_argument("--case", type=Path, action="append", help="run this and nothing else (may be repeated)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    CASE.parent.mkdir(exist_ok=True)
    end, tried, failed = time.monotonic() + arguments.seconds, 0, 0
    files = arguments.case or sorted((HERE / "engine_cases").glob("*.json"))
    cases = [json.loads(file.read_text()) for file in files]
    while cases or (not arguments.case and time.monotonic() < end):
        case = cases.pop(0) if cases else draw(random.Random(arguments.seed + tried))
        CASE.write_text(json.dumps(case, indent=1))
        tried += 1
        if (wrong := failure(case)) is not None:
            failed += 1
            sys.stdout.write(f"FAILED: {wrong}: {json.dumps(case)}\n")
        _network.cache_clear()
    CASE.unlink(missing_ok=True)
    sys.stdout.write(f"engine: {tried} networks, {failed} failures\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
