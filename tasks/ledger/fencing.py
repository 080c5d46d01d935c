"""Text that others wrote, put into a prompt so that it cannot be taken for the prompt. No I/O.

What is quoted stands between tags whose names end in a fence: sixteen hexadecimal digits of a SHA-256 over the request
and over everything that is quoted in it. Who writes a material cannot close its tag early: the fence depends on the
question, on the other passages, and on the material itself, so that writing it into the material changes it. It needs
no chance, and so equal requests are equal prompts, whose answers are replayed. The instructions are in the system
message alone, which names the fence; the marks of chat templates (`<|im_end|>`) are taken apart where they are quoted.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

FENCE_DIGITS = 16
APART = "\u200b"
"""A space without width; comparing quotes overlooks it."""
_CONTROL = re.compile(r"<(?=\|)|\[(?=/?INST\])|<(?=/?(?:s|start_of_turn|end_of_turn)>)")


def fence_for(request: str, quoted: Iterable[str]) -> str:
    """The fence of a request that quotes `quoted`, which none of them holds."""
    texts = [request, *quoted]
    digest = hashlib.sha256()
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    while any(digest.hexdigest()[:FENCE_DIGITS] in text for text in texts):
        digest.update(b"again")
    return digest.hexdigest()[:FENCE_DIGITS]


def quote(name: str, text: str, fence: str, *, number: int | None = None) -> str:
    """`text` between tags called `name` with the fence, the opening one with a number."""
    counted = "" if number is None else f" {number}"
    return f"<{name}-{fence}{counted}>\n{disarm(text)}\n</{name}-{fence}>"


def disarm(text: str) -> str:
    """`text` in which no model's chat template finds a mark of its own."""
    return _CONTROL.sub(lambda found: found[0] + APART, text)
