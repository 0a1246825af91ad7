"""Transforms of a vector before quantization: the Hadamard transform and its relatives."""
