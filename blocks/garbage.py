"""Python's search for cyclic garbage, left out where it would find none and hold everything up."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_inside = 0
_was_enabled = True


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Inside, memory is freed by counting references alone; in every thread, until the last has left.

    For work that makes tens of thousands of objects without a cycle: looking for cycles in them takes longer than
    making them, and time and again in all that was imported as well.
    """
    global _inside, _was_enabled
    with _lock:
        if not _inside:
            _was_enabled = gc.isenabled()
            gc.disable()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside and _was_enabled:
                gc.enable()
