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


@bad(r"num_gpu is 99, \d+ found; num_gpu: auto uses the GPUs that are there, 0 the CPU")
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


@bad(r"name has 240 bytes; allowed: up to 200")
def name_that_no_file_system_takes_with_a_time_behind_it(at: Place) -> None:
    at.test["name"] = "n" * 240


@bad(r"datasets\.test_1\.name is '\.\./out'; allowed: a plain name")
def data_set_that_would_be_written_elsewhere(at: Place) -> None:
    at.data["name"] = "../out"


@bad(r"datasets\.test_1 and datasets\.test_2 have the same name 'Mine'")
def two_data_sets_of_one_name(at: Place) -> None:
    at.test["datasets"]["test_2"] = dict(at.data)


@bad(r"has the block quant:, and model_type SRModel does not read it; allowed: model_type: CompSRT", "train")
def quantization_by_a_model_that_does_not_quantize(at: Place) -> None:
    at.train["model_type"] = "SRModel"
    del at.train["distill"]


@bad(r"datasets\.test_1\.mean is \[0\.4, 0\.4, 0\.4\]; allowed: nothing")
def mean_that_would_be_judged(at: Place) -> None:
    at.data.update(mean=[0.4] * 3, std=[1.0] * 3)


@bad(r"datasets\.train\.prefetch_mode is cuda, but there is no GPU; allowed: cpu or null", "train")
def prefetching_to_no_gpu(at: Place) -> None:
    at.train["datasets"]["train"].update(prefetch_mode="cuda", pin_memory=True)


@bad(r"persistent_workers is true; allowed: with num_worker_per_gpu from 1 on", "train")
def persistent_workers_without_workers(at: Place) -> None:
    at.train["datasets"]["train"].update(persistent_workers=True, num_worker_per_gpu=0)


@bad(r"datasets\.train has persistent_workers and prefetch_mode cpu; allowed: one of them", "train")
def two_passes_over_the_same_workers(at: Place) -> None:
    at.train["datasets"]["train"].update(persistent_workers=True, num_worker_per_gpu=1, prefetch_mode="cpu")


@bad(r"train\.scheduler has 2 periods, 1 restart_weights; allowed: as many of each", "train")
def periods_without_their_weights(at: Place) -> None:
    at.train["train"]["scheduler"].update(periods=[100, 200], restart_weights=[1])


@bad(r"logger\.wandb\.project is 'mine', but wandb is not installed|use_tb_logger is false", "train")
def wandb_without_what_it_needs(at: Place) -> None:
    at.train["logger"].update(use_tb_logger=False, wandb={"project": "mine"})


@bad(r"manual_seed is 4294967296; allowed: 0 to 4000000000")
def seed_that_numpy_does_not_take(at: Place) -> None:
    at.test["manual_seed"] = 2**32


@bad(r"the image LR/px4\.png is damaged", "train")
def damaged_picture_that_a_thread_reads_ahead(at: Place) -> None:
    at.lr.write_bytes(at.lr.read_bytes()[:-100])
    at.train["datasets"]["train"]["prefetch_mode"] = "cpu"
