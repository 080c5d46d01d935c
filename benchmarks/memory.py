"""Resident memory of this process, in MiB."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import psutil

MIB = 1 << 20
STATUS = Path("/proc/self/status")


def resident_mib() -> float:
    """What is resident now."""
    found: int = psutil.Process().memory_info().rss
    return found / MIB


def peak_mib() -> float:
    """The largest that was ever resident of this program.

    Linux counts what the process was before it became this program into `ru_maxrss`, but not into `VmHWM`.
    """
    if STATUS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (MIB if sys.platform == "darwin" else 1024)
