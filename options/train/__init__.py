"""Option files of `basicsr train`."""
