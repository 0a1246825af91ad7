"""Ways to spoil a packed checkpoint, and the tools for it: its parts, its table, the seal over them."""

from __future__ import annotations

import functools
import hashlib
import json
import lzma
import pickle
import random
import zlib
from collections.abc import Callable
from typing import Any

from compsrt_plugin.packed.coding import COMPRESSED, FILTERS


def take_apart(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the JSON head and the bytes after it."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def put_together(head: dict[str, Any] | bytes, body: bytes, *, seal: bool) -> bytes:
    """Write a file of a head (JSON, or its text) and a body; `seal` makes the checksum right."""
    text = head if isinstance(head, bytes) else json.dumps(head, separators=(",", ":")).encode()
    old = text.partition(b'"sha256":"')[2][:64]
    if seal and old:
        text = text.replace(old, b"0" * 64, 1)
        start = len(text).to_bytes(8, "little") + text
        digest = hashlib.sha256(start + body).hexdigest().encode()
        return start.replace(b"0" * 64, digest, 1) + body
    return len(text).to_bytes(8, "little") + text + body


def replace_part(content: bytes, name: str, part: bytes, *, seal: bool) -> bytes:
    """Put other bytes in the place of a file's `header` or `layout` (both compressed), or remove it for none."""
    head, body = take_apart(content)
    begin, end = head[name]["data_offsets"]
    body = body[:begin] + part + body[end:]
    head[name].update(shape=[len(part)], data_offsets=[begin, begin + len(part)])
    moved = len(part) - (end - begin)
    later = list(head)[list(head).index(name) + 1 :]
    for other in later:
        head[other]["data_offsets"] = [place + moved for place in head[other]["data_offsets"]]
    if not part:
        del head[name]
    return put_together(head, body, seal=seal)


def layout_text(content: bytes) -> str:
    """Return a file's table, decompressed."""
    head, body = take_apart(content)
    return zlib.decompress(body[slice(*head["layout"]["data_offsets"])]).decode()


# ---- kinds of damage: (sound file, chance) -> (spoilt file, whether its seal is right) ----

Damage = Callable[[bytes, random.Random], "tuple[bytes, bool]"]


def _flip_bits(content: bytes, chance: random.Random) -> tuple[bytes, bool]:
    spoilt = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 8))):
        spoilt[chance.randrange(len(spoilt))] ^= 1 << chance.randrange(8)
    return bytes(spoilt), False


def _flip_in_head(content: bytes, chance: random.Random) -> tuple[bytes, bool]:
    spoilt = bytearray(content)
    spoilt[chance.randrange(8 + int.from_bytes(content[:8], "little"))] ^= 1 << chance.randrange(8)
    return bytes(spoilt), False


def _truncate(content: bytes, chance: random.Random) -> tuple[bytes, bool]:
    return content[: chance.randrange(len(content))], False


def _append(content: bytes, chance: random.Random) -> tuple[bytes, bool]:
    return content + chance.randbytes(chance.choice((1, 8, 1000))), False


def _move_bytes(content: bytes, chance: random.Random) -> tuple[bytes, bool]:
    """Exchange, repeat or remove a stretch of the file."""
    a, b, c = sorted(chance.randrange(len(content) + 1) for _ in range(3))
    way = chance.randrange(3)
    if way == 0:
        return content[:a] + content[b:c] + content[a:b] + content[c:], False
    if way == 1:
        return content[:b] + content[a:b] + content[b:], False
    return content[:a] + content[b:], False


def _reorder_parts(content: bytes, chance: random.Random) -> tuple[bytes, bool]:
    """Lay the parts down in another order, or one of them twice, with right or wrong places in the head."""
    head, body = take_apart(content)
    seal = chance.random() < 0.5
    names = [name for name in head if name != "__metadata__"]
    blobs = {name: body[slice(*head[name]["data_offsets"])] for name in names}
    chance.shuffle(names)
    if chance.random() < 0.3:
        names.append(chance.choice(names))
    body = b"".join(blobs[name] for name in names)
    if chance.random() < 0.5:
        end, moved = 0, {"__metadata__": head["__metadata__"]}
        for name in names:
            begin, end = end, end + len(blobs[name])
            moved[name] = {**head[name], "data_offsets": [begin, end]}
        head = moved
    return put_together(head, body, seal=seal), seal


_LIES: tuple[Any, ...] = (
    -1, 0, 1, 7, 2**31, 2**63, 2**64, 10**30, 1.0, True, None, "", "U8", "F32", "F64", "I64", "\x00", "é" * 50,
    [], [0], [-1, 2], [0, 2**62], [2**40] * 4, [[1]], {}, {"a": {}}, "raw", "9", "zstd", "0" * 64,
)  # fmt: skip


