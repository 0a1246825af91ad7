"""Write `weights/manifest.json`, against which `basicsr doctor` checks the bundled weight files.

Run `python tools/write_manifest.py` after a bundled file has changed.
"""

from __future__ import annotations

import hashlib
import json

from compsrt_plugin.packed.bundled import MANIFEST, WEIGHTS


def manifest() -> dict[str, dict[str, str | int]]:
    """Return the SHA-256 and the size in bytes of every bundled weight file, by file name."""
    return {
        path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
        for path in sorted(WEIGHTS.glob("*.safetensors"))
    }


if __name__ == "__main__":
    MANIFEST.write_text(json.dumps(manifest(), indent=2) + "\n", encoding="utf-8")
