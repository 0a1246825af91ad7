"""One rule says which entry of a weight file is taken, and the log says which it was."""

from __future__ import annotations

import logging

import pytest
import torch

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed import load_weights
from compsrt_plugin.packed.entries import PARAM_KEYS

WEIGHTS = {"conv.weight": torch.arange(12.0).reshape(3, 4), "conv.bias": torch.tensor([1.0, 2.0, 3.0])}
OTHERS = {name: tensor + 1 for name, tensor in WEIGHTS.items()}
ADAM = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}


def prefixed(prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in WEIGHTS.items()}


@pytest.fixture
def read(tmp_path, caplog):
    """Save a content and load it; returns the weights and what the log said."""

    def save_and_load(content, param_key=None):
        torch.save(content, tmp_path / "net.pth")
        with caplog.at_level(logging.INFO, "basicsr"):
            logging.getLogger("basicsr").addHandler(caplog.handler)  # BasicSR's logger may not propagate
            try:
                found = load_weights(tmp_path / "net.pth", param_key=param_key)
            finally:
                logging.getLogger("basicsr").removeHandler(caplog.handler)
        return found, caplog.text

    return save_and_load


def is_weights(found) -> bool:
    return list(found) == list(WEIGHTS) and all(torch.equal(found[name], t) for name, t in WEIGHTS.items())


@pytest.mark.parametrize("key", [*PARAM_KEYS, "generator"])
def test_an_entry_alone_is_taken_whatever_its_name(key, read):
    found, said = read({key: WEIGHTS})
    assert is_weights(found) and f"net.pth: entry {key}\n" in said


@pytest.mark.parametrize("first", range(len(PARAM_KEYS) - 1))
def test_of_several_entries_the_first_known_one_is_taken_and_the_others_are_named(first, read):
    taken, left = PARAM_KEYS[first : first + 2]
    found, said = read({left: OTHERS, taken: WEIGHTS})
    assert is_weights(found) and f"entry {taken} (also there: {left})" in said


CONTENTS = {
    "Lightning": {"epoch": 3, "global_step": 9, "state_dict": WEIGHTS, "optimizer_states": [ADAM]},
    "a training script": {
        "epoch": 3,
        "model_state_dict": WEIGHTS,
        "optimizer_state_dict": ADAM,
        "loss": torch.ones(()),
    },
    "one network beside numbers": {"generator": WEIGHTS, "loss": torch.ones(()), "optimizer": ADAM},
    "entries within entries": {"model": {"state_dict": {"params": WEIGHTS}}},
    "an empty moving average": {"params_ema": {}, "params": WEIGHTS},
    "no moving average": {"params_ema": None, "params": WEIGHTS},
    "a BasicSR state with its network": {"optimizers": [ADAM], "schedulers": [], "params": WEIGHTS},
    "parallel": prefixed("module."),
    "parallel twice": prefixed("module.module."),
    "compiled": prefixed("_orig_mod."),
    "a compiled part": {"conv._orig_mod.weight": WEIGHTS["conv.weight"], "conv.bias": WEIGHTS["conv.bias"]},
    "compiled in parallel": prefixed("module._orig_mod."),
    "parallel, compiled": prefixed("_orig_mod.module."),
    "a GAN's": prefixed("netG.module."),
    "torch's average": {"n_averaged": torch.tensor(3), **prefixed("module.")},
    "checkpointed": prefixed("_checkpoint_wrapped_module."),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_wrappers_are_taken_off(name, read):
    assert is_weights(read(CONTENTS[name])[0])


@pytest.mark.parametrize("asked", ["params", "params_ema", "generator"])
def test_the_entry_asked_for_is_taken(asked, read):
    keys = {"params", "params_ema", "generator"}
    found, said = read({**{key: OTHERS for key in sorted(keys - {asked})}, asked: WEIGHTS}, asked)
    assert is_weights(found) and f"entry {asked} (also there: " in said


@pytest.mark.parametrize("content", [{"params": WEIGHTS}, WEIGHTS], ids=["another", "bare"])
def test_an_entry_asked_for_may_be_missing_where_there_is_no_choice_and_a_warning_says_so(content, read):
    found, said = read(content, "params_ema")
    assert is_weights(found)
    assert "WARNING" in said and "has no entry params_ema (path.param_key_g)" in said


@pytest.mark.parametrize(
    ("content", "asked", "message"),
    [
        ({"params": WEIGHTS, "params_ema": OTHERS}, "params_emma", r"no 'params_emma'.*param_key_g: params_ema$"),
        ({"generator": WEIGHTS, "critic": OTHERS}, None, r"several networks; allowed: generator, critic; name one"),
        ({"generator": WEIGHTS, "critic": OTHERS}, "critics", r"no 'critics'; .*param_key_g: critic$"),
        ({"optimizers": [ADAM], "schedulers": [], "network": WEIGHTS}, None, "this is a training state"),
        ({"conv.weight": WEIGHTS["conv.weight"], "extra": {"a": torch.ones(2)}}, None, r"are not tensors \(extra\)"),
    ],
    ids=["misspelt", "two networks", "two, misspelt", "a state", "tensors and an entry"],
)
def test_a_choice_that_is_not_clear_is_refused(content, asked, message, read):
    with pytest.raises(CompSRTError, match=message):
        read(content, asked)
