"""Rows that OpenAI would refuse, and those it takes."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.training.formats import fault_in

USER, SAID = {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}
CALL = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"q": "oak"}'}}
ASKS = {"role": "assistant", "content": None, "tool_calls": [CALL]}
TOLD = {"role": "tool", "content": "A tree.", "tool_call_id": "c1"}
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    "record",
    [
        {"messages": [USER, SAID]},
        {"messages": [{"role": "developer", "content": ""}, {**USER, "name": "ada"}, {**SAID, "weight": 1}]},
        {"messages": [USER, {**SAID, "weight": 0}, USER, SAID]},
        {"messages": [USER, ASKS, TOLD, SAID], "tools": [TOOL], "parallel_tool_calls": False},
        {"messages": [USER, ASKS], "tools": [TOOL]},
    ],
)
def test_what_openai_takes_has_no_fault(record: dict[str, Any]) -> None:
    assert fault_in(record, "openai-sft") is None


@pytest.mark.parametrize(
    ("messages", "more", "fault"),
    [
        ([USER, SAID], {"label": True}, "'label' is no member that OpenAI knows"),
        ([USER, SAID], {"parallel_tool_calls": "no"}, "parallel_tool_calls is neither true nor false"),
        ([USER, SAID], {"tools": [{"type": "function", "function": {"name": "look up"}}]}, "tool 1 is no function"),
        ([USER, SAID], {"tools": [{**TOOL, "function": {"name": "f", "parameters": 1}}]}, "tool 1 has parameters"),
        ([USER, {**SAID, "mood": 1}], {}, "message 2: 'mood' is no member that OpenAI knows"),
        ([{**USER, "weight": 1}, SAID], {}, "message 1: a weight is 0 or 1, and of the assistant alone"),
        ([USER, {**SAID, "weight": 0.5}], {}, "message 2: a weight is 0 or 1"),
        ([USER, {**SAID, "weight": 0}], {}, "no answer has a weight: there is nothing to learn"),
        ([{**USER, "name": "Ada L."}, SAID], {}, "message 1: the name is not made of letters"),
        ([USER, TOLD, SAID], {}, "message 2: it answers no tool call made before"),
        ([USER, {**ASKS, "tool_calls": [{**CALL, "id": 1}]}], {}, "message 2: a tool call is not one of"),
        ([USER, {**ASKS, "tool_calls": [{**CALL, "function": {"name": ""}}]}], {}, "message 2: a tool call is not one"),
        (
            [USER, {**ASKS, "tool_calls": [{**CALL, "function": {"name": "f", "arguments": "{"}}]}],
            {},
            "message 2: a tool call is not one of",
        ),
        ([USER, ASKS, TOLD], {}, "the last message is not of the assistant"),
    ],
)
def test_what_openai_refuses_is_told(messages: list[Any], more: dict[str, Any], fault: str) -> None:
    found = fault_in({"messages": messages, **more}, "openai-sft")
    assert found is not None
    assert found.startswith(fault)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({}, None),
        ({"input": {"messages": [USER, SAID]}}, "the last message is not of the user"),
        ({"input": {"messages": [USER], "mood": 1}}, "'mood' is no member that OpenAI knows"),
        ({"preferred_output": []}, "the preferred output is not one message of the assistant"),
        ({"non_preferred_output": [USER]}, "the non-preferred output is not one message of the assistant"),
        (
            {"preferred_output": [{**SAID, "content": " "}]},
            "the preferred output: message 1, of the assistant, is empty",
        ),
        ({"non_preferred_output": [SAID]}, "both answers are the same"),
        ({"input": {"messages": [{"role": "bot", "content": ""}]}}, "message 1 has no role of"),
    ],
)
def test_a_pair_is_checked_as_openai_does(change: dict[str, Any], fault: str | None) -> None:
    other = {"role": "assistant", "content": "Dirt."}
    record = {"input": {"messages": [USER]}, "preferred_output": [SAID], "non_preferred_output": [other], **change}
    found = fault_in(record, "openai-dpo")
    assert found is None if fault is None else (found or "").startswith(fault)
