"""The architecture: imports go one way, foreign libraries stay in blocks, start-up stays light."""

from __future__ import annotations

import json
import subprocess
import sys

import grimp
import pytest

LAYERS = ("schemas", "blocks", "tasks", "flows")
ONLY_IN_BLOCKS = {
    "litellm",
    "openai",
    "httpx",
    "aiohttp",
    "psycopg",
    "asyncpg",
    "xllamacpp",
    "onnxruntime",
    "great_expectations",
}
HEAVY = {"prefect", "litellm", "openai", "sqlalchemy", "pydantic", "aiohttp", "numpy", "lxml", "onnxruntime", "alembic"}
PREFECT_MAY_BE_IN = ("flows", "tasks", "blocks.settings_block")


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*LAYERS, include_external_packages=True, cache_dir=None)


def _imports(graph: grimp.ImportGraph) -> list[tuple[str, str]]:
    return [
        (importer, imported)
        for importer in graph.modules
        if importer.split(".")[0] in LAYERS
        for imported in graph.find_modules_directly_imported_by(importer)
    ]


def test_imports_go_from_flows_to_tasks_to_blocks_to_schemas(graph: grimp.ImportGraph) -> None:
    upward = [
        f"{importer} imports {imported}"
        for importer, imported in _imports(graph)
        if imported.split(".")[0] in LAYERS
        and LAYERS.index(imported.split(".")[0]) > LAYERS.index(importer.split(".")[0])
    ]
    assert upward == []


def test_a_capability_uses_the_ledger_but_no_other_capability(graph: grimp.ImportGraph) -> None:
    across = [
        f"{importer} imports {imported}"
        for importer, imported in _imports(graph)
        if importer.startswith("tasks.") and imported.startswith("tasks.")
        if imported.split(".")[1] not in {"ledger", importer.split(".")[1]}
    ]
    assert across == []


def test_only_blocks_import_the_drivers_and_clients(graph: grimp.ImportGraph) -> None:
    elsewhere = [
        f"{importer} imports {imported}"
        for importer, imported in _imports(graph)
        if imported in ONLY_IN_BLOCKS and not importer.startswith("blocks")
    ]
    assert elsewhere == []


def test_prefect_stays_in_flows_and_tasks(graph: grimp.ImportGraph) -> None:
    below = [
        importer
        for importer, imported in _imports(graph)
        if imported == "prefect" and not importer.startswith(PREFECT_MAY_BE_IN)
    ]
    assert below == []


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys, json, contextlib, io\n"
        "from flows.command_line import run_command\n"
        "with contextlib.redirect_stdout(io.StringIO()) as shown:\n"
        "    code = run_command(['--help'])\n"
        "print(json.dumps([code, 'analyze' in shown.getvalue(), len(sys.modules), sorted(sys.modules)]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    code, has_help, count, modules = json.loads(done.stdout)
    assert (code, has_help) == (0, True)
    assert HEAVY & set(modules) == set()
    assert count < 700
