"""`headrace experiments compare`: two experiments, or two responses, metric by metric."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from tests.flows.conftest import Look, Run
from tests.tasks.sweep.experiments import Planted, store_experiment


def test_cells_asked_alike_are_paired(headrace: Run, database: Engine) -> None:
    store_experiment(database, Planted(id="before", noise=0.02))
    store_experiment(database, Planted(id="after", noise=0.02, shift=0.1, temperatures=(0.3, 0.5, 0.7, 2.0)))
    done = headrace("experiments", "compare", "before", "after", "--json")
    assert done.code == 0, done.err
    found = done.json
    assert (found["run_id"], found["status"], found["differs"]) == (None, "completed", {})
    # Three temperatures, three values of top_p and two prompts are in both.
    assert (found["common_cells"], found["first"]["cells"], found["second"]["cells"]) == (18, 30, 24)
    overall, coherence = found["metrics"]
    assert (overall["metric"], coherence["metric"]) == ("overall", "coherence")
    assert (overall["paired"], overall["cells"], overall["better"], overall["worse"]) == (True, 18, 18, 0)
    assert (overall["unit"], overall["units"], overall["significant"]) == ("combinations", 9, True)
    assert overall["interval"]["low"] < 0.1 < overall["interval"]["high"]
    assert overall["difference"] == pytest.approx(overall["second"] - overall["first"])
    assert overall["p_adjusted"] >= overall["p_value"]
    back = headrace("experiments", "compare", "after", "before", "--json").json["metrics"][0]
    assert back["difference"] == pytest.approx(-overall["difference"])
    assert (back["better"], back["worse"], back["significant"]) == (0, 18, True)
    told_of_both = {each["sentence"].split(" (")[0] for each in (overall, back)}
    assert len(told_of_both) == 1, "whichever is named first, it is the same that is better"
    assert "18 pairs, 18 better, 0 worse" in back["sentence"]
    told = headrace("experiments", "compare", "Experiment before", "Experiment after").out
    assert told.startswith("Experiment before and Experiment after: 18 cells asked alike\n")
    assert "• overall: Experiment after is better by " in told
    assert "18 pairs, 18 better, 0 worse" in told


def test_what_each_has_only_one_of_may_differ(headrace: Run, database: Engine) -> None:
    store_experiment(database, Planted(id="old", models=("old-model",), prompts=("Why?",), noise=0.02))
    store_experiment(database, Planted(id="new", models=("new-model",), prompts=("How?",), noise=0.02))
    found = headrace("experiments", "compare", "old", "new", "--json").json
    assert found["differs"] == {"model": ["old-model", "new-model"], "prompt": ["Why?", "How?"]}
    assert (found["common_cells"], found["metrics"][0]["units"]) == (15, 15)
    told = headrace("experiments", "compare", "old", "new").out
    assert "15 cells asked alike but for model (old-model and new-model), prompt (Why? and How?)" in told
    assert "no difference can be shown" in told


def test_experiments_that_share_nothing_are_compared_as_they_are(headrace: Run, database: Engine) -> None:
    store_experiment(database, Planted(id="low", temperatures=(0.1, 0.2), noise=0.02))
    store_experiment(database, Planted(id="middle", temperatures=(0.45, 0.55), noise=0.02))
    found = headrace("experiments", "compare", "low", "middle", "--json").json
    overall = found["metrics"][0]
    assert (found["common_cells"], overall["paired"], overall["better"]) == (0, False, None)
    # Means of 0.8 - 0.16, 0.8 - 0.09 and twice 0.8 - 0.0025.
    assert overall["interval"]["low"] < 0.1225 < overall["interval"]["high"]
    assert (overall["unit"], overall["units"], overall["significant"]) == ("combinations", 6, True)
    assert "nothing to pair" in overall["sentence"]


def test_cost_and_latency_stand_beside(headrace: Run, database: Engine, look: Look) -> None:
    for name in ("one", "other"):
        store_experiment(database, Planted(id=name, temperatures=(0.1, 0.5), repeats=1, failed=int(name == "other")))
    look("UPDATE responses SET cost_usd = 0.01, latency_ms = 500 WHERE experiment_id = 'other'")
    found = headrace("experiments", "compare", "one", "other", "--json").json
    assert (found["first"]["total_cost_usd"], found["second"]["total_cost_usd"]) == ("0.024", "0.12")
    assert (found["first"]["cost_usd"], found["second"]["cost_usd"]) == (0.002, 0.01)
    assert (found["second"]["latency_ms"], found["second"]["failed"], found["second"]["cells"]) == (500, 1, 11)


def test_experiments_of_one_name_are_told_apart_by_their_place(headrace: Run, database: Engine) -> None:
    for name, shift in (("one-of-two", 0.0), ("two-of-two", 0.1)):
        store_experiment(database, Planted(id=name, noise=0.01, shift=shift))
        headrace("experiments", "rename", name, "twins")
    told = headrace("experiments", "compare", "one-of-two", "two-of-two").out
    assert "• overall: the second is better by" in told


def test_what_cannot_be_compared_is_refused(headrace: Run, database: Engine) -> None:
    store_experiment(database, Planted(id="today"))
    store_experiment(database, Planted(id="older", version="llm-lab-2", ours=False, prompts=("Why?",)))
    for arguments, reason in {
        ("today", "today"): "today and today are one experiment: there is nothing to compare",
        ("today", "older"): "the experiments have no scores in common",
        ("today", "older", "--analysis-version", "llm-lab-2"): (
            "the experiments have no scores in common of llm-lab-2; of these both have: none"
        ),
        ("today", "nothing"): "there is no experiment nothing",
        ("today/00000", "today/00000", "--responses"): "today/00000 and today/00000 are one response: "
        "there is nothing to compare",
        ("today/00000", "today/0000", "--responses"): "several responses begin with today/0000: ",
        ("today/00000", "today/x", "--responses"): "there is no response today/x",
        ("today/00000", "today/00001", "--responses", "--analysis-version", "v9"): (
            "the responses have no scores of v9; of these they have: headrace-1"
        ),
    }.items():
        refused = headrace("experiments", "compare", *arguments)
        assert (refused.code, reason in refused.reason) == (2, True), refused.err


def test_two_responses_are_compared_metric_by_metric(headrace: Run, database: Engine, look: Look) -> None:
    store_experiment(database, Planted(failed=1))
    look("UPDATE quality_metrics SET score = 0.5 WHERE response_id = 'planted/00001'")
    look("UPDATE quality_metrics SET score = 0.75 WHERE response_id = 'planted/00044'")
    look("DELETE FROM quality_metrics WHERE response_id = 'planted/00044' AND metric = 'coherence'")
    look("UPDATE responses SET content = repeat('Because. ', 100), input_tokens = 7 WHERE id = 'planted/00044'")
    found = headrace("experiments", "compare", "planted/00001", "planted/00044", "--responses", "--json").json
    assert found["metrics"] == [
        {"metric": "overall", "first": 0.5, "second": 0.75, "difference": 0.25},
        {"metric": "coherence", "first": 0.5, "second": None, "difference": None},
    ]
    assert found["first"]["parameters"] == {"temperature": 0.1, "top_p": 0.8}
    assert (found["second"]["cost_usd"], found["second"]["input_tokens"]) == ("0.002", 7)
    told = headrace("experiments", "compare", "planted/00001", "planted/00044", "--responses").out
    assert "+25.0" in told
    assert "first: Because." in told
    assert "… (900 characters)" in told
    assert "They were asked with different prompts." not in told
    other = headrace("experiments", "compare", "planted/00000", "planted/00089", "--responses").out
    assert "first: no answer: unknown" in other
    assert "They were asked with different prompts." in other
