"""`headrace doctor`: what works here, what does not, and the command that mends it."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine, text

from blocks.database import create_database, database_errors, normal_url, schema_revision
from blocks.prefect_api import PrefectRefused, announced_api, is_answering, shown
from blocks.providers.registry import Providers
from blocks.search.engines import model_of
from blocks.settings import environment_settings, get_settings, set_variables
from flows.maintenance import embedded_stack
from flows.presentation import Finding, money
from schemas.errors import HeadraceError
from schemas.former_variables import FORMER_VARIABLES
from schemas.settings import ModelRole, Settings
from schemas.tables.base import SCHEMA_REVISION
from schemas.versions import purpose_of
from tasks.ledger.daily_limit import read_daily_limit
from tasks.ledger.isolation import missing_of_roles

ROLES: tuple[ModelRole, ...] = ("research", "generate", "review", "judge", "embedding")
KEYS = (
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "OPENROUTER_API_KEY",
    "GEMINI_API_KEY",
    "AZURE_API_KEY",
    "AWS_ACCESS_KEY_ID",
    "ZAI_API_KEY",
    "TAVILY_API_KEY",
    "RUNPOD_API_KEY",
)
NEEDED_GIB = 3.0


async def examine() -> list[Finding]:
    """Every check, in the order a newcomer meets them; starts the embedded parts it looks at."""
    settings, block = _settings()
    with embedded_stack(settings) as stack:
        findings = await asyncio.to_thread(_database, settings, lambda: stack.database_url("headrace"))
        async with Providers(settings, stack) as providers:
            findings += [await _model(providers, name, roles) for name, roles in _models(settings).items()]
            findings += _web_search(providers, settings)
    findings += [_keys(), *_former_variables(), _prefect(settings), *block]
    return [*findings, _disk("HEADRACE_HOME", settings.home), *_cache(settings)]


def _settings() -> tuple[Settings, list[Finding]]:
    """The settings, and what keeps the Prefect block out of them."""
    try:
        return get_settings(), []
    except PrefectRefused as error:
        mend = "set PREFECT_API_KEY or PREFECT_API_AUTH_STRING, or mend PREFECT_API_URL"
        return environment_settings(), [Finding(subject="settings block", ok=False, says=str(error), mend=mend)]


def _database(settings: Settings, embedded_url: Callable[[], str]) -> list[Finding]:
    kind = "embedded Postgres" if settings.database_url is None else "DATABASE_URL"
    try:
        address = settings.database_url.get_secret_value() if settings.database_url else embedded_url()
        engine = create_database(normal_url(address))
        try:
            return _look_into(engine, kind, settings)
        finally:
            engine.dispose()
    except HeadraceError as error:
        mend = (
            "start that server, or `unset DATABASE_URL` for the embedded one"
            if settings.database_url
            else "headrace down --force"
        )
        return [Finding(subject="database", ok=False, says=f"{kind}: {error}", mend=mend)]


def _look_into(engine: Engine, kind: str, settings: Settings) -> list[Finding]:
    with database_errors(), engine.connect() as connection:
        version = int(connection.execute(text("SHOW server_version_num")).scalar_one())
        vector = connection.execute(text("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'")).scalar()
    found = schema_revision(engine)
    of_schema = [_roles(engine), _daily_limit(engine, settings)] if found == SCHEMA_REVISION else []
    current = found == SCHEMA_REVISION or (found is None and settings.uses_embedded_database)
    return [
        Finding(
            subject="database",
            ok=version >= 150000,
            says=f"{kind} is Postgres {version // 10000}.{version % 10000}",
            mend=None if version >= 150000 else "use a server of version 15 or newer",
        ),
        Finding(
            subject="extensions",
            ok=vector is not None,
            says="pgvector is there" if vector else "pgvector is missing",
            mend=None if vector else "install the `vector` extension on the server",
        ),
        Finding(
            subject="schema",
            ok=current,
            says=f"at {found or 'nothing yet'}, {SCHEMA_REVISION} is needed"
            if found != SCHEMA_REVISION
            else f"at {found}",
            mend=None if current else "headrace db upgrade",
        ),
        *of_schema,
    ]


def _roles(engine: Engine) -> Finding:
    """Whether the roles that keep users apart are there and may do what they are for."""
    with database_errors(), engine.connect() as connection:
        missing = missing_of_roles(connection)
    says = "; ".join(missing) or "headrace_worker, headrace_app and headrace_read may do what they are for"
    return Finding(subject="roles", ok=not missing, says=says, mend="headrace db roles" if missing else None)


def _daily_limit(engine: Engine, settings: Settings) -> Finding:
    """What the project may spend a day, and who says so; that nothing limits it is said, and is nobody's mistake."""
    with database_errors(), engine.connect() as connection:
        limit = read_daily_limit(connection, settings)
    said = settings.max_daily_llm_cost
    if limit is None:
        says = "none is set, so nothing limits a day (MAX_DAILY_LLM_COST, or `headrace budget set --day USD`)"
    elif limit.by_variable:
        says = f"{money(limit.limit_usd)}, by MAX_DAILY_LLM_COST"
    else:
        says = f"{money(limit.limit_usd)}, by `headrace budget set`"
        if said is not None:
            says += f", which comes before the {money(said)} of MAX_DAILY_LLM_COST"
    return Finding(subject=f"daily budget of project {settings.project}", ok=True, says=says)


