"""Option files: found (`files`), read (`reader`), changed from the command line (`force_yml`), checked.

`layout` checks what BasicSR needs, `schema` types our blocks `quant:`, `prune:`, `distill:`, and `recipes`
turns the first into a `NetworkSpec`. `write_options` writes the files that come with the package. Nothing is
imported here, so that `basicsr --help` stays quick.
"""
