"""Measure where the time and the memory of a network go, by several runtimes in turns."""
