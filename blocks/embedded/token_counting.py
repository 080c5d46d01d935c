"""Tokens of texts, as the embedded embedding model reads them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from blocks.embedded.embedding_model import tokenizer_path

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BYTES_A_TOKEN = 4
"""Of what the vocabulary does not know: other models read such text piece by piece."""
CHARACTERS_A_TOKEN = 32
"""At most, blanks apart: this model does not see signs without a width, others do."""


def count_tokens(texts: Sequence[str]) -> list[int]:
    """Tokens of each text, without those that the model puts around it.

    A word that the vocabulary does not know is one token to this model, be it a line of base64; it counts by its
    bytes, so that a text that fits here fits other models as well; so do signs that it passes over.

    Raises:
        ConfigurationError: the tokenizer's package is missing.
    """
    tokenizer, unknown = _tokenizer()
    encodings = tokenizer.encode_batch(list(texts), add_special_tokens=False)
    return [
        max(_size(text, encoding.ids, encoding.offsets, unknown), _least(text))
        for text, encoding in zip(texts, encodings, strict=True)
    ]


def _least(text: str) -> int:
    return sum(map(len, text.split())) // CHARACTERS_A_TOKEN


def _size(text: str, ids: Sequence[int], offsets: Sequence[tuple[int, int]], unknown: int) -> int:
    if unknown not in ids:
        return len(ids)
    sizes = (
        -(-len(text[start:end].encode(errors="replace")) // BYTES_A_TOKEN) if token == unknown else 1
        for token, (start, end) in zip(ids, offsets, strict=True)
    )
    return sum(sizes)


@cache
def _tokenizer() -> tuple[Tokenizer, int]:
    """The tokenizer and its token for an unknown word."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_path()))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    unknown = tokenizer.token_to_id("[UNK]")
    return tokenizer, -1 if unknown is None else unknown
