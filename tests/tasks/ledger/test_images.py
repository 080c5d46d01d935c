"""Images: made once, paid once, replayed byte for byte, and within budget like every other call."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import Decimal
from pathlib import Path

import orjson
import pytest

from schemas.calls import ImageCall
from schemas.errors import (
    AnswerRejected,
    AuthenticationFailed,
    BadInput,
    BudgetExceeded,
    ConfigurationError,
    ContentRefused,
    ModelNotFound,
    RetriesExhausted,
)
from tasks.ledger import estimate_cost, generate_image, get_request
from tasks.ledger.limits import set_budgets
from tasks.ledger.session import open_ledger
from tests.conftest import Environment
from tests.tasks.ledger.conftest import Look
from tests.wire.openai_images import OpenAIImages, Picture, png, usage
from tests.wire.server import Answer, Failure

# gpt-image-2: 5 USD for a million tokens of the prompt, 30 for a million of the image.
USUAL_USD = 12 * Decimal("5e-6") + 200 * Decimal("30e-6")
SMALL = {"size": "1024x1024", "quality": "low"}
DAY = "SELECT reserved_usd, spent_usd FROM budget_usage WHERE scope_kind = 'project' AND period = 'day'"

Serve = Callable[..., AbstractAsyncContextManager[OpenAIImages]]

pytestmark = pytest.mark.usefixtures("no_pauses")


@pytest.fixture
def serve(environment: Environment, database_url: str, tmp_path: Path) -> Serve:
    """A server of these outcomes, and an open ledger that leads to it; keyword arguments are variables."""

    @asynccontextmanager
    async def begin(*outcomes: Answer | Failure, named: str = "", **variables: object) -> AsyncIterator[OpenAIImages]:
        async with OpenAIImages(*outcomes) as server:
            path = tmp_path / "models.toml"
            path.write_text(named.replace("URL", f"{server.url}/v1"))
            known = {"DATABASE_URL": database_url, "HEADRACE_RETRY_ATTEMPTS": 2, "HEADRACE_MODELS": path}
            async with open_ledger(environment(**known, **server.environment(), **variables)):
                yield server  # type: ignore[misc]

    return begin


async def test_two_equal_calls_are_one_payment_and_the_second_has_the_same_bytes(serve: Serve, look: Look) -> None:
    async with serve(Picture(files=(png(7),), usage=usage(12, 200), revised_prompt="A mill.")) as server:
        first = await generate_image("a mill", purpose="cover", **SMALL)
        again = await generate_image("a mill", **SMALL)
    assert server.refused == []
    assert [image.data for image in first.images] == [png(7)]
    assert (first.images[0].media_type, first.images[0].revised_prompt) == ("image/png", "A mill.")
    assert (first.cost_usd, first.cost_source, first.replayed) == (USUAL_USD, "price_table", False)
    assert (again.images, again.cost_usd, again.replayed) == (first.images, 0, True)
    assert [asked.body for asked in server.asked] == [
        {"model": "gpt-image-2", "prompt": "a mill", "n": 1, "size": "1024x1024", "quality": "low"}
    ]
    assert look("SELECT kind, status, model, purpose, cost_usd, input_tokens, output_tokens FROM llm_requests") == [
        ("image", "succeeded", "gpt-image-2", "cover", USUAL_USD, 12, 200),
        ("image", "replayed", "gpt-image-2", None, 0, 12, 200),
    ]
    assert look(DAY) == [(0, USUAL_USD)]


async def test_the_row_says_what_was_made_and_not_its_bytes(serve: Serve) -> None:
    async with serve():
        made = await generate_image("a mill", context={"page": 3})
        row = await get_request(made.request_id)
    assert row.response == {"images": [{"media_type": "image/png", "revised_prompt": None, "bytes": len(png())}]}
    assert (row.context, row.request) == ({"page": 3}, {"model": "gpt-image-2", "prompt": "a mill", "n": 1})


@pytest.mark.parametrize(
    "other", [{"n": 2}, {"size": "1536x1024"}, {"quality": "high"}, {"repetition": 1}, {"user": "ada"}]
)
async def test_whatever_changes_the_image_is_a_call_of_its_own(serve: Serve, other: dict[str, object]) -> None:
    async with serve() as server:
        await generate_image("a mill")
        made = await generate_image("a mill", **other)  # type: ignore[arg-type]
    assert (len(server.asked), made.replayed) == (2, False)
    assert len(made.images) == other.get("n", 1)


async def test_what_does_not_fit_the_budget_is_refused_before_anybody_is_asked(serve: Serve, look: Look) -> None:
    async with serve() as server:
        estimate = await estimate_cost(ImageCall(model="gpt-image-2", prompt="a mill", **SMALL))  # type: ignore[arg-type]
        # 1024 x 1024 points at 3072 a token, rounded up, and the prompt
        assert estimate.max_output_tokens == 342
        assert estimate.usd == 342 * Decimal("30e-6") + estimate.input_tokens * Decimal("5e-6")
        await set_budgets(day="0.01")
        with pytest.raises(BudgetExceeded):
            await generate_image("a mill", **SMALL)
        assert server.asked == []
        await set_budgets(day=str(estimate.usd))
        await generate_image("a mill", **SMALL)
    assert look("SELECT reserved_usd FROM llm_requests") == [(estimate.usd,)]


async def test_a_model_without_a_price_needs_leave_under_a_budget(serve: Serve, environment: Environment) -> None:
    async with serve(Picture()) as server:
        await set_budgets(day="1")
        with pytest.raises(ConfigurationError, match="HEADRACE_ALLOW_UNPRICED"):
            await generate_image("a mill", model="openai/flux")
        assert server.asked == []
    async with serve(Picture(), HEADRACE_ALLOW_UNPRICED="openai/flux") as server:
        made = await generate_image("a mill", model="openai/flux")
    assert (made.cost_usd, made.cost_source) == (None, "unpriced")
    assert server.asked[0].body["response_format"] == "b64_json"


NAMED = """
[models.poster]
model = "openai/flux"
api_base = "URL"
price_per_image = 0.25
"""


async def test_a_named_model_has_a_price_for_each_image_made(serve: Serve) -> None:
    async with serve(Picture(most=3), named=NAMED, HEADRACE_IMAGE_MODEL="poster") as server:
        server.key = ""
        server.check = lambda _: None  # type: ignore[method-assign]
        made = await generate_image("a mill", n=4)
    assert (len(made.images), made.cost_usd) == (3, Decimal("0.75"))


FALLING_BACK = """
[models.first]
model = "openai/gone"
fallback = ["gpt-image"]
[models.gpt-image]
model = "openai/gpt-image-2"
"""


async def test_another_model_makes_the_image_where_the_one_asked_is_not_there(serve: Serve, look: Look) -> None:
    gone = Failure(404, {"error": {"message": "no such model", "code": "model_not_found"}})
    async with serve(gone, Picture(usage=usage(12, 200)), named=FALLING_BACK, HEADRACE_ALLOW_UNPRICED="first"):
        made = await generate_image("a mill", model="first")
    assert (made.model, made.fallback_for, made.cost_usd) == ("gpt-image", "first", USUAL_USD)
    assert look("SELECT status, context FROM llm_requests ORDER BY id") == [
        ("failed", None),
        ("succeeded", {"fallback_for": "first", "fallback_because": "model_not_found"}),
    ]


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "moderation_blocked", ContentRefused),
        (400, "content_policy_violation", ContentRefused),
        (400, "invalid_value", BadInput),
        (401, "invalid_api_key", AuthenticationFailed),
        (404, "model_not_found", ModelNotFound),
        (500, None, RetriesExhausted),
    ],
)
async def test_a_failure_is_a_class_of_ours_on_record_and_costs_nothing(
    serve: Serve, look: Look, status: int, code: str | None, expected: type[Exception]
) -> None:
    said = {"message": "sk-proj-4f1b asked for a secret mill", "type": "x", "param": None, "code": code}
    async with serve(Failure(status, {"error": said})):
        with pytest.raises(expected) as raised:
            await generate_image("a secret mill")
    assert "secret" not in str(raised.value)
    assert "sk-proj" not in str(raised.value)
    rows = look("SELECT status, cost_usd, kind FROM llm_requests")
    assert rows == [("failed", 0, "image")] * (2 if expected is RetriesExhausted else 1)
    assert look(DAY) == [(0, 0)]


async def test_an_answer_that_is_no_image_may_be_billed_and_is_no_answer(serve: Serve, look: Look) -> None:
    async with serve(Picture(files=(b"no picture",))):
        with pytest.raises(RetriesExhausted, match="unreadable answer"):
            await generate_image("a mill")
    assert look("SELECT status, count(*) FROM llm_requests GROUP BY 1") == [("unknown", 2)]
    assert look("SELECT count(*) FROM answers") == [(0,)]


async def test_an_answer_without_images_is_a_refusal_that_costs_what_it_says(serve: Serve, look: Look) -> None:
    async with serve(Picture(most=0, usage=usage(12, 20))) as server:
        with pytest.raises(ContentRefused, match="no image"):
            await generate_image("a mill")
    assert len(server.asked) == 1
    assert look("SELECT status, cost_usd FROM llm_requests") == [
        ("failed", 12 * Decimal("5e-6") + 20 * Decimal("30e-6"))
    ]


async def test_an_image_that_is_elsewhere_is_fetched_without_the_key_and_kept(serve: Serve) -> None:
    async with serve() as server:
        server._outcomes = [Picture(files=(png(1), png(2)), addressed=server.url)]
        server.unwell = 2
        made = await generate_image("a mill", model="openai/dall-e-3", n=2)
        server.files.clear()
        again = await generate_image("a mill", model="openai/dall-e-3", n=2)
    assert [image.data for image in made.images] == [png(1), png(2)]
    assert again.images == made.images
    assert [asked.path for asked in server.fetched] == ["/files/0"] * 3 + ["/files/1"]
    assert not any("authorization" in asked.headers for asked in server.fetched)


async def test_an_image_that_cannot_be_fetched_is_paid_once_and_its_address_is_kept(serve: Serve, look: Look) -> None:
    async with serve() as server:
        server._outcomes = [Picture(addressed=server.url, usage=usage(12, 200))]
        server.unwell = 100
        with pytest.raises(AnswerRejected, match="cannot be fetched"):
            await generate_image("a mill")
    assert (len(server.asked), len(server.fetched)) == (1, 3)
    assert look("SELECT status, cost_usd, error_class FROM llm_requests") == [("failed", USUAL_USD, "AnswerRejected")]
    assert look(DAY) == [(0, USUAL_USD)]
    ((response,),) = look("SELECT response FROM llm_bodies")
    assert orjson.loads(zlib.decompress(response))["data"] == [{"url": f"{server.url}/files/0"}]


async def test_only_the_web_is_fetched_from_and_not_without_end(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve() as server:
        server._outcomes = [Picture(addressed="file:///etc")]
        with pytest.raises(AnswerRejected, match="none of http or https"):
            await generate_image("a mill")
        server._outcomes = [Picture(addressed=server.url)]
        server.moved_to = "file:///etc/passwd"
        with pytest.raises(AnswerRejected, match="NonHttpUrlRedirectClientError"):
            await generate_image("a mill")
        server.moved_to = None
        monkeypatch.setattr("blocks.providers.image_files.MOST_BYTES", 10)
        with pytest.raises(AnswerRejected, match="larger than"):
            await generate_image("a mill")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"prompt": "  "}, "no prompt"),
        ({"prompt": "a" * 32_001}, "32001 characters"),
        ({"prompt": "\ud800"}, "lone surrogate"),
        ({"prompt": "a", "size": "large"}, "1024x1024"),
        ({"prompt": "a", "quality": "Very good!"}, "quality"),
        ({"prompt": "a", "n": 11}, "from 1 to 10"),
        ({"prompt": "a", "n": 0}, "from 1 to 10"),
    ],
)
async def test_what_nobody_can_make_is_said_before_anybody_is_asked(
    serve: Serve, look: Look, asked: dict[str, object], said: str
) -> None:
    async with serve() as server:
        with pytest.raises(BadInput, match=said):
            await generate_image(**asked)  # type: ignore[arg-type]
    assert server.asked == []
    assert look("SELECT count(*) FROM llm_requests") == [(0,)]


@pytest.mark.parametrize("model", ["local/chat", "anthropic/claude-haiku-4-5", "runpod/default"])
async def test_a_model_that_makes_no_images_is_told_from_one_that_does(serve: Serve, look: Look, model: str) -> None:
    async with serve():
        with pytest.raises(ConfigurationError, match="HEADRACE_IMAGE_MODEL"):
            await generate_image("a mill", model=model)
    assert look("SELECT count(*) FROM llm_requests") == [(0,)]


async def test_without_a_model_and_a_key_the_variable_to_set_is_named(
    environment: Environment, database_url: str
) -> None:
    async with open_ledger(environment(DATABASE_URL=database_url)):
        with pytest.raises(ConfigurationError, match="set HEADRACE_IMAGE_MODEL"):
            await generate_image("a mill")
