from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed import read_packed, write_packed
from compsrt_plugin.packed.container import MAX_HEAD
from compsrt_plugin.packed.format import packed_from_tensors

from .damages import layout_text, put_together, replace_part, take_apart
from .fuzzing import identical, same, sample_masks, sample_state

VERSION_1 = Path(__file__).with_name("version1.safetensors")
VERSION_2 = Path(__file__).with_name("version2.safetensors")  # of `sample_state`, by the writer of that version
HEADER = {
    "arch": {"type": "CompSRTSwinIR", "upscale": 4, "depths": [6, 6, 6, 6], "img_range": 1.0},
    "spec": {"weight": {"bits": 3}, "overrides": {"layers.0.*.fc2": {"bits": 4}}},
    "provenance": {"teacher": "0" * 64, "seed": 0, "note": "α, β"},
}


def written(path, state, code_bits=None, header=HEADER, masks=None):
    size = write_packed(path, state, code_bits or {}, header, masks)
    assert size == path.stat().st_size
    return read_packed(path)


@pytest.mark.parametrize("seed", range(8))
def test_a_network_comes_back_bit_for_bit_in_its_order(tmp_path, seed):
    state, code_bits = sample_state(seed, blocks=3)
    packed = written(tmp_path / "file", state, code_bits, masks=sample_masks(state))
    assert list(packed.state) == list(state)
    assert all(identical(packed.state[name], tensor) for name, tensor in state.items())
    assert packed.code_bits == code_bits
    assert packed.header == HEADER
    assert packed.bytes == (tmp_path / "file").stat().st_size


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("shape", [(), (0,), (3,), (5, 7), (1, 2, 3, 4), (2, 0, 3)], ids=str)
def test_codes_of_every_width_and_shape_come_back(tmp_path, bits, shape):
    state = {f"t{i}": torch.randint(0, 1 << bits, shape, dtype=torch.uint8) for i in range(3)}
    packed = written(tmp_path / "file", state, dict.fromkeys(state, bits))
    assert all(identical(packed.state[name], tensor) for name, tensor in state.items())
    assert packed.code_bits == dict.fromkeys(state, bits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int64, torch.uint8, torch.bool], ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (5, 7), (2, 0, 3)], ids=str)
def test_tensors_of_every_type_come_back(tmp_path, dtype, shape):
    state = {"a": (torch.randn(shape) * 3).abs().to(dtype), "b.c": torch.zeros(shape, dtype=dtype)}
    packed = written(tmp_path / "file", state)
    assert all(identical(packed.state[name], tensor) for name, tensor in state.items())
    assert packed.code_bits == {}


def test_nans_keep_their_payload_and_zero_its_sign(tmp_path):
    single = torch.tensor([0x7FC00001, 0x7F800001, -0x400000, -0x80000000, 1], dtype=torch.int32)
    half = torch.tensor([0x7E01, 0x7C01, -0x8000, 1], dtype=torch.int16)
    packed = written(tmp_path / "file", {"single": single.view(torch.float32), "half": half.view(torch.float16)})
    assert torch.equal(packed.state["single"].view(torch.int32), single)
    assert torch.equal(packed.state["half"].view(torch.int16), half)


def test_a_view_is_written_as_it_looks(tmp_path):
    whole = torch.randn(6, 8)
    state = {"transposed": whole.t(), "every_other": whole[::2, 1::3], "expanded": torch.ones(1).expand(4)}
    packed = written(tmp_path / "file", state)
    assert all(torch.equal(packed.state[name], tensor) for name, tensor in state.items())


def test_a_network_without_tensors_is_a_file_too(tmp_path):
    packed = written(tmp_path / "file", {}, header={})
    assert packed.state == {} and packed.header == {}


def test_tensors_read_can_be_changed_without_changing_others(tmp_path):
    packed = written(tmp_path / "file", {"a": torch.zeros(2), "b": torch.zeros(2)})
    packed.state["a"].fill_(1)
    assert packed.state["b"].tolist() == [0, 0]


def test_the_same_network_gives_the_same_file(tmp_path):
    state, code_bits = sample_state(5, blocks=2)
    write_packed(tmp_path / "one", state, code_bits, {"a": {"c": 2, "d": 1}, "b": 1})
    write_packed(tmp_path / "other", state, dict(reversed(code_bits.items())), {"b": 1, "a": {"d": 1, "c": 2}})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


