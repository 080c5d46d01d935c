"""A synthetic export of the course forum, of any size, written as a stream."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WORDS = (
    "search", "tree", "node", "heap", "stack", "queue", "graph", "proof", "limit", "derivative",
    "integral", "matrix", "vector", "loop", "array", "pointer", "recursion", "hash", "sort", "merge",
    "binary", "function", "theorem", "lemma", "series", "bound", "cost", "time", "space", "average",
)  # fmt: skip


def write_export(path: Path, *, messages: int = 1_000_000, seed: int = 7) -> None:
    """An export with `messages` messages in a tenth as many conversations, a fiftieth threads, 2 in 1,000 materials."""
    chance = random.Random(seed)
    texts = [" ".join(chance.choices(WORDS, k=chance.randint(12, 60))) for _ in range(2000)]
    users, courses = max(20, messages // 1000), 50
    tables = {
        "users": _users(users),
        "courses": _courses(courses),
        "threads": _threads(messages // 50, users, courses, texts),
        "courseMaterials": _materials(messages // 500, courses, texts),
        "aiConversations": _conversations(messages // 10, users, courses),
        "conversationMessages": _messages(messages, messages // 10, texts),
    }
    with path.open("w", encoding="utf-8") as file:
        file.write("{")
        for number, (key, records) in enumerate(tables.items()):
            file.write(f'{", " if number else ""}"quokkaq.{key}": "[')
            for place, record in enumerate(records):
                file.write((", " if place else "") + json.dumps(json.dumps(record))[1:-1])
            file.write(']"')
        file.write("}")


def _moment(number: int) -> str:
    second, minute, hour, day = number % 60, number // 60 % 60, number // 3600 % 24, number // 86400 % 28 + 1
    return f"2025-{number // 2419200 % 12 + 1:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{number % 1000:03}Z"


def _users(count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        yield {
            "id": f"user-{number}",
            "name": f"Person {number}",
            "email": f"person{number}@example.edu",
            "password": "demo123",
            "role": ("student", "instructor", "ta")[number % 3],
            "createdAt": _moment(number),
        }


def _courses(count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        yield {
            "id": f"course-{number}",
            "code": f"CS {100 + number}",
            "name": f"Course {number}",
            "term": "Fall 2025",
            "description": "",
            "instructorIds": [f"user-{number % 20}"],
            "enrollmentCount": number,
            "status": "active",
            "createdAt": _moment(number),
        }


def _threads(count: int, users: int, courses: int, texts: list[str]) -> Iterator[dict[str, Any]]:
    for number in range(count):
        yield {
            "id": f"thread-{number}",
            "courseId": f"course-{number % courses}",
            "title": texts[number % len(texts)][:80],
            "content": texts[number * 7 % len(texts)],
            "authorId": f"user-{number % users}",
            "status": "open",
            "tags": ["a", "b"],
            "views": number % 100,
            "createdAt": _moment(number),
            "updatedAt": _moment(number + 60),
        }


def _materials(count: int, courses: int, texts: list[str]) -> Iterator[dict[str, Any]]:
    for number in range(count):
        yield {
            "id": f"material-{number}",
            "courseId": f"course-{number % courses}",
            "type": "lecture",
            "title": f"Lecture {number}",
            "content": " ".join(texts[(number + step) % len(texts)] for step in range(8)),
            "keywords": list(WORDS[:6]),
            "metadata": {"week": number % 15 + 1},
            "createdAt": _moment(number),
            "updatedAt": _moment(number),
        }


def _conversations(count: int, users: int, courses: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        yield {
            "id": f"conv-{number}",
            "userId": f"user-{number % users}",
            "courseId": f"course-{number % courses}",
            "title": f"Conversation {number}",
            "messageCount": 10,
            "createdAt": _moment(number),
            "updatedAt": _moment(number + 600),
        }


def _messages(count: int, conversations: int, texts: list[str]) -> Iterator[dict[str, Any]]:
    for number in range(count):
        yield {
            "id": f"msg-{number // 10}-{number % 10}",
            "conversationId": f"conv-{number // 10 % conversations}",
            "role": ("user", "assistant")[number % 2],
            "content": texts[number % len(texts)],
            "timestamp": _moment(number),
        }
