"""Architectures, one `*_arch.py` each; `compsrt_plugin.register()` puts them into ARCH_REGISTRY."""
