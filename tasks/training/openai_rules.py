"""What OpenAI demands of a row to fine-tune on.

https://platform.openai.com/docs/guides/supervised-fine-tuning, …/direct-preference-optimization and the checks of its
cookbook ("Data preparation and analysis for chat model fine-tuning"): known roles and members, an answer to learn at
the end, weights of 0 or 1 for the assistant alone, tools that are declared and called as the chat API wants it.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
MEMBERS = frozenset({"messages", "tools", "parallel_tool_calls"})
_TURN_MEMBERS = frozenset({"role", "content", "name", "weight", "refusal", "tool_calls", "tool_call_id"})
_PAIR_MEMBERS = frozenset({"input", "preferred_output", "non_preferred_output"})
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def fault_in_chat(record: dict[str, Any]) -> str | None:
    """What OpenAI would refuse in a row of supervised fine-tuning; None where it is as it should be."""
    messages = record["messages"]
    fault = fault_in_members(record, MEMBERS) if len(record) > 1 else None
    fault = fault or fault_in_messages(messages)
    if fault is not None:
        return fault
    if not messages or messages[-1]["role"] != "assistant":
        return "the last message is not of the assistant"
    if messages[-1].get("weight") == 0 and not any(_teaches(turn) for turn in messages):
        return "no answer has a weight: there is nothing to learn"
    return None


def _teaches(turn: dict[str, Any]) -> bool:
    return bool(turn["role"] == "assistant" and turn.get("weight", 1))


def fault_in_pair(record: dict[str, Any]) -> str | None:
    """What OpenAI would refuse in a row of direct preference optimization."""
    given, outputs = record["input"], (record["preferred_output"], record["non_preferred_output"])
    fault = fault_in_members(record, _PAIR_MEMBERS) or fault_in_members(given, MEMBERS)
    fault = fault or fault_in_messages(given["messages"])
    if fault is not None:
        return fault
    if not given["messages"] or given["messages"][-1]["role"] not in ("user", "tool"):
        return "the last message is not of the user"
    for name, output in zip(("preferred", "non-preferred"), outputs, strict=True):
        if len(output) != 1 or output[0].get("role") != "assistant":
            return f"the {name} output is not one message of the assistant"
        fault = fault_in_messages(output)
        if fault is not None:
            return f"the {name} output: {fault}"
    return "both answers are the same" if outputs[0] == outputs[1] else None


def fault_in_members(given: dict[str, Any], known: frozenset[str]) -> str | None:
    """A member that is not known, or tools that are not declared as they should be."""
    unknown = sorted(given.keys() - known)
    if unknown:
        return f"{unknown[0]!r} is no member that OpenAI knows"
    if not isinstance(given.get("parallel_tool_calls", True), bool):
        return "parallel_tool_calls is neither true nor false"
    tools = given.get("tools") or []
    for number, tool in enumerate(tools, 1):
        function = tool.get("function") or {}
        if tool.get("type") != "function" or not _NAME.fullmatch(str(function.get("name", ""))):
            return f"tool {number} is no function with a name of letters, digits, _ and -, at most 64"
        if not isinstance(function.get("parameters", {}), dict):
            return f"tool {number} has parameters that are no JSON schema"
    return None


def fault_in_messages(messages: list[Any]) -> str | None:
    """What is wrong with the first message where something is."""
    called: set[str] = set()
    for number, turn in enumerate(messages, 1):
        role, content = turn.get("role"), turn.get("content")
        if role not in ROLES or not (isinstance(content, str) or (content is None and turn.get("tool_calls"))):
            return f"message {number} has no role of {', '.join(sorted(ROLES))} with a text"
        if role == "assistant" and not turn.get("tool_calls") and (not content or content.isspace()):
            return f"message {number}, of the assistant, is empty"
        fault = _fault_in_rest(turn, called) if len(turn) > 2 or role == "tool" else None
        if fault is not None:
            return f"message {number}: {fault}"
    return None


def _fault_in_rest(turn: dict[str, Any], called: set[str]) -> str | None:
    """What is wrong with members that few messages have; tool calls are added to `called`."""
    unknown = sorted(turn.keys() - _TURN_MEMBERS)
    if unknown:
        return f"{unknown[0]!r} is no member that OpenAI knows"
    assistant = turn["role"] == "assistant"
    if "weight" in turn and not (assistant and type(turn["weight"]) is int and turn["weight"] in (0, 1)):
        return "a weight is 0 or 1, and of the assistant alone"
    if "name" in turn and not _NAME.fullmatch(str(turn["name"])):
        return "the name is not made of letters, digits, _ and -, at most 64"
    if turn["role"] == "tool" and turn.get("tool_call_id") not in called:
        return "it answers no tool call made before"
    for call in turn.get("tool_calls") or []:
        if not assistant or not _is_call(call):
            return "a tool call is not one of the assistant with an id, a function and its arguments as JSON"
        called.add(call["id"])
    return None


def _is_call(call: dict[str, Any]) -> bool:
    function = call.get("function") or {}
    if call.get("type") != "function" or not isinstance(call.get("id"), str):
        return False
    if not _NAME.fullmatch(str(function.get("name", ""))):
        return False
    try:
        return isinstance(orjson.loads(function.get("arguments", "")), dict)
    except ValueError:
        return False