def _lie_in_head(content: bytes, chance: random.Random) -> tuple[bytes, bool]:
    """Change, add or remove one thing anywhere in the head."""
    head, body = take_apart(content)
    seal = chance.random() < 0.7
    place: Any = head
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = chance.choice(keys)
        if not isinstance(place[key], (dict, list)) or not place[key] or chance.random() < 0.2:
            break
        place = place[key]
    way = chance.randrange(4)
    if way == 0 and isinstance(place, dict):
        del place[key]
    elif way == 1 and isinstance(place, dict):
        place[chance.choice(("x", "uint8", "codes9", "float32", "layout", "coding"))] = chance.choice(_LIES)
    else:
        place[key] = chance.choice(_LIES)
    return put_together(head, body, seal=seal), seal


def _lie_in_header(content: bytes, chance: random.Random) -> tuple[bytes, bool]:
    """Put something else where the network's own description stands."""
    texts = ("", "[]", "3", "null", "{", '{"a":NaN}', '{"a":1,"a":2}', '{"a":1e999}', "[" * 9000, '"\\ud800"')
    deep = '{"a":' * 400 + "1" + "}" * 400
    text = chance.choice((*texts, deep, '{"a":' + "9" * 5000 + "}")).encode()
    header = chance.choice((zlib.compress(text, 9), text, *_bombs()))
    return replace_part(content, "header", header, seal=True), True


