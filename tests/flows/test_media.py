"""Images and rankings from the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path

import pytest

from tests.conftest import Environment
from tests.flows.conftest import Look, Run
from tests.wire.cohere_rerank import Cohere, Scores
from tests.wire.openai_images import OpenAIImages, Picture, png, usage
from tests.wire.server import Failure, WireServer, in_thread

# 12 tokens of prompt at 5 USD a million, 200 of image at 30.
USUAL = "$0.00606"

Serve = Callable[[WireServer], WireServer]


@pytest.fixture
def serve(environment: Environment, database_url: str) -> Iterator[Serve]:
    """Starts a server and leads commands to it."""
    with ExitStack() as running:

        def start(server: WireServer) -> WireServer:
            started = running.enter_context(in_thread(server))
            environment(DATABASE_URL=database_url, HEADRACE_RETRY_ATTEMPTS=1, **started.environment())
            return started

        yield start


@pytest.fixture(autouse=True)
def settings(environment: Environment, database_url: str) -> object:
    """The test's database and no key of anybody."""
    return environment(DATABASE_URL=database_url)


def test_an_image_is_written_and_the_same_command_writes_it_again_for_nothing(
    headrace: Run, serve: Serve, look: Look, tmp_path: Path
) -> None:
    server = serve(OpenAIImages(Picture(files=(png(9),), usage=usage(12, 200), revised_prompt="A [mill].")))
    path = tmp_path / "mill.png"
    first = headrace("image", "a mill", "--out", path, "--size", "1024x1024", "--quality", "low")
    (row,) = look("SELECT id FROM llm_requests")
    assert (first.code, first.out) == (
        0,
        f"{path}: image/png, {len(png())} bytes\n  made of: A [mill].\ngpt-image-2, {USUAL}, request {row['id']}\n",
    )
    assert path.read_bytes() == png(9)
    path.unlink()
    again = headrace("image", "a mill", "--out", path, "--size", "1024x1024", "--quality", "low", "--json")
    assert (again.code, again.json["status"], again.json["replayed"]) == (0, "completed", True)
    assert (again.json["run_id"], again.json["cost_usd"]) == (None, "0")
    assert again.json["images"] == [
        {"path": str(path), "media_type": "image/png", "bytes": len(png()), "revised_prompt": "A [mill]."}
    ]
    assert path.read_bytes() == png(9)
    assert len(server.asked) == 1


def test_several_images_are_numbered_files(headrace: Run, serve: Serve, tmp_path: Path) -> None:
    serve(OpenAIImages(Picture(files=(png(1), png(2)), usage=usage(12, 400))))
    done = headrace("image", "a mill", "--out", tmp_path / "mill.png", "--n", 2, "--json")
    assert done.code == 0
    assert [(tmp_path / f"mill-{number}.png").read_bytes() for number in (1, 2)] == [png(1), png(2)]
    assert [file["path"] for file in done.json["images"]] == [str(tmp_path / f"mill-{n}.png") for n in (1, 2)]


def test_where_nothing_can_be_written_nobody_is_paid(headrace: Run, serve: Serve, tmp_path: Path) -> None:
    server = serve(OpenAIImages())
    missing = headrace("image", "a mill", "--out", tmp_path / "no" / "mill.png", "--json")
    folder = headrace("image", "a mill", "--out", tmp_path)
    unnamed = headrace("image", "a mill")
    assert (unnamed.code, "--out FILE.png" in unnamed.reason) == (2, True)
    assert (missing.code, missing.json["error"]["code"]) == (2, "bad_input")
    assert (folder.code, "is a folder" in folder.reason) == (2, True)
    assert server.asked == []


def test_an_image_that_cannot_be_written_is_on_record(headrace: Run, serve: Serve, tmp_path: Path) -> None:
    server = serve(OpenAIImages())
    (tmp_path / "mill-1.png").mkdir()
    done = headrace("image", "a mill", "--out", tmp_path / "mill.png", "--n", 2)
    assert (done.code, "the same command with another --out costs nothing" in done.reason) == (2, True)
    assert headrace("image", "a mill", "--out", tmp_path / "other.png", "--n", 2).code == 0
    assert len(server.asked) == 1


