"""Which Prefect API there is to report to, if any."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schemas.errors import ConfigurationError, HeadraceError

STATE_FILE = "prefect-api.json"
ANSWER_SECONDS = 3.0
ASK_SECONDS = 30.0
HEARTBEAT_SECONDS = 30
"""How often a flow run tells its server that it lives."""


class PrefectRefused(HeadraceError):
    """Prefect's server would not do what it was asked; its log says why."""

    code = "prefect_failed"


def announced_api(home: Path) -> str | None:
    """Address of the server that `headrace up` keeps running in `home`; None when it runs none."""
    path = home / "run" / STATE_FILE
    try:
        url: str = json.loads(path.read_text())["url"]
    except (FileNotFoundError, ValueError, KeyError):
        return None
    return url if is_answering(url) else None


def announce_api(home: Path, url: str | None) -> None:
    """Other commands of `home` find the server at `url`; None takes the announcement back."""
    path = home / "run" / STATE_FILE
    if url is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_suffix(".new")
    written.write_text(json.dumps({"url": url}))
    written.replace(path)


def is_answering(url: str) -> bool:
    """True when a Prefect API answers at `url`."""
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=ANSWER_SECONDS) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def ensure_work_pool(url: str, name: str) -> None:
    """There is a work pool `name` for processes; its worker fills in how they are started.

    Raises:
        PrefectRefused: the API at `url` does not take it.
    """
    pools = _ask(url, "POST", "work_pools/filter", {"work_pools": {"name": {"any_": [name]}}})
    if not pools:
        _ask(url, "POST", "work_pools/", {"name": name, "type": "process"})


def ensure_automation(url: str, automation: Mapping[str, Any]) -> None:
    """The server has `automation`, once and as it is given, known by its name.

    Raises:
        PrefectRefused: the API at `url` does not take it.
    """
    name = automation["name"]
    found = _ask(url, "POST", "automations/filter", {"automations": {"name": {"any_": [name]}}})
    if found:
        _ask(url, "PUT", f"automations/{found[0]['id']}", automation)
    else:
        _ask(url, "POST", "automations/", automation)


def _ask(url: str, method: str, path: str, body: Mapping[str, Any]) -> Any:
    request = urllib.request.Request(
        f"{url.rstrip('/')}/{path}",
        method=method,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=ASK_SECONDS) as reply:
            answer = reply.read()
    except urllib.error.URLError as error:
        raise PrefectRefused(f"Prefect's API at {url} did not take {method} {path}: {error}") from error
    return json.loads(answer) if answer else None


def find_api(home: Path) -> str | None:
    """The API to use: `PREFECT_API_URL` if it is set, else the one of `headrace up`, else None.

    Raises:
        ConfigurationError: `PREFECT_API_URL` is set and nothing answers there.
    """
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        return announced_api(home)
    if not is_answering(url):
        raise ConfigurationError(
            f"PREFECT_API_URL is {url} and no Prefect API answers there: start it, unset the variable, or use --bare"
        )
    return url
