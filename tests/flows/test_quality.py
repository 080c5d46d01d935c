"""`headrace sweep-analysis`, `quality-trends` and `compare-models`, as people and machines meet them."""

from __future__ import annotations

import yaml
from sqlalchemy import Engine

from flows.quality_report import as_markdown
from flows.quality_trends import quality_trends
from flows.running import run_flow
from schemas.settings import Settings
from schemas.sweep_statistics import SweepAnalysis
from tests.flows.commands import PROJECT
from tests.flows.conftest import Look, Run
from tests.tasks.sweep.experiments import Planted, store_experiment


def test_an_analysis_says_in_sentences_what_is_best_and_what_cannot_be_shown(headrace: Run, database: Engine) -> None:
    store_experiment(database, Planted(failed=2, unscored=1))
    done = headrace("sweep-analysis", "planted")
    assert done.code == 0, done.err
    first, best, *_ = done.out.splitlines()
    assert first == (
        "Experiment planted (headrace-1): 87 responses of 15 combinations and 2 prompts, 2 failed, 1 without scores"
    )
    assert best.startswith("• Of 15 combinations, temperature 0.5")
    assert "• temperature matters for overall (p < 0.001): best is 0.5" in done.out
    assert "• No difference between values of top_p can be shown for overall at this n" in done.out
    assert "more responses would be needed" in done.out
    assert "All this is about these 2 prompts" in done.out
    assert "Probably the best for overall" in done.out
    assert "$0.002" in done.out
    assert "Pearson" in done.out
    assert "coherence" not in done.out


def test_what_is_concluded_is_stored_once_and_is_what_is_shown(headrace: Run, database: Engine, look: Look) -> None:
    store_experiment(database, Planted())
    shown = headrace("sweep-analysis", "planted", "--json").json
    assert (shown.pop("run_id"), shown.pop("status")) == (None, "completed")
    again = headrace("sweep-analysis", "planted", "--json").json
    stored = headrace("sweep-analysis", "planted", "--stored", "--json").json
    assert {name: again[name] for name in shown} == shown
    assert {name: stored[name] for name in shown} == shown
    rows = look("SELECT * FROM parameter_insights WHERE parameter = 'temperature' ORDER BY metric")
    assert [row["metric"] for row in rows] == ["coherence", "overall"]
    insight = SweepAnalysis.model_validate(shown).insight("temperature", "overall")
    overall = rows[1]
    assert (overall["significant"], overall["best_value"], overall["sample_size"], overall["unit"]) == (
        True, "0.5", 15, "combinations",
    )  # fmt: skip
    assert (overall["p_adjusted"], overall["sentence"]) == (insight.p_adjusted, insight.sentence)
    assert overall["recommended"] == [f"{value:g}" for value in insight.recommended if isinstance(value, float)]
    assert look("SELECT count(*) AS n FROM sweep_analyses") == [{"n": 1}]
    (sums,) = look("SELECT * FROM quality_analytics WHERE metric = 'overall'")
    (mean,) = look("SELECT avg(score) AS mean FROM quality_metrics WHERE metric = 'overall'")
    assert (sums["responses"], str(sums["day"]), sums["model"]) == (90, "2026-03-01", "house-model")
    assert abs(sums["mean"] - mean["mean"]) < 1e-12


def test_metrics_can_be_chosen_and_unknown_ones_are_refused(headrace: Run, database: Engine) -> None:
    store_experiment(database, Planted())
    chosen = headrace("sweep-analysis", "planted", "--metric", "coherence", "--json").json
    assert {found["metric"] for found in chosen["insights"]} == {"coherence"}
    told = headrace("sweep-analysis", "planted", "--metric", "coherence").out
    assert "temperature matters for coherence" in told
    assert "overall" not in told
    refused = headrace("sweep-analysis", "planted", "--metric", "wit")
    assert (refused.code, refused.reason) == (
        2, "headrace: there are no scores of wit; there are overall, coherence",
    )  # fmt: skip


def test_an_experiment_that_is_not_there_or_not_analysed(headrace: Run, database: Engine) -> None:
    assert headrace("sweep-analysis", "nothing").reason == "headrace: there is no experiment nothing"
    store_experiment(database, Planted(repeats=1))
    assert headrace("sweep-analysis", "planted", "--stored").reason == (
        "headrace: experiment planted was not analysed; `headrace sweep-analysis planted` does it"
    )
    assert "has no scores of llm-lab-1; of these it has: headrace-1" in (
        headrace("sweep-analysis", "planted", "--analysis-version", "llm-lab-1").reason
    )


