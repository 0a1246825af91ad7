"""Option files that ask for what is not there, and places where nothing can be written."""

from __future__ import annotations

from pathlib import Path

from places import Place

from .cases import bad


@bad(r"unknown name in network_g\.type: 'CompSRTSwinir'.*did you mean 'CompSRTSwinIR'")
def network_type_misspelt(at: Place) -> None:
    at.test["network_g"]["type"] = "CompSRTSwinir"


@bad(r"network_g\.type EDSR cannot be quantized; allowed: CompSRTNet, CompSRTSwinIR", "train")
def network_that_cannot_be_quantized(at: Place) -> None:
    at.train["network_g"] = {"type": "EDSR", "num_in_ch": 3, "num_out_ch": 3}


@bad(r"unknown key in network_g: 'embed_dm'.*did you mean 'embed_dim'", "train")
def network_argument_misspelt(at: Place) -> None:
    at.train["network_g"]["embed_dm"] = 60


@bad(r"network_g\.embed_dim is 61, network_g\.num_heads \[6\]; allowed: heads that divide embed_dim", "train")
def heads_that_do_not_divide(at: Place) -> None:
    at.train["network_g"]["embed_dim"] = 61


@bad(r"network_g\.upscale is 4, scale is 3", "train")
def two_scales(at: Place) -> None:
    at.train["scale"] = 3
    at.train["datasets"]["train"].update(dataroot_lq=None, gt_size=24)


@bad(r"unknown key in val\.metrics: 'psnrr'; allowed: psnr, ssim; did you mean 'psnr'")
def metric_misspelt(at: Place) -> None:
    at.test["val"]["metrics"]["psnrr"] = at.test["val"]["metrics"].pop("psnr")


@bad(r"unknown key in val\.metrics\.psnr: 'test_y_chanel'.*did you mean 'test_y_channel'")
def metric_key_misspelt(at: Place) -> None:
    at.test["val"]["metrics"]["psnr"]["test_y_chanel"] = True


@bad(r"val\.metrics\.psnr is 'calculate_psnr'; allowed: a block of keys")
def metric_without_a_block(at: Place) -> None:
    at.test["val"]["metrics"]["psnr"] = "calculate_psnr"


@bad(r"unknown val\.padding: 'zero'; allowed: flip, reflect")
def padding_unknown(at: Place) -> None:
    at.test["val"]["padding"] = "zero"


@bad(r"name is '\.\./evil'; allowed: a plain name")
def name_that_leads_elsewhere(at: Place) -> None:
    at.test["name"] = "../evil"


@bad(r"num_gpu is 99, \d+ found; num_gpu: auto takes what is there, 0 the CPU")
def gpus_that_are_not_there(at: Place) -> None:
    at.test["num_gpu"] = 99


@bad(r"prune\.hook: 'magnitud'.*did you mean 'magnitude'", "train")
def pruning_hook_misspelt(at: Place) -> None:
    at.train["prune"] = {"hook": "magnitud", "ratio": 0.5}


@bad(r"override 'layer\.0\.\*' matches no layer", "train")
def override_that_matches_nothing(at: Place) -> None:
    at.train["quant"]["overrides"] = {"layer.0.*": {"bits": 4}}


@bad(r"cannot write to .*results: .*results is not a folder; move it away")
def results_that_are_a_file(at: Place) -> None:
    Path("results").write_text("")


@bad(r"cannot write to .*experiments: .*experiments is not a folder; move it away", "train")
def experiments_that_are_a_file(at: Place) -> None:
    Path("experiments").write_text("")
