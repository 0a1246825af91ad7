"""Passes over a converted network, before the bound search (conditioning, equalization) and after (GPTQ, output bias).

`statistics` gathers the second moments of layer inputs that conditioning, GPTQ and pruning need.
"""