def test_an_experiment_whose_calls_all_failed_says_so(headrace: Run, database: Engine, look: Look) -> None:
    store_experiment(database, Planted(temperatures=(0.1, 0.5), top_ps=(1.0,), repeats=1, failed=3, unscored=1))
    look("DELETE FROM quality_metrics")
    done = headrace("sweep-analysis", "planted")
    assert done.code == 0
    assert "There is no answer with scores to conclude anything from (3 calls failed; 1 unscored)." in done.out
    assert headrace("sweep-analysis", "planted", "--json").json["responses"] == 0


def test_an_experiment_of_the_older_laboratory_is_analysed_by_its_columns(headrace: Run, database: Engine) -> None:
    store_experiment(database, Planted(ours=False, prompts=("Why?",), version="llm-lab-2", metrics=("coherence",)))
    found = headrace("sweep-analysis", "planted", "--json").json
    assert (found["analysis_version"], found["combinations"], found["responses"]) == ("llm-lab-2", 15, 45)
    assert found["prompts"] == ["Why?"]
    (temperature,) = [each for each in found["insights"] if each["parameter"] == "temperature"]
    assert (temperature["significant"], temperature["best_value"]) == (True, 0.5)


def test_trends_rise_where_scores_do_and_models_are_compared_in_pairs(
    headrace: Run, database: Engine, look: Look
) -> None:
    for day in range(6):
        planted = Planted(
            id=f"day-{day}", models=("old", "new"), better="new", day=day, shift=0.02 * (day - 6), noise=0.01, repeats=1
        )
        store_experiment(database, planted)
    done = headrace("quality-trends", "--metric", "overall")
    assert done.code == 0, done.err
    assert "360 responses of 6 experiments" in done.out
    assert "• overall of new is rising by 2." in done.out
    assert "• new is better than old in overall by " in done.out
    found = headrace("quality-trends", "--metric", "overall", "--model", "new", "--json").json
    (trend,) = found["quality"]["trends"]
    assert (found["status"], trend["model"], trend["direction"], len(trend["points"])) == (
        "completed", "new", "rising", 6,
    )  # fmt: skip
    assert trend["interval"]["low"] < 0.02 < trend["interval"]["high"]
    assert (trend["best_day"], trend["points"][0]["responses"]) == ("2026-03-06", 30)
    later = headrace("quality-trends", "--since", "2026-03-05", "--json").json["quality"]["trends"]
    assert {each["slope_per_day"] for each in later} == {None}
    assert look("SELECT flow, status FROM runs ORDER BY id")[0] == {"flow": "quality-trends", "status": "completed"}
    refused = headrace("quality-trends", "--since", "2026-03-05", "--until", "2026-03-01")
    assert refused.reason.startswith("headrace: --since 2026-03-05 is after --until 2026-03-01")


def test_models_are_compared_on_what_both_answered(headrace: Run, database: Engine) -> None:
    store_experiment(database, Planted(models=("old", "new", "third"), better="new", noise=0.02))
    found = headrace("compare-models", "planted", "--json").json
    assert found["models"][0]["model"] == "new"
    by_pair = {(each["first"], each["second"]): each for each in found["differences"]}
    better = by_pair["new", "old"]
    assert (better["pairs"], better["unit"], better["units"], better["significant"]) == (30, "combinations", 15, True)
    assert better["interval"]["low"] < 0.1 < better["interval"]["high"]
    assert sum(each["significant"] for each in found["differences"]) == 2
    told = headrace("compare-models", "--model", "old", "--model", "third").out
    assert "No difference between" in told
    assert headrace("compare-models", "--metric", "wit").reason == (
        "headrace: there are no scores of wit to compare models by"
    )


async def test_the_page_of_the_flow_has_sentences_and_tables(settings: Settings, database: Engine) -> None:
    store_experiment(database, Planted(models=("a|b", "new"), repeats=1))
    report = await run_flow(quality_trends, {"metrics": ["overall"]}, bare=True)
    page = as_markdown(report)
    assert "- overall of new: 1 day with responses say nothing of a trend" in page
    assert "| a&#124;b |" in page
    assert "## Models by overall" in page


async def test_without_scores_there_is_nothing_to_tell(settings: Settings, headrace: Run) -> None:
    report = await run_flow(quality_trends, {}, bare=True)
    assert (report.quality.trends, report.comparison) == ((), None)
    assert "There are no scores." in as_markdown(report)


def test_nothing_to_show_is_said(headrace: Run) -> None:
    assert headrace("quality-trends").out.strip() == "There are no scores of these days, models and metrics."


def test_the_flow_is_a_deployment() -> None:
    deployed = {each["name"]: each for each in yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"]}
    assert deployed["quality-trends"]["entrypoint"] == "flows/quality_trends.py:quality_trends"
