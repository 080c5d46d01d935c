"""Domains that a search is confined to, and whether a page is in them.

Providers differ in what they can confine a search to, so that every answer is sifted again here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from schemas.calls import WebResult


def host_of(url: str) -> str:
    """The host of an HTTP address, in lower case; empty where it is none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return (parts.hostname or "").rstrip(".") if parts.scheme in ("http", "https") else ""


def is_within(host: str, domains: Sequence[str]) -> bool:
    """True when `host` is one of `domains` or below one; `*.gov` stands for all below `gov`."""
    names = [domain.removeprefix("*.") for domain in domains]
    return any(host == name or host.endswith(f".{name}") for name in names)


def sift(results: Iterable[WebResult], domains: Sequence[str], count: int) -> tuple[WebResult, ...]:
    """The first `count` results with an address, each once, in `domains` where there are any."""
    kept: dict[str, WebResult] = {}
    for result in results:
        host = host_of(result.url)
        if host and (not domains or is_within(host, domains)):
            kept.setdefault(result.url, result)
    return tuple(kept.values())[:count]


def site_clauses(domains: Sequence[str]) -> str:
    """What to append to a query for engines that know the `site:` operator; empty without domains."""
    clauses = " OR ".join(f"site:{domain.removeprefix('*.')}" for domain in domains)
    return f" ({clauses})" if len(domains) > 1 else f" {clauses}" if clauses else ""
