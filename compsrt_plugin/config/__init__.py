"""Read option files: find, parse YAML, apply `--force_yml`, check, and return typed blocks.

`load.load_option_file` does all of it. The types of the blocks: `blocks` (ours), `pipeline_blocks`, `train_blocks`,
`data_set_blocks` (BasicSR's), `network_g` (arguments of networks). `typed` checks a value against a type, `check` a
whole file, and `recipes` turns `quant:` into a `NetworkSpec`. Nothing is imported here, so that `basicsr --help` stays
fast.
"""
