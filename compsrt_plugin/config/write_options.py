"""Writes the option files of `basicsr train` and `basicsr test`: 3 scales × 3 widths × 2 commands.

`python -m compsrt_plugin.config.write_options` writes them into `options/`, `--check` compares only. The
files differ in scale and bits alone, so they have one source; each is complete by itself.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from string import Template

SCALES = (2, 3, 4)
BITS = (2, 3, 4)
BUNDLED = {"compsrt_x4_3bit"}  # names whose checkpoint comes with the package
BENCHMARKS = ("Set5", "Set14", "B100", "Urban100", "Manga109")

NETWORK_AND_QUANT = """\
# SwinIR-light; type and arguments as in BasicSR's swinir_arch.py
network_g:
  type: CompSRTSwinIR
  upscale: $scale
  in_chans: 3
  img_size: 64
  window_size: 8
  img_range: 1.
  depths: [6, 6, 6, 6]
  embed_dim: 60
  num_heads: [6, 6, 6, 6]
  mlp_ratio: 2
  upsampler: pixelshuffledirect
  resi_connection: 1conv

# how it is quantized: a named set of values, and anything that differs from it, for example
#   activation: {bits: 4}                      # or transform, search, codes: see the recipes in the docs
#   conv_bits: ~                               # convolutions in full precision
#   overrides: {'layers.0.*.fc2': {bits: 4}}   # by layer name
quant:
  recipe: plus
  bits: $bits
"""

TEST = """\
# Test SwinIR-light x$scale, quantized to $bits bits:   basicsr test -opt $name.yml
$checkpoint_note
# general settings
name: $name  # results go to results/$name
model_type: CompSRTModel
scale: $scale
num_gpu: auto  # auto: as many as there are; 0: CPU
manual_seed: 0

datasets:
  test_1:
    name: Demo
    type: CompSRTPairedDataset
    embedded: demo  # four photographs that come with scikit-image
    io_backend:
      type: disk

  # A benchmark is tested if its folders are found, else one line says where they belong. Either set
  # COMPSRT_DATA to the common root of Set5/HR, Set5/LR_bicubic/X$scale and so on, or give both folders here.
$benchmarks
$network
path:
  pretrain_network_g: ~  # a packed checkpoint; ~: the one that comes with the package
  pretrain_network_teacher: ~  # full-precision weights, for comparison; ~: those that come with the package
  strict_load_g: true

# tile: {size: 256, overlap: 16}  # how large pictures are cut; without it only where memory would not suffice

val:
  save_img: true
  suffix: ~  # added to the names of saved pictures; ~: the name above
  padding: reflect  # to a multiple of the window, as BasicSR does; flip: as SwinIR's own test does

  metrics:  # on the Y channel, without a border of $scale pixels, as papers do
    psnr:
      type: calculate_psnr
      crop_border: $scale
      test_y_channel: true
    ssim:
      type: calculate_ssim
      crop_border: $scale
      test_y_channel: true
"""

BENCHMARK = """\
  test_$number:
    name: $dataset
    type: CompSRTPairedDataset
    # dataroot_gt: datasets/$dataset/HR
    # dataroot_lq: datasets/$dataset/LR_bicubic/X$scale
    filename_tmpl: '{}x$scale'
    io_backend:
      type: disk
"""

NO_CHECKPOINT = """\
#
# No checkpoint for this file comes with the package. Make one first:
#   basicsr train -opt $name.yml
#   basicsr test -opt $name.yml --force_yml path:pretrain_network_g=experiments/$name/models/$name.safetensors
"""

TRAIN = """\
# Quantize SwinIR-light x$scale to $bits bits:   basicsr train -opt $name.yml
# The result is experiments/$name/models/$name.safetensors

# general settings
name: $name
model_type: CompSRTModel
scale: $scale
num_gpu: auto  # auto: as many as there are; 0: CPU
manual_seed: 0

