"""Determine image formats: by the extension for writing, by the first bytes for reading."""

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
ENDINGS = {
    "PNG": ".png",
    "JPEG": ".jpg",
    "WebP": ".webp",
    "TIFF": ".tif",
}  # extension for a source without one of `FORMATS`
ALLOWED_ENDINGS = " ".join(FORMATS)
SIGNATURE_BYTES = 12


def format_of(content: bytes) -> str | None:
    """Return the format (a value of `FORMATS`) of a file by its first `SIGNATURE_BYTES`, or None."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if content.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if content.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):  # the latter two: BigTIFF
        return "TIFF"
    return "WebP" if content[:4] == b"RIFF" and content[8:12] == b"WEBP" else None


def format_of_file(path: Path) -> str | None:
    """Return the format of a file by its first bytes. None for any other file, or one that cannot be read."""
    try:
        if not path.is_file():  # opening a pipe would wait for its writer
            return None
        with open(path, "rb") as file:
            return format_of(file.read(SIGNATURE_BYTES))
    except OSError:
        return None
