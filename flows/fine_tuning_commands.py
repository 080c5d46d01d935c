"""The commands that have a model fine-tuned, and stop that."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from flows.command_options import Bare, Json
from schemas.errors import BadInput


def fine_tune(
    training_file: str,
    *,
    purpose: str,
    base: str,
    validation_file: str = "",
    suffix: str = "",
    method: Literal["supervised", "dpo"] = "supervised",
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate_multiplier: float | None = None,
    beta: float | None = None,
    seed: int | None = None,
    export: str = "",
    usd_per_million_tokens: str = "",
    poll_seconds: float = 15.0,
    project: str = "",
    bare: Bare = False,
    json: Json = False,
) -> int:
    """Have a model fine-tuned by its provider and register it; `headrace versions promote` puts it in charge.

    Parameters
    ----------
    training_file
        Folder or id of a training export, or a file as export-training writes it (openai-sft, openai-dpo).
    purpose
        What the model is for; it becomes the newest version for it.
    base
        Model at OpenAI, or at the server of OPENAI_BASE_URL, to begin with.
    validation_file
        A file of the same format that the model is measured on.
    suffix
        Becomes part of the model's name.
    method
        supervised, or dpo for pairs of answers.
    epochs
        Passes over the file; the provider chooses when not given, as with the following two.
    batch_size
        Rows at once.
    learning_rate_multiplier
        Of the provider's own rate.
    beta
        Of dpo: how close to the base model.
    seed
        Makes the job repeatable, as far as the provider can.
    export
        Kept as the model's lineage; when not given, the training export on record that wrote the file.
    usd_per_million_tokens
        Price of the training, where the provider does not say what it cost.
    poll_seconds
        Pause between two looks at the job.
    project
        Which project the run belongs to; HEADRACE_PROJECT when not given.
    """
    request = {
        "training_file": training_file,
        "purpose": purpose,
        "base_model": base,
        "validation_file": validation_file,
        "suffix": suffix,
        "method": method,
        "n_epochs": epochs,
        "batch_size": batch_size,
        "learning_rate_multiplier": learning_rate_multiplier,
        "beta": beta,
        "seed": seed,
        "export_id": export,
        "usd_per_million_tokens": _price(usd_per_million_tokens),
        "poll_seconds": poll_seconds,
    }
    return go_on_with_fine_tuning({"request": request, "project": project}, None, bare=bare, as_json=json)


def _price(said: str) -> Decimal | None:
    try:
        return Decimal(said) if said else None
    except ArithmeticError:
        raise BadInput(f"--usd-per-million-tokens {said!r} is no number") from None


def go_on_with_fine_tuning(parameters: dict[str, Any], run: UUID | None, *, bare: bool, as_json: bool) -> int:
    """The run with `parameters`, begun or gone on with, is done and shown."""
    from flows.fine_tuning import fine_tune_model
    from flows.running import run_flow
    from flows.version_presentation import show_fine_tuning

    report = asyncio.run(run_flow(fine_tune_model, parameters, resume=run, bare=bare))
    return show_fine_tuning(report, as_json=as_json)


def cancel_fine_tuning(run: UUID, *, json: Json = False) -> int:
    """Cancel the fine-tuning job of a run at its provider.

    Parameters
    ----------
    run
        The run that created it.
    """
    from flows.version_presentation import show_cancelled
    from tasks.versions.fine_tuning import cancel_fine_tuning

    return show_cancelled(asyncio.run(cancel_fine_tuning(run)), run, as_json=json)
