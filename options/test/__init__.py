"""Option files of `basicsr test`."""