MASKS = {
    "unstructured": torch.rand(60, 64, generator=torch.Generator().manual_seed(0)) > 0.4,
    "rows": (torch.arange(60) % 5 > 1)[:, None].expand(60, 64).clone(),
    "columns": (torch.arange(64) % 4 > 1).expand(60, 64).clone(),
    "2:4": torch.tensor([True, False, False, True]).repeat(60, 16),
    "all": torch.ones(60, 64, dtype=torch.bool),
    "none": torch.zeros(60, 64, dtype=torch.bool),
}


def pruned_state(mask: torch.Tensor, bits: int) -> tuple[dict[str, torch.Tensor], dict[str, int]]:
    codes = torch.randint(0, 1 << bits, mask.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return {"a.weight_codes": codes * mask, "a.weight_mask": mask}, {"a.weight_codes": bits}


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("kind", MASKS)
def test_pruned_codes_come_back_and_take_only_the_room_of_those_that_stay(tmp_path, kind, bits):
    state, code_bits = pruned_state(MASKS[kind], bits)
    packed = written(tmp_path / "file", state, code_bits, {}, {"a.weight_codes": "a.weight_mask"})
    assert all(identical(packed.state[name], tensor) for name, tensor in state.items())
    assert packed.code_bits == code_bits
    kept = int(MASKS[kind].sum())
    mask_bits = 3840 if kind in ("unstructured", "2:4") else 64
    assert packed.bytes <= (kept * bits + mask_bits) / 8 + 800  # head and table


@pytest.mark.parametrize(
    ("mask", "name", "message"),
    [
        (torch.zeros(60, 64, dtype=torch.bool), "a.weight_mask", "holds codes where its mask is False"),
        (torch.ones(60, 63, dtype=torch.bool), "a.weight_mask", "not a boolean tensor of the module and shape"),
        (torch.ones(60, 64), "a.weight_mask", "not a boolean tensor of the module and shape"),
        (torch.ones(60, 64, dtype=torch.bool), "b.weight_mask", "not a boolean tensor of the module and shape"),
    ],
    ids=["codes", "shape", "type", "place"],
)
def test_a_mask_that_does_not_fit_its_codes_is_named(tmp_path, mask, name, message):
    state = {"a.weight_codes": torch.ones(60, 64, dtype=torch.uint8), name: mask}
    with pytest.raises(ValueError, match=message):
        write_packed(tmp_path / "file", state, {"a.weight_codes": 3}, {}, {"a.weight_codes": name})


def test_codes_far_from_uniform_are_compressed_to_within_three_per_cent_of_their_entropy(tmp_path):
    generator = torch.Generator().manual_seed(0)
    for bits, spread in ((2, 0.7), (3, 1.3), (4, 2.6), (8, 20.0)):
        codes = (torch.randn(200_000, generator=generator) * spread + 2 ** (bits - 1)).round().clamp(0, 2**bits - 1)
        share = torch.bincount(codes.long()).double() / len(codes)
        entropy = -(share[share > 0] * share[share > 0].log2()).sum().item() * len(codes) / 8
        packed = written(tmp_path / "file", {"a": codes.to(torch.uint8)}, {"a": bits})
        assert packed.bytes < 1.03 * entropy + 600, bits


def test_a_state_of_almost_nothing_but_zeros_stays_readable(tmp_path):
    state = {"a": torch.zeros(3000, 3000, dtype=torch.uint8), "b": torch.ones(3000, 1000, dtype=torch.bool)}
    packed = written(tmp_path / "file", state, {"a": 2})
    assert all(identical(packed.state[name], tensor) for name, tensor in state.items())
    assert packed.bytes >= 12_000_000 / 64  # a file says how much it may unfold to


def test_files_of_version_1_stay_readable():
    packed = read_packed(VERSION_1)
    assert packed.header == {"arch": {"type": "SwinIR"}, "spec": {"bits": 3}, "provenance": {"note": "α"}}
    assert packed.code_bits == {"blocks.0.weight_codes": 3, "blocks.1.weight_codes": 8}
    assert {name: (t.dtype, t.tolist()) for name, t in packed.state.items()} == {
        "blocks.0.weight_codes": (torch.uint8, [[0, 1, 2], [7, 6, 5]]),
        "blocks.0.mask": (torch.bool, [True, False, True]),
        "blocks.0.lower": (torch.float32, -0.25),
        "blocks.0.bias": (torch.float16, [0.5, -2.0]),
        "blocks.1.weight_codes": (torch.uint8, [255, 0]),
        "index": (torch.int64, [-1]),
        "bytes": (torch.uint8, [9]),
    }


def network_state():
    """A state as large as SwinIR-light at 3 bits: 1,900 tensors, 600 kB packed."""
    state, code_bits = {}, {}
    for block in range(24):
        for i in range(7):
            name = f"layers.{block // 6}.residual_group.blocks.{block % 6}.place{i}"
            state[f"{name}.weight_codes"] = torch.randint(0, 8, (60, 64), dtype=torch.uint8)
            code_bits[f"{name}.weight_codes"] = 3
            state[f"{name}.bias"] = torch.randn(60).half()
            for j in range(9):
                state[f"{name}.quantizer.scale{j}"] = torch.randn(())
    state["conv_codes"] = torch.randint(0, 256, (180_000,), dtype=torch.uint8)
    code_bits["conv_codes"] = 8
    return state, code_bits


def test_names_and_shapes_cost_little(tmp_path):
    state, code_bits = network_state()
    bits = sum(t.numel() * code_bits.get(name, t.element_size() * 8) for name, t in state.items())
    packed = written(tmp_path / "file", state, code_bits)
    assert len(state) > 1800
    assert packed.bytes - bits / 8 < 4096


@pytest.mark.parametrize(
    ("state", "code_bits", "error"),
    [
        ({"a": torch.tensor([8], dtype=torch.uint8)}, {"a": 3}, "'a' holds 8, which does not fit in 3 bits"),
        ({"a": torch.tensor([1.0])}, {"a": 3}, r"'a' is torch\.float32 at 3 bits"),
        ({"a": torch.tensor([1], dtype=torch.uint8)}, {"a": 9}, "'a' is .* at 9 bits"),
        ({"a": torch.tensor([1.0], dtype=torch.float64)}, {}, r"'a' is torch\.float64"),
        ({}, {"b": 3}, "code_bits names 'b'"),
        ({"a\nb": torch.ones(1)}, {}, "multi-line"),
    ],
    ids=["code", "float codes", "width", "type", "name", "line break"],
)
def test_what_cannot_be_stored_is_named_and_nothing_is_written(tmp_path, state, code_bits, error):
    with pytest.raises(ValueError, match=error):
        write_packed(tmp_path / "file", state, code_bits, {})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CompSRTError, match=r"cannot write .*x.safetensors"):
        write_packed(tmp_path / "file" / "x.safetensors", {}, {}, {})


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file.safetensors"
    state, code_bits = sample_state(1, 2)
    write_packed(path, state, code_bits, HEADER, sample_masks(state))
    return path


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("coding", "rans", "codes compressed as 'rans'; allowed: 'lzma'; install a newer"),
        ("extra", "x", "metadata"),
        ("header", "{}", "metadata"),
    ],
)
def test_a_file_from_the_future_is_one_line(path, key, value, message):
    head, body = take_apart(path.read_bytes())
    head["__metadata__"][key] = value
    path.write_bytes(put_together(head, body, seal=True))
    with pytest.raises(CompSRTError, match=message):
        read_packed(path)


