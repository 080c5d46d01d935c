"""Tokens counted as the embedded model counts them, without the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from blocks.embedded.embedding_model import tokenizer_path


@lru_cache(maxsize=1)
def token_counter() -> Callable[[Sequence[str]], list[int]]:
    """What says of several texts how many tokens each has; markers around a text are not counted.

    Raises:
        ConfigurationError: the tokenizer is not installed.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_path()))
    tokenizer.no_padding()
    tokenizer.no_truncation()

    def count(texts: Sequence[str]) -> list[int]:
        return [len(each) for each in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    return count
