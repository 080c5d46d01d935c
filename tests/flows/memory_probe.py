"""Run by a test as a process of its own: analyses the bill named, prints how much memory that took.

`python -m tests.flows.memory_probe BILL` prints two numbers of KiB: resident after the imports, and at most.
"""

from __future__ import annotations

import asyncio
import importlib
import resource
import sys

import psutil

from flows.analysis import analyze_bill
from flows.running import run_flow

IMPORTED_ON_FIRST_USE = ("aiohttp", "jinja2", "openai", "rapidfuzz.fuzz", "charset_normalizer")

if __name__ == "__main__":
    for name in IMPORTED_ON_FIRST_USE:
        importlib.import_module(name)
    imported = psutil.Process().memory_info().rss // 1024
    asyncio.run(run_flow(analyze_bill, {"source": sys.argv[1]}, bare=True))
    print(imported, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
