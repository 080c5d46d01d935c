"""Which Prefect API there is to report to, if any."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from pathlib import Path

from schemas.errors import ConfigurationError

STATE_FILE = "prefect-api.json"
ANSWER_SECONDS = 3.0


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
