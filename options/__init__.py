"""Option files installed with the package: `train/*.yml` and `test/*.yml`."""
