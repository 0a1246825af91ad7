"""The Triton kernels. Importing them needs Triton; `availability` says whether it is there."""