def test_errors_have_the_exit_codes_of_all_commands(headrace: Run, serve: Serve, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "mill.png")
    unset = headrace("image", "a mill", *out, "--json")
    assert (unset.code, unset.json["error"]["code"]) == (2, "configuration")
    server = serve(OpenAIImages(Failure(503, {}), Failure(400, {"error": {"code": "moderation_blocked"}})))
    assert headrace("image", "a mill", *out, "--size", "huge").code == 2
    assert headrace("image", "a mill", *out, "--json").json["error"]["code"] == "retries_exhausted"
    refused = headrace("image", "a mill", *out)
    assert (refused.code, "content rules" in refused.reason) == (1, True)
    headrace("budget", "set", "--day", "0.001")
    dear = headrace("image", "a mill", *out, "--json")
    assert (dear.code, dear.json["error"]["code"]) == (3, "budget_exceeded")
    assert len(server.asked) == 2
    assert not (tmp_path / "mill.png").exists()


def test_the_worst_case_is_told_without_asking_anybody(headrace: Run, serve: Serve) -> None:
    server = serve(OpenAIImages())
    arguments = ("image", "a mill", "--size", "1024x1024", "--quality", "low")
    shown = headrace(*arguments, "--estimate")
    told = headrace(*arguments, "--estimate", "--json").json
    # 1024 x 1024 points at 3072 a token are 342 at 30 USD a million; the prompt's tokens at 5
    assert Decimal(told["usd"]) == 342 * Decimal("30e-6") + told["input_tokens"] * Decimal("5e-6")
    assert shown.out.startswith("gpt-image-2: at most $0.0102")
    assert server.asked == []


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "clauses.txt"
    path.write_text("Rent is due.\n\nThe owner pays for repairs.\n")
    return path


def test_lines_are_ranked(headrace: Run, serve: Serve, lines: Path, look: Look) -> None:
    server = serve(Cohere(Scores(of={0: 0.25, 1: 0.75})))
    done = headrace("rerank", "who repairs?", lines, "--model", server.model)
    assert done.code == 0
    shown = [line.split() for line in done.out.splitlines() if line.strip()]
    assert [line[:2] for line in shown[2:4]] == [["0.7500", f"{lines}:3"], ["0.2500", f"{lines}:1"]]
    (row,) = look("SELECT id FROM llm_requests")
    assert done.out.splitlines()[-1] == f"cohere/rerank-v3.5, $0.002, request {row['id']}"
    assert server.asked[0].body["documents"] == ["Rent is due.", "The owner pays for repairs."]


def test_standard_input_and_files_are_ranked_for_machines(
    headrace: Run, serve: Serve, environment: Environment, lines: Path, tmp_path: Path
) -> None:
    serve(Cohere(Scores(of={0: 0.25, 1: 0.75}), Scores(of={1: 0.5})))
    environment(HEADRACE_RERANK_MODEL="cohere/rerank-v3.5")
    piped = headrace("rerank", "who?", "-", "--json", stdin=b"one\ntwo\n").json
    assert [(row["source"], row["text"], row["index"]) for row in piped["results"]] == [
        ("line:2", "two", 1),
        ("line:1", "one", 0),
    ]
    assert (piped["status"], piped["cost_usd"], piped["model"]) == ("completed", "0.002", "cohere/rerank-v3.5")
    other = tmp_path / "other.md"
    other.write_text("# A whole\n\nfile\n")
    files = headrace("rerank", "who?", lines, other, "--top", 1, "--json").json
    assert [(row["source"], row["text"]) for row in files["results"]] == [(str(other), "# A whole\n\nfile\n")]


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        ((), b"", "needs documents"),
        (("-",), b"\n \n", "no document in -"),
        (("-",), b"\xff\xfe\xff", "no UTF-8"),
        (("nowhere.txt",), b"", "cannot be read"),
        (("--tops",), b"", "no option --tops"),
        (("-", "other.txt"), b"", "by itself"),
    ],
)
def test_what_cannot_be_ranked_is_said(headrace: Run, arguments: tuple[str, ...], stdin: bytes, said: str) -> None:
    done = headrace("rerank", "who?", *arguments, stdin=stdin)
    assert (done.code, said in done.reason) == (2, True)


