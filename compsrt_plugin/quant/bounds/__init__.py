"""Bound searches: from gathered samples to lower and upper bounds."""
