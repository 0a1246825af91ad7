"""Which image formats there are: by a file's ending for what is written, by its first bytes for what is read."""

from __future__ import annotations

from pathlib import Path

FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".webp": "WebP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
ENDINGS = {"PNG": ".png", "JPEG": ".jpg", "WebP": ".webp", "TIFF": ".tif"}  # given where a source has none of `FORMATS`
ALLOWED_ENDINGS = " ".join(FORMATS)
SIGNATURE_BYTES = 12


def format_of(content: bytes) -> str | None:
    """Return the format, a value of `FORMATS`, that a file's first `SIGNATURE_BYTES` tell; None for any other."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if content.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if content.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):  # the latter two: BigTIFF
        return "TIFF"
    return "WebP" if content[:4] == b"RIFF" and content[8:12] == b"WEBP" else None


def format_of_file(path: Path) -> str | None:
    """Return the format that a file's first bytes tell; None for any other, and where it cannot be read."""
    try:
        if not path.is_file():  # to open a pipe would wait for its writer
            return None
        with open(path, "rb") as file:
            return format_of(file.read(SIGNATURE_BYTES))
    except OSError:
        return None
