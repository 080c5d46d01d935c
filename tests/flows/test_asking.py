"""Whoever sits at a terminal is asked; where nobody sits, nothing is done."""

from __future__ import annotations

import io

import pytest

from flows.asking import agreed
from schemas.errors import BadInput


class Terminal(io.StringIO):
    """Standard input with somebody at it."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("said", "yes"), [("y\n", True), (" YES \n", True), ("\n", False), ("n\n", False), ("", False), ("yea\n", False)]
)
def test_only_yes_is_yes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], said: str, yes: bool
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(said))
    assert agreed("Delete it?") is yes
    assert capsys.readouterr().err == "Delete it? [y/N] "


def test_where_nobody_sits_the_option_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(BadInput, match="give --yes"):
        agreed()
