"""Run by a test as a process of its own: analyses the bill named, prints how much memory that took.

`python -m tests.flows.memory_probe BILL` prints two numbers of KiB: resident after the imports, and at most.
"""

from __future__ import annotations

import asyncio
import importlib
import resource
import sys
from pathlib import Path

import psutil

from flows.analysis import analyze_bill
from flows.running import run_flow

IMPORTED_ON_FIRST_USE = ("aiohttp", "jinja2", "openai", "rapidfuzz.fuzz", "charset_normalizer")


def peak_kib() -> int:
    """The most memory this program has had; `ru_maxrss` would count what the process was before it became this one."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # macOS counts bytes


if __name__ == "__main__":
    for name in IMPORTED_ON_FIRST_USE:
        importlib.import_module(name)
    imported = psutil.Process().memory_info().rss // 1024
    asyncio.run(run_flow(analyze_bill, {"source": sys.argv[1]}, bare=True))
    print(imported, peak_kib())
