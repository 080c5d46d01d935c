"""The file of named models: what it may say, and the one sentence for what it may not."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.named_models import read_named_models, read_secret, required_secret
from blocks.providers.prices import price_per_million
from schemas.calls import ModelInfo
from schemas.errors import ConfigurationError
from schemas.named_models import CallLimits, NamedModel, TokenPrice
from schemas.settings import Settings
from tests.conftest import Environment

WHOLE = """
[models.fast]
model = "openai/gpt-4o-mini"
api_base = "http://127.0.0.1:8000/v1"
api_key_env = "FAST_KEY"
price = { input = 0.15, output = 0.60, cached_input = 0.075 }
context_window = 128000
max_output_tokens = 16384
limits = { requests_per_minute = 500, tokens_per_minute = 200000, parallel_calls = 8 }
fallback = ["careful", "openai/gpt-4o"]
[models.careful]
model = "anthropic/claude-3-haiku-20240307"
"""


@pytest.fixture
def file(tmp_path: Path, environment: Environment) -> Path:
    path = tmp_path / "models.toml"
    environment(HEADRACE_MODELS=path)
    return path


def settings_of(path: Path) -> Settings:
    return Settings(_env_file=None, models=path)


def test_every_key_is_read_and_money_stays_exact(file: Path) -> None:
    file.write_text(WHOLE)
    names = read_named_models(settings_of(file))
    assert names["fast"] == NamedModel(
        model="openai/gpt-4o-mini",
        api_base="http://127.0.0.1:8000/v1",
        api_key_env="FAST_KEY",
        price=TokenPrice(input=Decimal("0.15"), output=Decimal("0.60"), cached_input=Decimal("0.075")),
        context_window=128000,
        max_output_tokens=16384,
        limits=CallLimits(requests_per_minute=500, tokens_per_minute=200000, parallel_calls=8),
        fallback=("careful", "openai/gpt-4o"),
    )
    assert names["careful"].fallback == ()
    assert names["careful"].provider == "anthropic"


def test_without_a_file_there_are_no_names_and_a_file_in_the_folder_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HEADRACE_MODELS", raising=False)
    settings = Settings(_env_file=None)
    assert read_named_models(settings) == {}
    (tmp_path / "headrace-models.toml").write_text(WHOLE)
    assert list(read_named_models(settings)) == ["fast", "careful"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[models.fast", "is not TOML"),
        (
            '[models.q]\nmodel = "runpod/default"\napi_key_env = "K"',
            "a RunPod queue has neither api_base nor api_key_env",
        ),
        ("[models.fast]\n", "[models.fast] model: is missing"),
        (
            '[models.fast]\nmodel = "a/b"\napi_bas = "x"',
            "[models.fast] api_bas: there is no such key; there are model",
        ),
        ('[models.fast]\nmodel = "a/b"\nlimits = {rpm = 3}', "there are requests_per_minute, tokens_per_minute"),
        ('[models.fast]\nmodel = "a/b"\nlimits = {parallel_calls = 0}', "[models.fast] limits.parallel_calls: Input"),
        ('[models.fast]\nmodel = "a/b"\nprice = {input = 1}', "[models.fast] price.output: is missing"),
        ('[models.fast]\nmodel = "a/b"\nprice = {input = -1, output = 1}', "price.input: Input should be greater than"),
        ('[models.fast]\nmodel = "a/b"\nprice = {input = nan, output = 1}', "price.input: Input should be a finite"),
        (
            '[models.fast]\nmodel = "a/b"\napi_base = "localhost:1"',
            "api_base: must be an address that begins with",
        ),
        ('[models.fast]\nmodel = "a/b"\napi_key_env = "sk-91"', "api_key_env: must be the name of an environment"),
        (
            '[models.fast]\nmodel = "a/b"\nfallback = ["slow"]',
            "[models.fast] fallback: 'slow' is no table of this file",
        ),
        ('[models.fast]\nmodel = "a/b"\nfallback = ["fast"]', "a model does not fall back on itself"),
        ('[models.fast]\nmodel = "a/b"\nfallback = ["c/d", "c/d"]', "every model is named once"),
        ('[models."a b"]\nmodel = "a/b"', "a name has letters"),
        ('[models.fast]\nmodel = "local/chat"\napi_base = "http://x"', "[models.fast]: a model of this machine has"),
        ('[fast]\nmodel = "a/b"', "key fast: there is no such key; every table is a [models.NAME]"),
        ("models = 3", "[models]: Input should be"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence_with_its_place(file: Path, text: str, sentence: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigurationError) as failure:
        read_named_models(settings_of(file))
    said = str(failure.value)
    assert said.startswith(str(file))
    assert sentence in said
    assert "\n" not in said
    assert "sk-91" not in said, "what stands there may be a key"


def test_a_file_that_is_named_and_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"HEADRACE_MODELS names .*nothing\.toml, and there is no such file"):
        read_named_models(settings_of(tmp_path / "nothing.toml"))
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        read_named_models(settings_of(tmp_path))
    (tmp_path / "latin.toml").write_bytes(b"# \xe4")
    with pytest.raises(ConfigurationError, match="cannot be read: it is not UTF-8"):
        read_named_models(settings_of(tmp_path / "latin.toml"))


@given(st.text(max_size=200) | st.text(max_size=60).map(lambda rest: f"[models.fast]\n{rest}"))
def test_no_text_brings_anything_but_names_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(text, encoding="utf-8", errors="replace")
    try:
        names = read_named_models(settings_of(path))
    except ConfigurationError:
        return
    assert all(isinstance(named, NamedModel) for named in names.values())


def test_a_key_comes_from_the_environment_or_the_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("A_KEY=from-the-file\nEMPTY=\n")
    assert read_secret("A_KEY") == "from-the-file"
    monkeypatch.setenv("A_KEY", " from-the-environment ")
    assert read_secret("A_KEY") == "from-the-environment"
    assert read_secret("EMPTY") is None
    with pytest.raises(ConfigurationError, match="fast needs NO_SUCH_KEY to be set"):
        required_secret("fast", "NO_SUCH_KEY")
    monkeypatch.setenv("A_KEY", "sk-ünusual")
    with pytest.raises(ConfigurationError, match="A_KEY holds characters") as failure:
        required_secret("fast", "A_KEY")
    assert "nusual" not in str(failure.value)


def test_the_example_in_the_readme_can_be_used_as_it_stands(tmp_path: Path) -> None:
    shown = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    path = tmp_path / "models.toml"
    section = shown.partition("\n### Named models\n")[2]
    path.write_text(section.split("```toml\n")[1].split("```")[0], encoding="utf-8")
    names = read_named_models(settings_of(path))
    assert {name: named.fallback for name, named in names.items()} == {"fast": ("haiku", "local/chat"), "haiku": ()}
    assert names["haiku"].price is None
    known = price_per_million(ModelInfo(model=names["haiku"].model, provider="bedrock", identity="bedrock"))
    assert known == TokenPrice(input=Decimal("0.25"), output=Decimal("1.25"), cached_input=Decimal("0.25"))
