"""What goes wrong, and when: by the number of the request, or by seeded chance."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.scripted_provider.replies import Reply, error

FaultKind = Literal["status", "hang", "broken_json", "no_choices", "wrong_schema", "reset", "lost_answer", "truncated"]


@dataclass(frozen=True)
class Fault:
    """One way to fail.

    `status`: an error answer. `hang`: no answer until the server stops. `broken_json`: 200 and half a
    body. `no_choices`: 200 and valid JSON that is no completion. `wrong_schema`: a paid answer whose
    JSON does not fit. `reset`: the connection is cut before any work. `lost_answer`: the answer is
    made and paid for, then the connection is cut. `truncated`: cut in the middle of the body.
    """

    kind: FaultKind
    status: int = 500
    retry_after: float | None = None
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def named(cls, name: str) -> Fault:
        """`"429"` (asks to wait 10 ms), `"500"` and other statuses, or the name of a kind."""
        if name.isdigit():
            limited = name == "429"
            return cls(
                "status",
                status=int(name),
                retry_after=0.01 if limited else None,
                code="rate_limit_exceeded" if limited else None,
            )
        kinds: dict[str, FaultKind] = {kind: kind for kind in FaultKind.__args__}  # type: ignore[attr-defined]
        return cls(kinds[name])

    def reply(self) -> Reply:
        """The error answer of a `status` fault."""
        headers = dict(self.headers)
        if self.retry_after is not None:
            headers["Retry-After"] = f"{self.retry_after:g}"
        return error(self.status, "scripted failure", code=self.code, headers=headers)


@dataclass(frozen=True)
class FaultPlan:
    """Faults by request number (from 1), else by chance.

    Attributes:
        chances: name of a fault → probability; together at most 1.
    """

    scripted: Mapping[int, Fault]
    chances: Mapping[str, float]
    seed: int = 0

    @classmethod
    def of(cls, faults: Mapping[Any, Any], seed: int) -> FaultPlan:
        """A plan from `{2: "hang", 3: Fault(...), "429": 0.3}`."""
        scripted = {n: f if isinstance(f, Fault) else Fault.named(f) for n, f in faults.items() if isinstance(n, int)}
        return cls(scripted, {n: p for n, p in faults.items() if isinstance(n, str)}, seed)

    def fault_for(self, number: int) -> Fault | None:
        """The fault that request `number` meets, or None."""
        if number in self.scripted:
            return self.scripted[number]
        drawn = random.Random(f"{self.seed}:{number}").random()
        for name, probability in self.chances.items():
            if drawn < probability:
                return Fault.named(name)
            drawn -= probability
        return None
