"""Versions of models for a purpose, and tests between them.

The names below are what other code uses; they are loaded when first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks.versions.ab_tests import create_test, list_tests, read_test, stop_test, variant_for
    from tasks.versions.registry import list_versions, promote_version, register_version, roll_back_version
    from tasks.versions.reporting import report_test
    from tasks.versions.satisfaction import read_satisfaction

__all__ = [
    "create_test",
    "list_tests",
    "list_versions",
    "promote_version",
    "read_satisfaction",
    "read_test",
    "register_version",
    "report_test",
    "roll_back_version",
    "stop_test",
    "variant_for",
]

_HOMES = {
    "create_test": "ab_tests",
    "list_tests": "ab_tests",
    "list_versions": "registry",
    "promote_version": "registry",
    "read_satisfaction": "satisfaction",
    "read_test": "ab_tests",
    "register_version": "registry",
    "report_test": "reporting",
    "roll_back_version": "registry",
    "stop_test": "ab_tests",
    "variant_for": "ab_tests",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