ODD_HEADERS = [
    (zlib.compress(b"[]"), "header is not a JSON object"),
    (zlib.compress(b"{"), "damaged"),
    (zlib.compress(b"[" * 5000), "damaged"),
    (zlib.compress(b"\xff"), "its header is not text"),
    (zlib.compress(b" " * (MAX_HEAD + 1)), "its header is cut off, followed by something, or larger than 1,048,576"),
    (zlib.compress(b"{}") + b"x", "its header is cut off"),
    (b"{}", "its header cannot be decompressed"),
]


@pytest.mark.parametrize(("header", "message"), ODD_HEADERS, ids=lambda value: str(value)[:20])
def test_an_odd_header_is_one_line(path, header, message):
    path.write_bytes(replace_part(path.read_bytes(), "header", header, seal=True))
    with pytest.raises(CompSRTError, match=message):
        read_packed(path)


def test_a_header_larger_than_a_reader_accepts_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="the header takes"):
        write_packed(tmp_path / "file", {}, {}, {"note": "x" * MAX_HEAD})


@pytest.mark.parametrize("found", ["float64", "layout2", "codes9"])
def test_a_part_of_no_known_kind_is_refused(path, found):
    head, body = take_apart(path.read_bytes())
    head = {found if name == "float32" else name: value for name, value in head.items()}
    path.write_bytes(put_together(head, body, seal=True))
    with pytest.raises(CompSRTError, match=f"its part '{found}' is unknown"):
        read_packed(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("/mask ", "/masc ", "codes without their mask"),
        ("/mask 5x8 ", "/mask 5x9 ", "mask of another shape"),
        ("/mask ", "/../x ", "unknown kind"),
        ("float16 5 ", "float16/mask 5 ", "unknown kind"),
        ("rows 5x8", "rows 40", "rows of a tensor of 1 axes"),
    ],
)
def test_a_table_whose_masks_make_no_sense_is_refused(path, old, new, message):
    text = layout_text(path.read_bytes())
    assert old in text
    table = zlib.compress(text.replace(old, new, 1).encode())
    path.write_bytes(replace_part(path.read_bytes(), "layout", table, seal=True))
    with pytest.raises(CompSRTError, match=message):
        read_packed(path)


