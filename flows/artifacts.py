"""Reports as artifacts of Prefect."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from flows.running import prefect_flow_run_id

log = logging.getLogger("headrace")


async def publish_page(markdown: str, run_id: UUID | str, *key: str) -> None:
    """Inside a Prefect flow run the report `markdown` is an artifact, its versions kept under the words of `key`."""
    if prefect_flow_run_id() is None:
        return
    from prefect.artifacts import acreate_markdown_artifact

    with _said_if_lost(run_id):
        await acreate_markdown_artifact(markdown=markdown, key=_name(key), description=f"Run {run_id}")


async def publish_table(rows: list[dict[str, Any]], run_id: UUID | str, *key: str) -> None:
    """As `publish_page`, of a table; none is made of no rows."""
    if prefect_flow_run_id() is None or not rows:
        return
    from prefect.artifacts import acreate_table_artifact

    with _said_if_lost(run_id):
        await acreate_table_artifact(table=rows, key=_name(key), description=f"Run {run_id}")


async def publish_image(png: bytes, run_id: UUID | str, *key: str) -> None:
    """As `publish_page`, of an image, which the artifact holds itself."""
    if prefect_flow_run_id() is None:
        return
    from prefect.artifacts import acreate_image_artifact

    address = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    with _said_if_lost(run_id):
        await acreate_image_artifact(image_url=address, key=_name(key), description=f"Run {run_id}")


def _name(key: tuple[str, ...]) -> str:
    words = [re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-") for word in key]
    return "-".join(word for word in words if word)


@contextmanager
def _said_if_lost(run_id: UUID | str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of Prefect's client, of its HTTP or of the server: the work itself is done
        log.warning("the report of run %s is no artifact: %s", run_id, type(error).__name__)
