"""Which Prefect API there is to report to, if any."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from schemas.errors import ConfigurationError, HeadraceError

STATE_FILE = "prefect-api.json"
ANSWER_SECONDS = 3.0
ASK_SECONDS = 30.0
NO_ANSWER = (OSError, HTTPException, ValueError)
"""What a server that is none, or not Prefect's, makes of a request: also a URL that is no URL, JSON that is none."""
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
        with _open(url, "GET", "health", None, ANSWER_SECONDS) as reply:
            return bool(reply.status == 200)
    except NO_ANSWER:
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


def read_block(url: str, block_type: str, name: str) -> dict[str, Any] | None:
    """What the block `name` of the type with this slug holds, secrets in plain text; None when there is none.

    Raises:
        PrefectRefused: the API at `url` does not say.
    """
    path = f"block_types/slug/{block_type}/block_documents/name/{name}?include_secrets=true"
    try:
        document = _ask(url, "GET", path)
    except PrefectRefused as error:
        if isinstance(error.__cause__, urllib.error.HTTPError) and error.__cause__.code == HTTPStatus.NOT_FOUND:
            return None
        raise
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, dict):
        raise PrefectRefused(f"{shown(url)} does not answer as Prefect's API does")
    return data


def _ask(url: str, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    try:
        with _open(url, method, path, body, ASK_SECONDS) as reply:
            answer = reply.read()
        return json.loads(answer) if answer else None
    except NO_ANSWER as error:
        reason = f"status {error.code}" if isinstance(error, urllib.error.HTTPError) else type(error).__name__
        raise PrefectRefused(f"Prefect's API at {shown(url)} did not take {method} {path} ({reason})") from error


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Who is sent elsewhere would take the credentials along."""

    def redirect_request(self, *_: object) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirects)


def _open(url: str, method: str, path: str, body: Mapping[str, Any] | None, seconds: float) -> Any:
    request = urllib.request.Request(
        f"{url.rstrip('/')}/{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json", **_credentials()},
    )
    return _opener.open(request, timeout=seconds)


def shown(url: str) -> str:
    """`url` as it may be shown: without user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def _credentials() -> dict[str, str]:
    """What a guarded API wants to see, from the variables that Prefect's own client reads."""
    if key := os.environ.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    if login := os.environ.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": f"Basic {b64encode(login.encode()).decode()}"}
    return {}


def answering_api(home: Path) -> str | None:
    """The API that `find_api` would find, or None where it answers nothing."""
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        return announced_api(home)
    return url if is_answering(url) else None


def find_api(home: Path) -> str | None:
    """The API to use: `PREFECT_API_URL` if it is set, else the one of `headrace up`, else None.

    Raises:
        ConfigurationError: `PREFECT_API_URL` is set and nothing answers there.
    """
    found = answering_api(home)
    if found is None and (url := os.environ.get("PREFECT_API_URL")):
        raise ConfigurationError(
            f"PREFECT_API_URL is {shown(url)} and no Prefect API answers there: "
            "start it, unset the variable, or use --bare"
        )
    return found
