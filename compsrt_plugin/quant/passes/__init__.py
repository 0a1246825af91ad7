"""Passes over a converted network around the bound search: equalization, GPTQ, conditioning, bias correction."""
