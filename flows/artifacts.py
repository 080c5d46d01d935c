"""Reports as artifacts of Prefect."""

from __future__ import annotations

import logging
import re
from uuid import UUID

from flows.running import prefect_flow_run_id

log = logging.getLogger("headrace")


async def publish_page(markdown: str, run_id: UUID | str, *key: str) -> None:
    """Inside a Prefect flow run the report `markdown` is an artifact, its versions kept under the words of `key`."""
    if prefect_flow_run_id() is None:
        return
    from prefect.artifacts import acreate_markdown_artifact

    words = [re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-") for word in key]
    name = "-".join(word for word in words if word)
    try:
        await acreate_markdown_artifact(markdown=markdown, key=name, description=f"Run {run_id}")
    except Exception as error:  # of Prefect's client, of its HTTP or of the server: the work itself is done
        log.warning("the report of run %s is no artifact: %s", run_id, type(error).__name__)
