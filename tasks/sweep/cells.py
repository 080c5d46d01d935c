"""Cells of a sweep: one answer each, known by what is asked and for the how manieth time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

from schemas.calls import ChatParameters, Message
from schemas.canonical import content_key
from tasks.sweep.grid import Combination

PURPOSE = "sweep"
"""Of the calls in the ledger."""


@dataclass(frozen=True)
class Cell:
    """One answer to be had.

    Attributes:
        repetition: from 0; repeats of a combination are calls of their own.
    """

    combination: Combination
    repetition: int

    @cached_property
    def combination_key(self) -> str:
        """SHA-256 of what is asked: the same in every sweep that asks it, wherever it stands in the grid."""
        asked = self.combination
        parameters = {name: f"{value.normalize():f}" for name, value in asked.parameters}
        return content_key([asked.prompt, asked.system_prompt, asked.model, parameters])

    def response_id(self, experiment_id: str) -> str:
        """Id of the row in `responses`: a cell has one, however often it is asked."""
        return sha256(f"{experiment_id}/{self.combination_key}/{self.repetition}".encode()).hexdigest()[:32]

    @property
    def messages(self) -> tuple[Message, ...]:
        """As the gateway takes them."""
        asked = Message(role="user", content=self.combination.prompt)
        if self.combination.system_prompt is None:
            return (asked,)
        return (Message(role="system", content=self.combination.system_prompt), asked)

    @property
    def parameters(self) -> ChatParameters:
        """Those that the sweep sets; the provider's own for the others."""
        return self.combination.sampling(ChatParameters().max_tokens)


def repeats(combination: Combination, count: int) -> Iterator[Cell]:
    """`count` cells that ask `combination`."""
    return (Cell(combination, repetition) for repetition in range(count))
