"""Garbage collection is off inside, and as it was afterwards."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from blocks.garbage import without_garbage_collection


@pytest.fixture(autouse=True)
def enabled() -> Iterator[None]:
    """As Python starts, before and after."""
    gc.enable()
    yield
    gc.enable()


def test_whoever_leaves_last_turns_it_on_again() -> None:
    first, second = without_garbage_collection(), without_garbage_collection()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not gc.isenabled()
    second.__exit__(None, None, None)
    assert gc.isenabled()


def test_where_it_was_off_it_stays_off() -> None:
    gc.disable()
    with without_garbage_collection():
        pass
    assert not gc.isenabled()


def test_an_error_inside_leaves_it_as_it_was() -> None:
    with pytest.raises(ValueError, match="inside"), without_garbage_collection():
        raise ValueError("inside")
    assert gc.isenabled()
