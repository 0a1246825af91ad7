"""Option files for `basicsr train`."""
