"""Passwords and keys: thrown away where they are met, and counted by name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

from schemas.errors import BadInput

REFUSED = "[refused]"
SECRET_NAMES = frozenset(
    {
        "password", "passwd", "pwd", "passphrase", "passcode", "secret", "secretkey", "clientsecret", "privatekey",
        "apikey", "apitoken", "apisecret", "accesskey", "accesstoken", "refreshtoken", "authtoken", "bearertoken",
        "sessiontoken", "idtoken", "token", "credentials", "authorization",
    }
)  # fmt: skip
_NOT_LETTERS = re.compile(r"[^a-z0-9]")
_NAMED = re.compile(r"""([\w.-]+)\\*["']?\s*[:=]""")
_TELLING = ("password", "passwd", "passphrase", "passcode", "apikey", "apitoken", "secretkey", "clientsecret")


def _as_damaged(name: str) -> Iterator[str]:
    """Expressions of `name` with something between its letters or in place of one of them."""
    for place in range(len(name)):
        yield "[^a-z0-9]*".join("." if place == other else letter for other, letter in enumerate(name))


_MENTIONED = re.compile("|".join(each for name in _TELLING for each in _as_damaged(name)), re.IGNORECASE)


@lru_cache(maxsize=4096)
def names_a_secret(name: str) -> bool:
    """Whether a field called `name` holds a password or key: `password`, `OPENAI_API_KEY`, `userPassword`."""
    plain = _NOT_LETTERS.sub("", name.casefold())
    return plain in SECRET_NAMES or plain.endswith(("password", "apikey", "secretkey", "accesstoken", "clientsecret"))


def require_no_password(source: str) -> None:
    """`source`, which is kept on the run, tells no password.

    Raises:
        BadInput: it is a URL with one in it.
    """
    if "://" not in source:
        return
    try:
        url = urlsplit(source)
        told = url.password is not None or "password" in parse_qs(url.query)
    except ValueError as error:
        raise BadInput(
            "the source is no URL that can be read; it should look like postgresql://user@host/db"
        ) from error
    if told:
        raise BadInput(
            "the source has a password in it, which would be kept on the run: leave it out and set PGPASSWORD, or have "
            "it in ~/.pgpass"
        )


class Refusal:
    """Takes secrets out of records and counts them; never holds one.

    Attributes:
        counts: values thrown away, by table and field.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset(names)
        self.counts: Counter[tuple[str, str]] = Counter()

    def refuses(self, name: str) -> bool:
        """Whether the values of a field called `name` are thrown away."""
        return name in self._names or names_a_secret(name)

    def strip(self, table: str, records: Sequence[dict[str, Any]]) -> None:
        """Secret fields of `records` themselves are gone; what is inside their values is left to `scrub`."""
        names = set().union(*records)
        for name in [name for name in names if self.refuses(name)]:
            for record in records:
                if record.pop(name, None) is not None:
                    self.counts[table, name] += 1

    def scrub(self, table: str, value: Any) -> Any:
        """`value`, from which secret fields are gone at any depth; it is changed in place."""
        waiting = [value]
        while waiting:  # not recursive: a hostile record nests deeper than Python calls may
            item = waiting.pop()
            if isinstance(item, dict):
                for name in [name for name in item if self.refuses(str(name))]:
                    if item.pop(name) is not None:
                        self.counts[table, str(name)] += 1
                waiting += [inner for inner in item.values() if isinstance(inner, dict | list)]
            elif isinstance(item, list):
                waiting += [inner for inner in item if isinstance(inner, dict | list)]
        return value

    def redact(self, text: str, names: Iterable[str] = ()) -> str:
        """`text`, which is no record, up to where a secret is named: what is damaged does not say where that ends.

        Args:
            names: of the table that it is from, and of columns whose values it holds without naming them.
        """
        if any(map(self.refuses, names)):
            return REFUSED
        begins = [found.end() for found in _NAMED.finditer(text) if self.refuses(found[1])]
        begins += [found.end() for found in _MENTIONED.finditer(text)]
        return text[: min(begins)] + REFUSED if begins else text
