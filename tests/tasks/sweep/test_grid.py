"""The grid of a sweep."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.errors import BadInput
from schemas.sweep import SweepSpec, ValueRange
from tasks.sweep.grid import Grid

OLD_REQUEST = {
    "name": "Lengths",
    "prompt": "Explain how a lock lifts a boat.",
    "model": "gpt-4o-mini",
    "parameter_ranges": {
        "temperature": {"min": 0.1, "max": 1.0, "step": 0.1},
        "top_p": {"min": 0.8, "max": 1.0, "step": 0.05},
        "max_tokens": [100, 200, 400],
    },
    "response_count": 3,
}


def spec(**ranges: Any) -> SweepSpec:
    return SweepSpec(name="s", prompts=("p",), parameter_ranges=ranges)


def test_the_old_example_is_150_combinations_and_450_calls() -> None:
    grid = Grid(SweepSpec.model_validate(OLD_REQUEST))
    assert (len(grid), grid.calls) == (150, 450)
    assert {dict(each.parameters)["temperature"] for each in grid} == {Decimal(n) / 10 for n in range(1, 11)}
    assert {dict(each.parameters)["top_p"] for each in grid} == {Decimal(n) / 100 for n in (80, 85, 90, 95, 100)}


def test_temperature_varies_slowest_and_what_stands_last_fastest() -> None:
    numbers = [tuple(value for _, value in each.parameters) for each in Grid(spec(temperature=[0, 1], top_p=[0.5, 1]))]
    assert numbers == [(0, Decimal("0.5")), (0, 1), (1, Decimal("0.5")), (1, 1)]


def test_sampling_parameters_are_those_that_were_written() -> None:
    (only,) = Grid(spec(temperature=0.7, max_tokens=50))
    parameters = only.sampling(1024)
    assert (parameters.temperature, parameters.max_tokens, parameters.top_p) == (0.7, 50, None)


@pytest.mark.parametrize(
    ("ranges", "said"),
    [
        ({"temperature": {"min": 0, "max": 1, "step": 0}}, "step is 0"),
        ({"temperature": {"min": 0, "max": 1, "step": -0.1}}, "step is -0.1"),
        ({"temperature": {"min": 1, "max": 0.5, "step": 0.1}}, "the range is empty"),
        ({"temperature": []}, "at least 1"),
        ({"top_p": [0, 1]}, "top_p: 0 leaves no word"),
        ({"temperature": [0.5, 0.50]}, "names the same thing twice"),
        ({"temperature": {"min": 0, "max": 3, "step": 1}}, "within 0 to 2"),
        ({"temperature": [float("nan")]}, "not infinity or NaN"),
        ({"temperature": True}, "valid"),
        ({"warmth": [1]}, "warmth"),
    ],
)
def test_what_cannot_be_tried_is_refused(ranges: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        spec(**ranges)


def test_a_thousand_million_combinations_are_refused_with_their_factors() -> None:
    fine = {"min": 0, "max": 1, "step": 0.001}
    with pytest.raises(BadInput, match=r"1,001 temperature × 1,000 top_p × 1,001 presence_penalty are 1,002,001,000"):
        Grid(spec(temperature=fine, top_p={**fine, "min": 0.001}, presence_penalty=fine))


@given(st.decimals(-2, 2, places=3), st.integers(1, 400), st.decimals("0.001", "0.5", places=3))
def test_a_range_holds_both_its_ends_when_steps_lead_from_one_to_the_other(
    low: Decimal, steps: int, by: Decimal
) -> None:
    values = ValueRange(min=low, max=low + steps * by, step=by)
    assert (len(values), values[0], values[len(values) - 1]) == (steps + 1, low, low + steps * by)


@given(st.data())
def test_every_combination_is_there_once_and_found_by_its_number(data: st.DataObject) -> None:
    count = st.lists(st.integers(0, 20), min_size=1, max_size=4, unique=True)
    made = SweepSpec(
        name="s",
        prompts=tuple(f"p{number}" for number in data.draw(count)),
        models=tuple(f"m{number}" for number in data.draw(count)),
        parameter_ranges={"max_tokens": [number + 1 for number in data.draw(count)]},
    )
    grid = Grid(made)
    found = {(each.prompt, each.model, each.parameters) for each in grid}
    assert len(found) == len(grid) == len(made.prompts) * len(made.models) * len(made.parameter_ranges["max_tokens"])
    assert [grid[number].number for number in range(len(grid))] == list(range(len(grid)))
