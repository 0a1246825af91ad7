"""Bound searches: `samples` gathers values, `search` finds bounds of a tensor, `rows` those of weight rows."""
