"""Versions of the model for a purpose, and calls that name the purpose."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import BaseModel

from schemas.calls import ChatParameters
from schemas.errors import BadInput, ConfigurationError, NotFound
from schemas.versions import Lineage, Variant
from tasks.ledger import complete, complete_structured, estimate_cost, get_request
from tasks.ledger.runs import RunRequest, open_run
from tasks.ledger.session import Ledger
from tasks.versions import (
    create_test,
    list_versions,
    promote_version,
    register_version,
    roll_back_version,
    stop_test,
    variant_for,
)
from tests.scripted_provider import ScriptedProvider
from tests.tasks.versions.conftest import Look

SMALL, LARGE, TUNED = "gpt-4o-mini", "gpt-4o", "ft:gpt-4o-mini-2024-07-18:acme::abc"


async def standing(purpose: str) -> list[int]:
    return [version.number for version in await list_versions(purpose) if version.in_charge]


async def test_a_purpose_is_answered_by_the_version_in_charge_and_by_the_one_before_after_a_rollback(
    ledger: Ledger, provider: ScriptedProvider
) -> None:
    for model in (SMALL, TUNED, LARGE):
        await register_version("radar", model)
    asked = []
    for number in (1, 2, 3):
        assert (await promote_version("radar", number)).in_charge
        asked.append(await complete("Why?", model="version:radar"))
    assert [answer.model for answer in asked] == [SMALL, TUNED, LARGE]
    assert [(await get_request(answer.request_id)).model for answer in asked] == [SMALL, TUNED, LARGE]
    assert (await roll_back_version("radar")).number == 2
    assert (await roll_back_version("radar")).number == 1
    with pytest.raises(BadInput, match="radar cannot be rolled back: no version was in charge before"):
        await roll_back_version("radar")
    again = await complete("Why?", model="version:radar")
    assert (again.model, again.replayed) == (SMALL, True), "answers are the model's, whatever it is called by"
    assert await standing("radar") == [1]


async def test_the_row_says_which_version_answered(ledger: Ledger, look: Look) -> None:
    await register_version("radar", SMALL)
    await promote_version("radar", 1)
    await complete("Why?", model="version:radar", context={"market": "US"})
    await complete("Who?", model=SMALL)
    assert look("SELECT model, model_version, context FROM llm_requests ORDER BY id") == [
        (SMALL, "radar/1", {"market": "US"}), (SMALL, None, None),
    ]  # fmt: skip


async def test_a_version_rolled_back_can_be_promoted_again_but_not_one_in_charge(ledger: Ledger) -> None:
    for model in (SMALL, LARGE):
        await register_version("radar", model)
    await promote_version("radar", 1)
    await promote_version("radar", 2)
    with pytest.raises(BadInput, match="version 2 of radar is in charge already"):
        await promote_version("radar", 2)
    await roll_back_version("radar")
    await promote_version("radar", 2)
    assert await standing("radar") == [2]


async def test_versions_are_numbered_within_their_purpose_also_when_registered_at_once(ledger: Ledger) -> None:
    made = await asyncio.gather(*(register_version("radar", SMALL) for _ in range(8)), register_version("risk", LARGE))
    assert sorted(version.number for version in made[:8]) == list(range(1, 9))
    assert made[8].number == 1
    assert len(await list_versions()) == 9


async def test_the_lineage_is_kept_and_a_run_registers_its_model_once(ledger: Ledger) -> None:
    request = RunRequest(flow="fine-tune", subject="s", project="default", parameters={})
    async with open_run(request) as run:
        lineage = Lineage(
            base_model=SMALL, run_id=run.id, job_id="ftjob-1", training_path="/data/train.jsonl",
            training_sha256="ab" * 32, training_rows=120, export_id="export-7", trained_tokens=9000,
        )  # fmt: skip
        first = await register_version("radar", TUNED, lineage=lineage, notes="half\nsaid")
        assert await register_version("radar", TUNED, lineage=lineage) == first
    assert Lineage(**first.model_dump(include=set(Lineage.model_fields))) == lineage
    assert (first.number, first.notes, first.in_charge) == (1, "half\nsaid", False)


@pytest.mark.parametrize(
    ("purpose", "model", "why"),
    [("a b", SMALL, "cannot be the name of a purpose"), ("", SMALL, "cannot be"), ("radar", "version:risk", "cannot"),
     ("radar", " ", "cannot be a version")],
)  # fmt: skip
async def test_what_cannot_be_a_version_is_refused(ledger: Ledger, purpose: str, model: str, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        await register_version(purpose, model)


async def test_a_purpose_without_a_version_in_charge_is_an_error_that_names_the_command(ledger: Ledger) -> None:
    await register_version("radar", SMALL)
    with pytest.raises(ConfigurationError, match="`headrace versions promote radar NUMBER`"):
        await complete("Why?", model="version:radar")
    with pytest.raises(NotFound, match="there is no version 7 of radar"):
        await promote_version("radar", 7)
    with pytest.raises(BadInput, match="none is, nor was one in charge before"):
        await roll_back_version("radar")


async def test_an_estimate_is_of_the_version_in_charge(ledger: Ledger) -> None:
    await register_version("radar", SMALL)
    await promote_version("radar", 1)
    named = await estimate_cost("Why?", model="version:radar")
    assert named.usd == (await estimate_cost("Why?", model=SMALL)).usd
    assert named.model == SMALL


async def test_a_version_that_thinks_is_sent_no_sampling(ledger: Ledger, provider: ScriptedProvider) -> None:
    await register_version("radar", "o4-mini")
    await promote_version("radar", 1)
    await complete("Why?", model="version:radar", parameters=ChatParameters(temperature=0.1, top_p=0.5))
    (sent,) = [served.body for served in provider.log if served.status == 200]
    assert sent["model"] == "o4-mini"
    assert not {"temperature", "top_p"} & set(sent)


class Word(BaseModel):
    word: str


@pytest.mark.scripted(replies=["no", '{"word": "yes"}'])
async def test_every_round_of_a_repair_belongs_to_the_variant(ledger: Ledger, look: Look) -> None:
    variants = [Variant(name="old", model=SMALL), Variant(name="new", model=LARGE)]
    await create_test("newer", variants, purpose="radar")
    given = await complete_structured("Say yes.", Word, model="version:radar", user="ada")
    assert (given.value.word, len(given.rounds)) == ("yes", 2)
    chosen = await variant_for("ada", "newer")
    assert (
        look("SELECT model, context FROM llm_requests") == [(chosen.model, {"ab_tests": {"newer": chosen.variant}})] * 2
    )
    await stop_test("newer")
