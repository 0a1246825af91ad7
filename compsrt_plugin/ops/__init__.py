"""Operators that networks call, registered with `torch.library`; one file each."""
