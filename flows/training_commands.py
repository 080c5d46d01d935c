"""The command that writes training files: `headrace export-training`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

from cyclopts import App, Parameter

from flows.command_options import Bare, Json
from schemas.choices import ExportFormat, InsightType, Opinion

Several = Parameter(negative="")


def add_training_commands(app: App) -> None:
    """`export-training` and `check-training` are commands of `app`."""
    app.command(export_training)
    app.command(check_training)


def export_training(
    out: str,
    *,
    format: ExportFormat,
    project: str = "",
    since: datetime | None = None,
    before: datetime | None = None,
    insight_type: Annotated[list[InsightType] | None, Several] = None,
    model: Annotated[list[str] | None, Several] = None,
    model_version: Annotated[list[str] | None, Several] = None,
    opinion: Annotated[list[Opinion] | None, Several] = None,
    min_score: float | None = None,
    pairs: Annotated[list[Literal["feedback", "corrections", "scores"]] | None, Several] = None,
    margin: float = 0.1,
    max_tokens: int = 0,
    fits: str = "",
    test_share: float = 0.0,
    family_likeness: float = 0.8,
    seed: str = "",
    redact: bool = True,
    phone_region: str = "US",
    dedup: bool = True,
    near: float = 0.0,
    bare: Bare = False,
    json: Json = False,
) -> int:
    """Write answered calls and what was thought of them as training files into a new folder.

    Parameters
    ----------
    out
        Folder that is made for the files.
    format
        Of whom the files are for. A reader of sharegpt learns earlier answers of a conversation too, whatever was
        thought of them, unless it is told to learn the last turn only; the other formats tell them apart.
    project
        Only calls of this project.
    since
        Only calls made then or later; UTC where no zone is named.
    before
        Only calls made earlier.
    insight_type
        Only insights of this type; like the following, it can be given more than once.
    model
        Only calls that asked this model or were answered by it.
    model_version
        Only answers of this version, such as radar/2.
    opinion
        Only responses of which this is thought by those who rated them, or by nobody.
    min_score
        Only answers that a sweep scored at least so high, 0 to 1.
    pairs
        Where pairs of answers come from; all three when not given.
    margin
        How much higher the better of two answers must score.
    max_tokens
        Longer rows are set aside; 0 for no limit.
    fits
        Rows longer than the context of this model are set aside.
    test_share
        Share of prompt families that go to a test file, 0 to 1.
    family_likeness
        Prompts that are so much alike go to the same file; 0: only those of the same words.
    seed
        Makes another division into training and test.
    redact
        Replace e-mail addresses, phone numbers, cards and keys.
    phone_region
        Country of phone numbers that are written without theirs, as AU.
    dedup
        Leave out rows that are equal to an earlier one.
    near
        Leave out rows that are so much alike to an earlier one, such as 0.9: Jaccard similarity of runs of three words.
    """
    options: dict[str, Any] = {
        "format": format,
        "project": project,
        "since": _aware(since),
        "before": _aware(before),
        "insight_types": insight_type or [],
        "models": model or [],
        "model_versions": model_version or [],
        "opinions": opinion or [],
        "min_score": min_score,
        "margin": margin,
        "max_tokens": max_tokens,
        "fits": fits,
        "test_share": test_share,
        "family_likeness": family_likeness,
        "seed": seed,
        "redact": redact,
        "phone_region": phone_region.upper(),
        "dedup": dedup,
        "near": near,
    }
    if pairs:
        options["pairs"] = pairs
    return go_on_with_export({"out": out, "options": options}, None, bare=bare, as_json=json)


def check_training(file: Path, *, format: ExportFormat, json: Json = False) -> int:
    """Check every row of a training file, as an export is checked, and name the first that its readers would refuse.

    Parameters
    ----------
    file
        JSON Lines, or Parquet as export-training writes it; edited since or made elsewhere.
    format
        Of whom the file is for.
    """
    from flows.training_presentation import show_checked
    from tasks.training.checking import check_training_file

    return show_checked(check_training_file(file, format), as_json=json)


def _aware(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def go_on_with_export(parameters: dict[str, Any], run: UUID | None, *, bare: bool, as_json: bool) -> int:
    """The run with `parameters`, begun or gone on with, is done and shown."""
    from flows.running import run_flow
    from flows.training_export import export_training as flow
    from flows.training_presentation import show_export

    report = asyncio.run(run_flow(flow, parameters, resume=run, bare=bare))
    return show_export(report, as_json=as_json)
