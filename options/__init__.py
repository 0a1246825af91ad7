"""Option files, installed as `compsrt_plugin.options`; `tools/write_options.py` writes them."""
