"""What a report is made of for readers: sections of sentences, tables, plots and answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True)
class Sentences:
    """A list of them, or paragraphs."""

    said: tuple[str, ...]
    kind: Literal["sentences"] = "sentences"


@dataclass(frozen=True)
class Grid:
    """A table of texts; `numeric` columns are set right."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]
    note: str = ""
    kind: Literal["grid"] = "grid"


@dataclass(frozen=True)
class Plot:
    """A plot as SVG, with what it shows in words."""

    svg: bytes
    caption: str
    wide: bool = False
    kind: Literal["plot"] = "plot"


@dataclass(frozen=True)
class Plots:
    """Plots that stand beside each other where there is room."""

    shown: tuple[Plot, ...]
    kind: Literal["plots"] = "plots"


@dataclass(frozen=True)
class Answer:
    """An answer with its score and where it comes from."""

    label: str
    about: str
    text: str


@dataclass(frozen=True)
class SideBySide:
    """The best and the worst answer to a prompt, which is empty where it is that of the pair above."""

    prompt: str
    best: Answer
    worst: Answer | None
    kind: Literal["pair"] = "pair"


Part = Sentences | Grid | Plots | SideBySide


@dataclass(frozen=True)
class Section:
    """Parts under a heading."""

    title: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class ReportDocument:
    """A report as it is read, from the top: what it is about, what it says, every number."""

    title: str
    subtitle: str
    as_of: datetime
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    appendix: tuple[Grid, ...]
    answers: tuple[Answer, ...]
    left_out: int