def test_a_table_that_needs_more_than_the_file_holds_is_refused(path):
    huge = layout_text(path.read_bytes()).replace(" - ", " 40000x40000 ", 1)
    path.write_bytes(replace_part(path.read_bytes(), "layout", zlib.compress(huge.encode()), seal=True))
    with pytest.raises(CompSRTError, match="more tensors than the file can hold"):
        read_packed(path)


@pytest.mark.parametrize(("part", "message"), [("layout", "no table"), ("header", "no header")])
def test_a_file_without_a_table_or_a_header_is_refused(path, part, message):
    path.write_bytes(replace_part(path.read_bytes(), part, b"", seal=True))
    with pytest.raises(CompSRTError, match=message):
        read_packed(path)


def test_the_header_is_read_from_the_tensors_alone(path):
    """Readers such as spandrel drop the metadata."""
    whole, tensors = read_packed(path), load_file(path)
    for given in (tensors, dict(reversed(tensors.items()))):
        found = packed_from_tensors(given, "given")
        assert same(found, whole)
        assert (found.bytes, found.sha256, found.part_bytes) == (whole.bytes, whole.sha256, whole.part_bytes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"header": None}, "given has no tensor 'header'; .* basicsr export OLD.safetensors --out NEW.safetensors"),
        ({"layout": None}, "given has no tensor 'layout'"),
        ({"layout": torch.ones(3)}, "its table cannot be decompressed"),
        ({"header": torch.ones(2, 2)}, r"its part 'header' is a torch.float32 of 2 axes"),
        ({"header": torch.ones(2, dtype=torch.uint8)}, "its header cannot be decompressed"),
        ({"weight": torch.ones(2)}, "its part 'weight' is unknown"),
        ({"weight": torch.ones(2, dtype=torch.float64)}, r"its part 'weight' is a torch.float64"),
        ({"float16": None}, "its part float16"),
    ],
    ids=str,
)
def test_tensors_that_are_no_packed_file_are_one_line(path, change, message):
    tensors = {name: tensor for name, tensor in {**load_file(path), **change}.items() if tensor is not None}
    with pytest.raises(CompSRTError, match=message):
        packed_from_tensors(tensors, "given")


def test_files_of_version_2_stay_readable(tmp_path):
    """In them the header is in the metadata."""
    assert take_apart(VERSION_2.read_bytes())[0]["__metadata__"]["version"] == "2"
    state, code_bits = sample_state(0, blocks=3)
    before = read_packed(VERSION_2)
    assert list(before.state) == list(state) and before.code_bits == code_bits and before.header == HEADER
    assert all(identical(before.state[name], tensor) for name, tensor in state.items())
    write_packed(tmp_path / "new", before.state, before.code_bits, before.header, sample_masks(state))
    after = read_packed(tmp_path / "new")
    assert same(after, before)
    assert after.bytes < before.bytes


def test_spaces_in_the_header_are_a_change_like_any_other(path):
    before = read_packed(path)
    head, body = take_apart(path.read_bytes())
    spaced = json.dumps(head, separators=(", ", ":")).encode()
    path.write_bytes(put_together(spaced, body, seal=True))
    assert same(read_packed(path), before)
    path.write_bytes(put_together(spaced, body, seal=False))
    with pytest.raises(CompSRTError, match="checksum"):
        read_packed(path)
