"""Pages of an application that a conversation may be about: what an assistant is told of each.

`portfolio` and `tax_planning` are those of the finance assistant. Others are registered by `register_page`, or are
Markdown files in the folder that HEADRACE_CHAT_PAGES names: the page `retirement` is `retirement.md`, and what the
assistant is told is what it says.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from schemas.errors import BadInput, ConfigurationError

LONGEST_FACT = 2000


class Page(BaseModel):
    """A page and what its assistant is told.

    Attributes:
        about: instructions, part of the system message; written by whoever runs the application.
        facts: names of what the application may tell about the page; None takes any.
    """

    model_config = ConfigDict(frozen=True)

    name: str = Field(pattern=r"^[a-z0-9_-]{1,64}$")
    about: str
    facts: frozenset[str] | None = None


_registered: dict[str, Page] = {}


def register_page(page: Page) -> None:
    """The page is known to this process; one of its name before is replaced."""
    _registered[page.name] = page


register_page(
    Page(
        name="portfolio",
        about="It shows what they have invested in. Explain holdings, risk and fees from the facts given; say that it "
        "is no personal investment advice where they ask what to buy or sell.",
    )
)
register_page(
    Page(
        name="tax_planning",
        about="It is about their income tax. Take the state and the income bracket from the facts given, say which "
        "year a rule is of, and send them to a tax adviser for what depends on their own case.",
        facts=frozenset({"state", "income_bracket"}),
    )
)


def find_page(name: str, folder: Path | None) -> Page:
    """The page called `name`: a file of `folder`, or a registered one.

    Raises:
        BadInput: there is none; the message lists those there are.
        ConfigurationError: HEADRACE_CHAT_PAGES is no folder that can be read.
    """
    files = _files(folder) if folder else {}
    if name in files:
        try:
            return Page(name=name, about=files[name].read_text(encoding="utf-8").strip())
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{files[name]} describes no page: {type(error).__name__}") from error
    if name in _registered:
        return _registered[name]
    raise BadInput(f"there is no page {name!r}; there are {', '.join(sorted({*files, *_registered}))}")


def _files(folder: Path) -> dict[str, Path]:
    try:
        return {path.stem: path for path in folder.iterdir() if path.suffix == ".md"}
    except OSError as error:
        raise ConfigurationError(f"HEADRACE_CHAT_PAGES: {folder} cannot be read: {error.strerror}") from error


def facts_text(page: Page, facts: Mapping[str, str]) -> str:
    """`facts` as lines, to be quoted in a prompt.

    Raises:
        BadInput: the page has no fact of that name, or one is too long.
    """
    if page.facts is not None and (unknown := sorted(facts.keys() - page.facts)):
        raise BadInput(f"page {page.name} has no {', '.join(unknown)}; it takes {', '.join(sorted(page.facts))}")
    for name, value in facts.items():
        if len(value) > LONGEST_FACT:
            raise BadInput(f"{name} of page {page.name} has {len(value):,} characters; at most {LONGEST_FACT:,}")
    return "\n".join(f"{name}: {value}" for name, value in sorted(facts.items()))
