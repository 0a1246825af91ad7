from __future__ import annotations

import pytest
import torch

from compsrt_plugin.packed import strict_json


def test_values_come_back_as_they_were():
    value = {"b": [1, -2.5, 1e-300, True, None, "é\ud800\n"], "a": {"c": 10**30}}
    assert strict_json.load_strict(strict_json.dump(value)) == value


def test_the_same_value_is_written_in_one_way():
    assert strict_json.dump({"b": 1, "a": (1, 2)}) == strict_json.dump({"a": [1, 2], "b": 1}) == '{"a":[1,2],"b":1}'


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ({"spec": {3: "x"}}, TypeError, "header.spec has the key 3"),
        ({"spec": {"bits": [1, torch.tensor(3)]}}, TypeError, r"header.spec.bits\[1\] is a Tensor"),
        ({"psnr": float("nan")}, ValueError, "header.psnr is nan"),
        ({"n": 10**50}, ValueError, "header.n has more than 40 digits"),
    ],
)
def test_what_json_cannot_hold_is_refused_by_name(value, error, message):
    with pytest.raises(error, match=message):
        strict_json.dump(value)


def nested(depth):
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    "text",
    ["", "{", "nul", '{"a":1,"a":1}', '{"a":{"b":1,"b":2}}', "NaN", "-Infinity", "1e999", "9" * 100_000, nested(60),
     nested(100_000), b"\xff"],
    ids=lambda text: repr(text[:20]),
)  # fmt: skip
def test_what_could_mean_two_things_or_take_forever_is_refused(text):
    with pytest.raises(ValueError):
        strict_json.load_strict(text)
