"""Tokens of a text in the vocabulary of a model, where that is on this machine: nothing is fetched.

LiteLLM brings the vocabularies of OpenAI's models in a folder that is laid out as tiktoken's cache.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from blocks.providers.token_bound import count_text_tokens

if TYPE_CHECKING:
    from tiktoken import Encoding

CACHE = "TIKTOKEN_CACHE_DIR"
_CL100K, _O200K = "9b5ad71b2ce5302211f9c61530b329a4922fc6a4", "fb374d419588a4632f3f557e76b4b70aebbca790"
_FILES = {"cl100k_base": _CL100K, "o200k_base": _O200K, "o200k_harmony": _O200K}
"""Names of files in the cache: the SHA-1 of the address that each vocabulary is from."""
PIECE = 4096
"""Signs that are counted at a time, as time grows with the square of a word's length; a piece may add a token."""


@cache
def token_counter(model: str) -> Callable[[str], int]:
    """Counts the tokens that texts have for the model; where its vocabulary is not here, the most they can have."""
    encoding = _encoding_of(model)
    if encoding is None:
        return count_text_tokens
    encode = encoding.encode_ordinary
    return lambda text: sum(len(encode(text[begin : begin + PIECE])) for begin in range(0, len(text), PIECE))


def _encoding_of(model: str) -> Encoding | None:
    from tiktoken import get_encoding
    from tiktoken.model import encoding_name_for_model

    try:
        name = encoding_name_for_model(model.rpartition("/")[2])
    except KeyError:
        return None
    return get_encoding(name) if _is_here(name) else None


def _is_here(name: str) -> bool:
    """Whether the vocabulary is in tiktoken's cache, which is LiteLLM's folder unless it is set otherwise."""
    litellm = find_spec("litellm")
    if name not in _FILES or litellm is None or litellm.origin is None:
        return False
    folder = os.environ.setdefault(CACHE, str(Path(litellm.origin).parent / "litellm_core_utils" / "tokenizers"))
    return (Path(folder) / _FILES[name]).is_file()
