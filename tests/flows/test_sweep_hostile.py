"""Specs that nobody should write: each is refused with one sentence and exit code 2, before anything is begun."""

from __future__ import annotations

from pathlib import Path

import pytest

from blocks.mapping_files import read_mapping_file
from tests.flows.conftest import Look, Run

START = "prompt: Why?\nmodel: gpt-4o-mini\n"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
HUGE = "9" * 5_000

SPECS: dict[str, str | bytes] = {
    "yaml-bomb": START + BOMB + "prompts: *i\n",
    "yaml-bomb-as-prompts": BOMB + "prompts: *i\nmodel: m\n",
    "yaml-recursion": START + "parameter_ranges: &r {temperature: *r}\n",
    "yaml-deep": START + "description: " + "[" * 5_000 + "]" * 5_000,
    "yaml-object": "!!python/object/apply:os.system [true]\n",
    "yaml-tag": START + "seed: !secret x\n",
    "yaml-twice": START + "model: other\n",
    "yaml-twice-within": START + "parameter_ranges:\n  temperature: [0]\n  temperature: [1]\n",
    "yaml-no-mapping": "- prompt\n",
    "yaml-empty": "",
    "yaml-date": START + "seed: 2026-01-01\n",
    "yaml-not-utf-8": b"prompt: \xff\xfe",
    "yaml-surrogate": START + 'name: "\\ud800"\n',
    "yaml-not-a-number": START + "parameter_ranges: {temperature: [.nan]}\n",
    "yaml-infinity": START + "parameter_ranges: {temperature: {min: 0, max: .inf, step: 1}}\n",
    "yaml-infinite-count": START + "response_count: .inf\n",
    "yaml-nan-weight": START + "weights: {coherence: .nan}\n",
    "yaml-nan-cost": START + "max_cost_usd: .nan\n",
    "yaml-huge-number": START + f"parameter_ranges: {{temperature: [{HUGE}]}}\n",
    "yaml-huge-exponent": START + "parameter_ranges: {temperature: ['1e999999999']}\n",
    "yaml-tiny-step": START + "parameter_ranges: {temperature: {min: 0, max: 1, step: '1e-999999'}}\n",
    "yaml-tiny-seed": START + f"seed: {HUGE}\n",
    "yaml-huge-count": START + f"response_count: {HUGE}\n",
    "yaml-empty-list": START + "parameter_ranges: {temperature: []}\n",
    "yaml-empty-models": "prompt: Why?\nmodels: []\n",
    "yaml-empty-prompt": "prompts: []\n",
    "yaml-no-prompt": "model: gpt-4o-mini\n",
    "yaml-unicode-parameter": START + "parameter_ranges: {température: [1]}\n",
    "yaml-unicode-digits": START + "parameter_ranges: {temperature: ['１٢']}\n",
    "yaml-true-number": START + "parameter_ranges: {temperature: [true]}\n",
    "yaml-number-parameter": START + "parameter_ranges: {1: [1]}\n",
    "yaml-milliard": START
    + "parameter_ranges:\n  temperature: {min: 0, max: 1, step: 0.001}\n  top_p: {min: 0.001, max: 1, step: 0.001}\n"
    + "  frequency_penalty: {min: -1, max: 1, step: 0.002}\n",
    "yaml-fraction-tokens": START + "parameter_ranges: {max_tokens: [1.5]}\n",
    "yaml-long-name": START + f"name: {'x' * 300}\n",
    "json-nan": '{"prompt": "Why?", "parameter_ranges": {"temperature": [NaN]}}',
    "json-twice": '{"prompt": "Why?", "prompt": "How?"}',
    "json-deep": "[" * 100_000,
    "json-surrogate": '{"prompt": "Why?", "name": "\\ud800"}',
    "json-list": "[]",
    "json-huge": f'{{"prompt": "Why?", "seed": {HUGE}}}',
    "toml-twice": 'prompt = "Why?"\nprompt = "How?"\n',
    "toml-inf": 'prompt = "Why?"\nresponse_count = inf\n',
}


@pytest.mark.parametrize("name", SPECS)
def test_a_hostile_spec_is_refused_in_a_sentence(headrace: Run, look: Look, tmp_path: Path, name: str) -> None:
    path = tmp_path / f"spec.{name.split('-')[0]}"
    said = SPECS[name]
    path.write_bytes(said if isinstance(said, bytes) else said.encode("utf-8", "surrogatepass"))
    refused = headrace("sweep", path, "--yes", "--bare")
    assert refused.code == 2, refused.err
    assert refused.reason.startswith("headrace: ")
    assert len(refused.reason) < 1_000
    assert "Traceback" not in refused.err
    assert look("SELECT id FROM runs") == []


def test_yaml_may_override_what_it_merges(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(
        "base: {inner: &a {<<: &z {top_p: [1], temperature: [0]}, temperature: [1]}}\n"
        "parameter_ranges: {<<: *a, top_p: [0.5]}\n"
    )
    assert read_mapping_file(path)["parameter_ranges"] == {"temperature": [1], "top_p": [0.5]}
