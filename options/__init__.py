"""Option files, installed as `compsrt_plugin.options`; written by `compsrt_plugin.config.write_options`."""
