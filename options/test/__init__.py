"""Option files for `basicsr test`."""
