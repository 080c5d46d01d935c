"""Steps: plain functions, recorded within a run and replayed when it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from schemas.errors import BadInput
from tasks.ledger.calls import complete
from tasks.ledger.prompts import Prompt
from tasks.ledger.runs import Run, RunRequest, open_run, resuming
from tasks.ledger.scope import current_scope
from tasks.ledger.session import Ledger
from tasks.ledger.steps import step
from tests.tasks.ledger.conftest import Look

MODEL = "gpt-4o-mini"
REQUEST = RunRequest(flow="f", subject="s", project="default", parameters={})
STEPS = "SELECT name, version, status, attempts, model, error FROM steps ORDER BY ordinal"


class Sum(BaseModel):
    """A number and where it is from."""

    total: Decimal
    parts: tuple[int, ...] = ()


class Text(BaseModel):
    """A result that JSON does not hold as it is."""

    text: str
    tags: set[str] = set()


class Point(BaseModel):
    """An argument that is a model."""

    x: int


ran: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    """No step has run yet."""
    ran.clear()


@step("add", version="3")
async def add(point: Point, *numbers: int, model: str = MODEL) -> Sum:
    """Adds."""
    ran.append(numbers)
    return Sum(total=Decimal(point.x + sum(numbers)), parts=numbers)


@step("fail", version="1")
async def fail(error: str) -> Sum:
    """Fails."""
    ran.append(error)
    if error == "input":
        raise BadInput("there is nothing \x00 to add")
    raise ZeroDivisionError("a private prompt")


async def test_outside_of_a_run_a_step_is_just_its_function(look: Look) -> None:
    assert await add(Point(x=1), 2, 3) == Sum(total=Decimal(6), parts=(2, 3))
    assert await add(Point(x=1), 2, 3) == Sum(total=Decimal(6), parts=(2, 3))
    assert ran == [(2, 3), (2, 3)]
    assert add.__name__ == "add"
    assert add.__doc__ == "Adds."
    assert look("SELECT FROM steps") == []


async def test_a_step_is_recorded_with_its_output(ledger: Ledger, look: Look) -> None:
    async with open_run(REQUEST):
        assert await add(Point(x=1), 2) == Sum(total=Decimal(3), parts=(2,))
    assert look(STEPS) == [("add", "3", "completed", 1, MODEL, None)]
    (row,) = look("SELECT output, prompt_hash, completed_at >= started_at AS timed, length(key) AS key FROM steps")
    assert (row.output, row.prompt_hash, row.timed, row.key) == ({"total": "3", "parts": [2]}, None, True, 64)


async def test_a_step_called_again_with_equal_arguments_runs_once(ledger: Ledger, look: Look) -> None:
    async with open_run(REQUEST):
        first = await add(Point(x=1), 2)
        again = await add(Point(x=1), 2, model=MODEL)  # what is given is the default
        other = await add(Point(x=1), 3)
    assert first == again != other
    assert ran == [(2,), (3,)]


async def test_equal_steps_at_once_run_once(ledger: Ledger, look: Look) -> None:
    async with open_run(REQUEST):
        sums = await asyncio.gather(*(add(Point(x=n % 2), 1) for n in range(20)))
    assert [item.total for item in sums] == [Decimal(1), Decimal(2)] * 10
    assert len(ran) == 2
    assert look("SELECT count(*) FROM steps") == [(2,)]


async def test_the_runs_of_one_subject_do_not_share_steps(ledger: Ledger) -> None:
    for _ in range(2):
        async with open_run(REQUEST):
            await add(Point(x=1), 2)
    assert len(ran) == 2


@pytest.mark.parametrize(
    ("kind", "error", "said"),
    [
        ("input", BadInput, {"code": "bad_input", "message": "there is nothing \ufffd to add"}),
        ("defect", ZeroDivisionError, {"code": "internal", "message": "ZeroDivisionError"}),
    ],
)
async def test_a_step_that_fails_is_recorded_and_runs_again_when_it_is_called_again(
    ledger: Ledger, look: Look, kind: str, error: type[Exception], said: dict[str, str]
) -> None:
    async with open_run(REQUEST):
        for _ in range(2):
            with pytest.raises(error):
                await fail(kind)
    assert look(STEPS) == [("fail", "1", "failed", 2, None, said)]
    assert ran == [kind, kind]


async def test_a_step_that_is_interrupted_is_recorded_as_failed(ledger: Ledger, look: Look) -> None:
    began = asyncio.Event()

    @step("wait", version="1")
    async def wait() -> Sum:
        began.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def work() -> None:
        async with open_run(REQUEST):
            await wait()

    working = asyncio.create_task(work())
    await began.wait()
    working.cancel()
    await asyncio.wait([working])
    assert look(STEPS) == [("wait", "1", "failed", 1, None, {"code": "cancelled", "message": "interrupted"})]


async def test_calls_of_a_step_name_it_and_its_purpose(ledger: Ledger, look: Look) -> None:
    @step("outer", version="1")
    async def outer() -> Sum:
        await complete("Outer?", model=MODEL)
        await inner()
        await complete("Outer again?", model=MODEL, purpose="afterthought")
        return Sum(total=Decimal(0))

    @step("inner", version="1")
    async def inner() -> Sum:
        await complete("Inner?", model=MODEL)
        return Sum(total=Decimal(0))

    async with open_run(REQUEST):
        await outer()
        scope = current_scope.get()
        assert scope is not None
        assert scope.step_id is None
    rows = look(
        "SELECT steps.name, purpose FROM llm_requests JOIN steps ON steps.id = step_id ORDER BY llm_requests.id"
    )
    assert rows == [("outer", "outer"), ("inner", "inner"), ("outer", "afterthought")]


async def test_the_result_is_the_same_now_as_when_it_is_replayed(ledger: Ledger) -> None:
    @step("say", version="1")
    async def say() -> Text:
        return Text(text="a\x00b", tags={"x"})

    async with open_run(REQUEST) as run:
        first = await say()
    resuming.set(run.id)
    async with open_run(REQUEST):
        assert await say() == first
    assert first == Text(text="a\ufffdb", tags={"x"})


def versioned(version: str) -> Callable[[], Any]:
    """A step of this version."""

    @step("versioned", version=version)
    async def work() -> Sum:
        ran.append(version)
        return Sum(total=Decimal(0))

    return work


async def test_another_version_of_a_step_is_another_step(ledger: Ledger) -> None:
    async with open_run(REQUEST):
        await versioned("1")()
        await versioned("2")()
        await versioned("1")()
    assert ran == ["1", "2"]


async def test_a_changed_prompt_file_is_another_step(ledger: Ledger, look: Look, tmp_path: Path) -> None:
    async def ask(text: str) -> None:
        (tmp_path / "ask.md").write_text(text)
        prompt = Prompt(tmp_path / "ask.md")

        @step("ask", version="1", prompt=prompt)
        async def work() -> Sum:
            ran.append(prompt.render(name="Ada"))
            return Sum(total=Decimal(0))

        await work()

    async with open_run(REQUEST):
        for text in ("Hello {{ name }}.\n", "Hello {{ name }}.\n", "Dear {{ name }}.\n"):
            await ask(text)
    assert ran == ["Hello Ada.", "Dear Ada."]
    assert len({row.prompt_hash for row in look("SELECT prompt_hash FROM steps")}) == 2


def test_a_prompt_with_a_variable_that_is_not_given_is_an_error(tmp_path: Path) -> None:
    from jinja2 import UndefinedError

    (tmp_path / "ask.md").write_text("Hello {{ name }}, {{ place }}.")
    with pytest.raises(UndefinedError, match="place"):
        Prompt(tmp_path / "ask.md").render(name="Ada")


async def test_arguments_without_a_stable_form_are_refused_by_name(ledger: Ledger, look: Look) -> None:
    @step("odd", version="1")
    async def odd(session: object) -> Sum:
        raise AssertionError("it ran")

    async with open_run(REQUEST):
        with pytest.raises(TypeError, match="object cannot be part of a content key: make it a Pydantic model"):
            await odd(object())
    assert look("SELECT FROM steps") == []


async def test_a_step_without_a_model_to_return_is_refused_before_it_runs(ledger: Ledger) -> None:
    @step("odd", version="1")
    async def odd() -> int:  # type: ignore[type-var]
        raise AssertionError("it ran")

    async with open_run(REQUEST):
        with pytest.raises(TypeError, match="the step odd must say which Pydantic model it returns"):
            await odd()


async def test_wrong_arguments_are_refused_as_the_function_would(ledger: Ledger) -> None:
    async with open_run(REQUEST):
        with pytest.raises(TypeError, match="missing a required argument: 'point'"):
            await add()  # type: ignore[call-arg]


async def test_a_model_that_is_no_name_is_left_out_of_the_record(ledger: Ledger, look: Look) -> None:
    @step("pick", version="1")
    async def pick(model: Point) -> Sum:
        return Sum(total=Decimal(model.x))

    async with open_run(REQUEST):
        await pick(Point(x=1))
    assert look(STEPS) == [("pick", "1", "completed", 1, None, None)]


async def test_steps_share_their_durable_writes_with_their_calls(ledger: Ledger) -> None:
    @step("ask", version="1")
    async def ask() -> Sum:
        await complete("Why?", model=MODEL)
        return Sum(total=Decimal(0))

    @step("ask-again", version="1")
    async def ask_again() -> Sum:
        await complete("Why not?", model=MODEL)
        return Sum(total=Decimal(0))

    async with open_run(REQUEST):
        before = ledger.recorder.transactions
        await ask()
        await ask_again()
        assert ledger.recorder.transactions - before == 4, "begin and reserve; settle; end, begin and reserve; settle"


async def test_a_run_knows_the_steps_of_earlier_attempts(ledger: Ledger) -> None:
    async def work() -> Run:
        async with open_run(REQUEST) as run:
            await add(Point(x=1), 2)
            return run

    first = await work()
    resuming.set(UUID(str(first.id)))
    second = await work()
    assert {key: known.id for key, known in second.steps.items()} == {
        key: known.id for key, known in first.steps.items()
    }
    assert len(ran) == 1