def _lie_in_layout(content: bytes, chance: random.Random) -> tuple[bytes, bool]:
    """Change one line of the table, or repeat, drop, exchange lines."""
    lines = layout_text(content).split("\n")
    seal = chance.random() < 0.8
    i = chance.randrange(len(lines))
    fields = [*lines[i].split(" ", 3), "", "", ""][:4]
    way = chance.randrange(10)
    if way == 0:
        fields[0] = chance.choice(("-1", "99", "511", "512", "1" * 100, "²", "", "x", "1e3"))
    elif way == 1:
        kinds = ("codes0", "codes9", "codes3", "float64", "bool", "rows", "columns", "layout", "", "__class__")
        masks = ("/mask", "/weight_codes", "/bias", "/", "/a.b", "/" + "m" * 99)
        fields[1] = chance.choice((*kinds, *(kind + mask for kind in (fields[1], "codes3") for mask in masks)))
    elif way == 2:
        huge = ("9999999999", "65536x65536", "0x9999999999x9999999999", "x".join("2" * 9), "2147483648")
        fields[2] = chance.choice((*huge, "", "-", "0", "-1", "5x", "1_0", "٣", "3.0", "5x8x1", "4x10", "x" * 999))
    elif way == 3:
        fields[3] = chance.choice(("", ".", "a.", "a" * 600, "." * 400 + "a", "a\x00b", "a b", "\u2028", "é"))
    elif way == 4:
        lines.insert(i, lines[i])
    elif way == 5:
        del lines[i]
    elif way == 6:
        j = chance.randrange(len(lines))
        lines[i], lines[j] = lines[j], lines[i]
    elif way == 7:
        lines = lines * (70_000 // len(lines) + 1)
    elif way == 8:
        lines.insert(i, "")
    if way < 4:
        lines[i] = " ".join(fields)
    packed = zlib.compress("\n".join(lines).encode(), 9)
    return replace_part(content, "layout", packed, seal=seal), seal


@functools.cache
def _bombs() -> tuple[bytes, ...]:
    """Return tables that unfold to far more than they are: bytes, lines, names, parts of names."""
    names = [f"{124 * (i > 0)} bool 0 " + "a." * (124 * (i == 0)) + str(i) for i in range(32_768)]
    texts = (b"\0" * (64 << 20), b"\n" * (4 << 20), "\n".join(names).encode(), b"0 bool 0 " + b"." * (4 << 20))
    return tuple(zlib.compress(text, 9) for text in texts)


def _lie_in_compression(content: bytes, chance: random.Random) -> tuple[bytes, bool]:
    """Put something else than a compressed table in its place: a bomb, a cut, a tail, no text."""
    table = layout_text(content).encode()
    packed = zlib.compress(table, 9)
    choices = (
        *_bombs(),
        packed[: max(1, len(packed) // 2)],
        packed + b"tail",
        packed + packed,
        zlib.compress(b"\xff\xfe" + table, 9),
        zlib.compress(table, 0),
        table or b" ",
        b"\0",
    )
    return replace_part(content, "layout", chance.choice(choices), seal=True), True


def _spoil_parts(content: bytes, chance: random.Random) -> tuple[bytes, bool]:
    """Flip a bit behind the head and seal: other contents, honestly declared, or codes out of place."""
    head, body = take_apart(content)
    spoilt = bytearray(body)
    spoilt[chance.randrange(len(spoilt))] ^= 1 << chance.randrange(8)
    return put_together(head, bytes(spoilt), seal=True), True


def _lie_in_stream(content: bytes, chance: random.Random) -> tuple[bytes, bool]:
    """Put another stream in the place of a compressed part, or call a part compressed, or not."""
    head, body = take_apart(content)
    tables = ["header", "layout"]
    names = [name for name in head if name not in ("__metadata__", *tables)]
    if not names:
        return content, True
    chosen = chance.choice([name for name in names if name.endswith(COMPRESSED)] or names)
    blobs = {name: body[slice(*head[name]["data_offsets"])] for name in [*names, *tables]}
    blob = blobs[chosen]
    way = chance.randrange(3)
    if way == 0:
        other = chance.choice((bytes(50 << 20), b"", bytes(len(blob)), bytes(range(256)) * 9))
        blobs[chosen] = lzma.compress(other, lzma.FORMAT_RAW, filters=FILTERS)
    elif way == 1:
        blobs[chosen] = chance.choice((blob + blob, blob + b"x", blob[:-1], blob[: len(blob) // 2], b"\0", b"\xff" * 9))
    renamed = {chosen: chance.choice((chosen, chosen[:-5], chosen + COMPRESSED))} if way == 2 else {}
    end, moved = 0, {"__metadata__": head["__metadata__"]}
    for name, data in blobs.items():
        stored = head[name]["dtype"]
        begin, end = end, end + len(data)
        size = {"U8": 1, "F16": 2, "F32": 4, "I64": 8}[stored]
        moved[renamed.get(name, name)] = {"dtype": stored, "shape": [len(data) // size], "data_offsets": [begin, end]}
    return put_together(moved, b"".join(blobs.values()), seal=True), True


def _odd_json(content: bytes, chance: random.Random) -> tuple[bytes, bool]:
    """Write the head in a way JSON allows, or almost."""
    head, body = take_apart(content)
    text = json.dumps(head, separators=(",", ":")).encode()
    deep = chance.choice((b"[" * 100_000, b'{"a":' * 20_000, b'{"a":' + b"[" * 300 + b"]" * 300 + b"}"))
    choices = (
        deep,
        text[:-1] + b',"layout":' + json.dumps(head["layout"]).encode() + b"}",
        text[:-1] + b',"x":' + b"9" * 300_000 + b"}",
        text[:-1] + b',"x":NaN}',
        text + b" " * 24,
        text + b"x",
        text.replace(b":", b" : "),
        b"\xef\xbb\xbf" + text,
        text.decode().encode("utf-16"),
        b"{}" + b" " * 2_000_000,
        b"",
        b"null",
        b"\xff" * 50,
    )
    seal = chance.random() < 0.5
    return put_together(chance.choice(choices), body, seal=seal), seal


def _lie_about_length(content: bytes, chance: random.Random) -> tuple[bytes, bool]:
    length = int.from_bytes(content[:8], "little")
    lies = (0, 1, length - 1, length + 1, length + 8, 1 << 20, (1 << 20) + 1, 2**32 - 1, 2**40, 2**63, 2**64 - 1)
    return chance.choice(lies).to_bytes(8, "little") + content[8:], False


def _something_else(content: bytes, chance: random.Random) -> tuple[bytes, bool]:
    choices = (
        b"",
        b"\0" * 8,
        b"\0" * 4096,
        b"<!DOCTYPE html><html><body>404</body></html>",
        b'{"message": "Not Found"}',
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        b"PK\x03\x04" + content,
        b"\x89PNG\r\n\x1a\n" + content,
        pickle.dumps({"weight": [1.0]}, protocol=2),
        chance.randbytes(chance.randrange(1, 3000)),
    )
    return chance.choice(choices), False


DAMAGES: list[tuple[str, Damage]] = [
    (damage.__name__[1:], damage)
    for damage in (
        _flip_bits,
        _flip_in_head,
        _truncate,
        _append,
        _move_bytes,
        _reorder_parts,
        _lie_in_head,
        _lie_in_header,
        _lie_in_layout,
        _lie_in_compression,
        _spoil_parts,
        _lie_in_stream,
        _odd_json,
        _lie_about_length,
        _something_else,
    )
]