datasets:
  # Photographs that come with scikit-image, none of them among the tested ones. For your own, give in both
  # blocks dataroot_gt: a tenth of the pictures is held out, and low-resolution ones are made once, unless
  # dataroot_lq and filename_tmpl ('{}x$scale') say where they are.
  train:
    name: Calibration
    type: CompSRTPairedDataset
    embedded: calibration
    # dataroot_gt: datasets/DF2K/HR
    subset: train
    io_backend:
      type: disk

    gt_size: $gt_size  # 32 x 32 in low resolution
    use_hflip: true
    use_rot: true

    # data loader
    num_worker_per_gpu: 0
    batch_size_per_gpu: 2
    dataset_enlarge_ratio: 100  # only the length of what BasicSR calls an epoch
    prefetch_mode: ~

  # held out from calibration: what a choice between checkpoints is made by, never a test set
  val:
    name: Holdout
    type: CompSRTPairedDataset
    embedded: calibration
    # dataroot_gt: datasets/DF2K/HR
    subset: holdout
    io_backend:
      type: disk

$network
  calibration:  # the low-resolution patches on which bounds are searched
    patches: 32
    patch_size: 64

path:
  pretrain_network_g: ~  # the full-precision weights to quantize; ~: those that come with the package
  strict_load_g: true
  resume_state: ~

train:
  total_iter: 300  # 0: bounds are searched, nothing is distilled
  warmup_iter: 20

  # of the bounds; in units of each quantizer's range with the recipe plus (as published: 1e-2, absolute)
  optim_g:
    type: Adam
    lr: !!float 2e-3
    weight_decay: 0
    betas: [0.9, 0.99]

  scheduler:
    type: CosineAnnealingRestartLR
    periods: [300]
    restart_weights: [1]
    eta_min: !!float 1e-6

# what the loss compares and what is trained; ~: as the recipe has it (plus trains the weights too)
distill: ~

# validation settings
val:
  val_freq: !!float 150
  save_img: false
  suffix: ~
  padding: reflect

  metrics:
    psnr:
      type: calculate_psnr
      crop_border: $scale
      test_y_channel: true

# logging settings
logger:
  print_freq: 10
  save_checkpoint_freq: !!float 50
  use_tb_logger: true
  wandb:
    project: ~
    resume_id: ~

# dist training settings
dist_params:
  backend: nccl
  port: 29500
"""


def option_texts() -> dict[str, str]:
    """Return every option file: path below `options/` -> text."""
    texts = {}
    for scale in SCALES:
        for bits in BITS:
            name = f"compsrt_x{scale}_{bits}bit"
            values = {"name": name, "scale": scale, "bits": bits, "gt_size": 32 * scale}
            values["network"] = Template(NETWORK_AND_QUANT).substitute(values)
            values["benchmarks"] = "\n".join(
                Template(BENCHMARK).substitute(values, number=number, dataset=dataset)
                for number, dataset in enumerate(BENCHMARKS, start=2)
            )
            note = "" if name in BUNDLED else Template(NO_CHECKPOINT).substitute(values)
            texts[f"test/{name}.yml"] = Template(TEST).substitute(values, checkpoint_note=note)
            texts[f"train/{name}.yml"] = Template(TRAIN).substitute(values)
    return texts


def out_of_step(folder: Path) -> list[str]:
    """Return the option files below `folder` that differ from the script, are missing, or are left over."""
    texts = option_texts()
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.glob("t*/compsrt_*.yml"))}
    wrong = [name for name in texts if name not in found or found[name].read_text(encoding="utf-8") != texts[name]]
    return wrong + [name for name in found if name not in texts]


def main(argv: list[str] | None = None) -> int:
    """Write the option files, or compare them; return 1 if `--check` finds a difference."""
    parser = argparse.ArgumentParser(prog="python -m compsrt_plugin.config.write_options", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    parser.add_argument("--out", type=Path, default=Path("options"), help="folder to write to (default: options)")
    args = parser.parse_args(argv)
    if args.check:
        wrong = out_of_step(args.out)
        for name in wrong:
            sys.stdout.write(f"out of step: {args.out / name}\n")
        return 1 if wrong else 0
    for name, text in option_texts().items():
        path = args.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