def test_the_worst_case_of_a_ranking_is_told_without_asking_anybody(headrace: Run, serve: Serve, lines: Path) -> None:
    server = serve(Cohere())
    told = headrace("rerank", "who?", lines, "--model", "cohere/rerank-v3.5", "--estimate", "--json").json
    assert (told["usd"], told["max_output_tokens"]) == ("0.002", 0)
    unknown = headrace("rerank", "who?", lines, "--model", "nvidia_nim/nvidia/nv-rerankqa-mistral-4b-v3", "--estimate")
    assert (unknown.code, "an unknown amount" in unknown.out) == (0, True)
    assert server.asked == []


def test_a_ranking_that_is_none_fails_the_command(headrace: Run, serve: Serve, lines: Path) -> None:
    serve(Cohere(Scores(rows=[{"index": 5, "relevance_score": 0.1}])))
    done = headrace("rerank", "who?", lines, "--model", "cohere/rerank-v3.5", "--json")
    assert (done.code, done.json["error"]["code"]) == (1, "retries_exhausted")


def test_any_call_is_estimated_without_being_made(headrace: Run, serve: Serve, environment: Environment) -> None:
    server = serve(OpenAIImages())
    chat = headrace("estimate", "Why?", "--model", "gpt-4o-mini", "--max-tokens", 1000, "--json").json
    # 0.15 USD for a million tokens of input, 0.60 for a million of output
    assert Decimal(chat["usd"]) == chat["input_tokens"] * Decimal("0.15e-6") + 1000 * Decimal("0.60e-6")
    piped = headrace("estimate", "-", "--model", "gpt-4o-mini", "--max-tokens", 1000, "--json", stdin=b"Why?").json
    assert piped == chat
    vector = headrace("estimate", "Why?", "--kind", "embedding", "--json").json
    assert (vector["model"], vector["max_output_tokens"]) == ("text-embedding-3-small", 0)
    assert Decimal(vector["usd"]) >= vector["input_tokens"] * Decimal("0.02e-6")
    environment(ZAI_API_KEY="key")
    assert headrace("estimate", "Why?", "--kind", "search").out == (
        "zai/search-prime: at most $0.01, up to 0 tokens in and 0 out\n"
    )
    assert headrace("estimate", " ").code == 2
    assert server.asked == []


def test_models_for_images_and_rankings_are_listed_with_what_they_bill(
    headrace: Run, serve: Serve, environment: Environment
) -> None:
    serve(OpenAIImages())
    environment(HEADRACE_IMAGE_MODEL="aiml/flux-pro", HEADRACE_RERANK_MODEL="cohere/rerank-v3.5")
    lines = {line["name"]: line for line in headrace("models", "--json").json["models"]}
    image, ranking = lines["aiml/flux-pro"], lines["cohere/rerank-v3.5"]
    assert (image["roles"], image["price"], image["price_per_image"]) == (["image"], None, "0.065")
    assert (ranking["roles"], ranking["price"], ranking["price_per_query"]) == (["rerank"], None, "0.002")
    shown = headrace("models").out
    assert "$0.065 an image" in shown
    assert "$0.002 a query" in shown
    environment(HEADRACE_IMAGE_MODEL="gpt-image-2", HEADRACE_RERANK_MODEL="gpt-4o-mini")
    lines = {line["name"]: line for line in headrace("models", "--json").json["models"]}
    assert lines["gpt-image-2"]["price"] == {"input": "5", "output": "30", "cached_input": None, "cache_write": None}
    assert "does not rerank" in lines["gpt-4o-mini"]["trouble"]
