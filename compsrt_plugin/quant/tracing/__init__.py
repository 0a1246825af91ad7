"""Products in the code of networks that are not ours: found once, then intercepted."""
