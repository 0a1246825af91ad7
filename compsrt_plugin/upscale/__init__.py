"""Enlarge image files: find the jobs, decode, run the network, encode, resume after an interruption."""
