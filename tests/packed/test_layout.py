from __future__ import annotations

import zlib

import pytest

from compsrt_plugin.packed.layout import MAX_NAME, MAX_TENSORS, MAX_TEXT, TensorEntry, pack_layout, unpack_layout


def blocks(count):
    """A table like a quantized network's: 80 tensors a block."""
    return [
        TensorEntry(f"layers.{i // 6}.residual_group.blocks.{i % 6}.{part}.{j}.{tensor}", kind, shape)
        for i in range(count)
        for part in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
        for j in range(5)
        for tensor, kind, shape in (
            ("weight_codes", "codes3", (60, 64)),
            ("bias", "float16", (60,)),
            ("lower", "float32", ()),
            ("upper", "float32", ()),
        )
    ]


def test_the_table_comes_back_in_its_order():
    entries = [
        *blocks(3),
        TensorEntry("a", "bool", (0, 7)),
        TensorEntry("layers.0", "int64", ()),
        TensorEntry("..x y.é", "uint8", (1,)),
    ]
    assert unpack_layout(pack_layout(entries)) == entries
    assert unpack_layout(pack_layout(entries[::-1])) == entries[::-1]
    assert unpack_layout(pack_layout([])) == []


def test_two_thousand_names_take_less_than_two_kilobytes():
    entries = blocks(24)
    assert len(entries) == 1920
    assert len(pack_layout(entries)) < 2000


@pytest.mark.parametrize(
    "entry",
    [
        TensorEntry("", "bool", ()),
        TensorEntry("a\nb", "bool", ()),
        TensorEntry("a.", "bool", ()),
        TensorEntry("a" * (MAX_NAME + 1), "bool", ()),
        TensorEntry("a", "codes9", ()),
        TensorEntry("a", "bool", (2**31, 2)),
        TensorEntry("a", "bool", (0, 2**40)),
        TensorEntry("a", "bool", (1,) * 9),
    ],
    ids=str,
)
def test_a_tensor_the_reader_would_refuse_is_not_written(entry):
    with pytest.raises(ValueError):
        pack_layout([entry])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0 bool 1 a\n0 bool 1 a", "twice"),
        ("0 bool 1 a.b\n1 bool 1 b", "twice"),
        ("1 bool 1 a", "line 1"),
        ("0 bool 1 a\n2 bool 1 b", "line 2"),
        ("-1 bool 1 a", "line 1"),
        ("0 bool 1", "line 1"),
        ("0 bool 1 a\n", "line 2"),
        ("0 bool 1 ", "name"),
        ("0 bool 1 a.", "name"),
        ("0 bool 1 " + "a" * 300, "name"),
        ("0 bool 1x a", "shape"),
        ("0 bool -1 a", "shape"),
        ("0 bool ٣ a", "shape"),
        ("0 bool 1_0 a", "shape"),
        ("0 bool  a", "shape"),
        ("0 bool 99999999999 a", "shape"),
        ("0 bool 65536x65536 a", "shape"),
        ("0 bool 0x9999999999 a", "shape"),
        ("0 codes0 1 a", "kind"),
        ("0 float64 1 a", "kind"),
        ("\n" * MAX_TENSORS, "more than"),
        (" " * (MAX_TEXT + 1), "larger than"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_a_lie_is_told_from_a_table(text, reason):
    with pytest.raises(ValueError, match=reason):
        unpack_layout(zlib.compress(text.encode()))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "cut off"),
        (b"nonsense", "decompressed"),
        (zlib.compress(b"0 bool 1 a")[:-5], "cut off"),
        (zlib.compress(b"0 bool 1 a") + b"x", "followed"),
        (zlib.compress(b"\xff\xff"), "not text"),
        (zlib.compress(b"\0" * (64 << 20)), "larger than"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value,
)
def test_spoilt_compression_is_told(data, reason):
    with pytest.raises(ValueError, match=reason):
        unpack_layout(data)
