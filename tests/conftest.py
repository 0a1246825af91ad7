"""What all tests need: one thread each where several workers share the machine."""

from __future__ import annotations

import os

# Before torch is imported. OpenMP threads that spin while waiting slow two busy workers down tenfold.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
