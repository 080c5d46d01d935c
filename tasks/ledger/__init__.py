"""The ledger: the one way to call a model, and what is on record of it.

The names below are what other code uses; they are loaded when first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks.ledger.alerts import on_budget_alert
    from tasks.ledger.calls import complete, complete_structured, embed, estimate_cost
    from tasks.ledger.costs import read_costs
    from tasks.ledger.feedback import give_feedback, read_feedback
    from tasks.ledger.images import generate_image
    from tasks.ledger.isolation import as_user
    from tasks.ledger.requests import get_request, list_requests
    from tasks.ledger.reranking import rerank
    from tasks.ledger.search_usage import search_statistics
    from tasks.ledger.searches import search_web
    from tasks.ledger.session import open_ledger
    from tasks.ledger.subject_searches import (
        search_fund_prospectus,
        search_legislation,
        search_retirement_rules,
        search_tax_rules,
    )

__all__ = [
    "as_user",
    "complete",
    "complete_structured",
    "embed",
    "estimate_cost",
    "generate_image",
    "get_request",
    "give_feedback",
    "list_requests",
    "on_budget_alert",
    "open_ledger",
    "read_costs",
    "read_feedback",
    "rerank",
    "search_fund_prospectus",
    "search_legislation",
    "search_retirement_rules",
    "search_statistics",
    "search_tax_rules",
    "search_web",
]

_HOMES = {
    "as_user": "isolation",
    "complete": "calls",
    "complete_structured": "calls",
    "embed": "calls",
    "estimate_cost": "calls",
    "generate_image": "images",
    "get_request": "requests",
    "give_feedback": "feedback",
    "list_requests": "requests",
    "on_budget_alert": "alerts",
    "open_ledger": "session",
    "rerank": "reranking",
    "search_fund_prospectus": "subject_searches",
    "search_legislation": "subject_searches",
    "search_retirement_rules": "subject_searches",
    "search_statistics": "search_usage",
    "search_tax_rules": "subject_searches",
    "search_web": "searches",
    "read_costs": "costs",
    "read_feedback": "feedback",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