def _models(settings: Settings) -> dict[str, list[str]]:
    """The models in use with the roles they play."""
    models: dict[str, list[str]] = {}
    for role in ROLES:
        models.setdefault(settings.model_for(role), []).append(role)
    for use, name in (("image", settings.image_model), ("rerank", settings.rerank_model)):
        if name:
            models.setdefault(name, []).append(use)
    return models


async def _model(providers: Providers, name: str, roles: list[str]) -> Finding:
    if purpose := purpose_of(name):
        return Finding(subject=f"model {name}", ok=True, says=f"whichever `headrace versions list {purpose}` shows")
    trouble = await providers.reachable(name)
    variables = ", ".join(f"HEADRACE_{role.upper()}_MODEL" for role in roles)
    return Finding(
        subject=f"model {name}",
        ok=trouble is None,
        says=trouble or f"reachable, for {', '.join(roles)}",
        mend=_mend_model(providers, name, variables) if trouble else None,
    )


def _mend_model(providers: Providers, name: str, variables: str) -> str:
    """What puts a model right that cannot be called."""
    try:
        if name in providers.named_models():
            return f"mend [models.{name}] in the file of named models, or set {variables}; `headrace models` shows all"
    except HeadraceError:
        return "mend the file of named models"
    if name.startswith("local/"):
        return "export HEADRACE_LOCAL_MODEL=/path/to/a/model.gguf, or `unset HEADRACE_LOCAL_MODEL` for the embedded one"
    provider = name.partition("/")[0].upper() if "/" in name else "OPENAI"
    return f"export {provider}_API_KEY=… (and {provider}_BASE_URL for a server of your own), or set {variables}"


def _web_search(providers: Providers, settings: Settings) -> list[Finding]:
    """Whether the provider of web searches has what it needs, where one is set; it is not asked."""
    name = settings.web_search_provider
    if name is None:
        return []
    try:
        providers.web.require(model_of(name))
    except HeadraceError as error:
        mend = "set the variable, or HEADRACE_SEARCH_PROVIDER to another provider"
        return [Finding(subject=f"web search by {name}", ok=False, says=str(error), mend=mend)]
    return [Finding(subject=f"web search by {name}", ok=True, says="what it needs is set")]


def _keys() -> Finding:
    """Which keys are set, never what they are."""
    present = [name for name in KEYS if os.environ.get(name)]
    says = f"set: {', '.join(present)}" if present else "none set; the embedded models need none"
    return Finding(subject="provider keys", ok=True, says=says)


def _former_variables() -> list[Finding]:
    """Variables of older applications that are set and mean nothing here, with what does."""
    present = set_variables()
    return [
        Finding(subject="older variables", ok=True, says=f"{name} is set and has no meaning here: {instead}")
        for name, instead in FORMER_VARIABLES.items()
        if name in present
    ]


def _prefect(settings: Settings) -> Finding:
    url = os.environ.get("PREFECT_API_URL")
    if url and not is_answering(url):
        says = f"PREFECT_API_URL is {shown(url)} and nothing answers there"
        return Finding(
            subject="prefect", ok=False, says=says, mend="`headrace up` starts one here after `unset PREFECT_API_URL`"
        )
    found = url or announced_api(settings.home)
    says = f"API at {shown(found)}" if found else "no API; flows run without one (`headrace up` starts one)"
    return Finding(subject="prefect", ok=True, says=says)


def _disk(subject: str, folder: Path) -> Finding:
    existing = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(existing).free / 2**30
    writable = os.access(existing, os.W_OK)
    enough = free >= NEEDED_GIB
    says = f"{subject} {folder}: {free:.1f} GiB free" + ("" if writable else ", not writable")
    mend = None if enough and writable else f"free some space, or set {subject} to a folder with {NEEDED_GIB:.0f} GiB"
    return Finding(subject="disk", ok=enough and writable, says=says, mend=mend)


def _cache(settings: Settings) -> list[Finding]:
    """The cache matters only while the embedded weights are in use."""
    served_here = any(name.startswith("local/") for name in _models(settings))
    return [_disk("HEADRACE_CACHE", settings.cache)] if served_here and settings.local_model is None else []
