"""Reads exported folders with the libraries that training files are for, and writes down what they found.

Run by the Python that has them: `python read_back.py ANSWER FORMAT=FOLDER…`. Knows nothing of Headrace.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

TEMPLATE = (
    "{% for turn in messages %}<{{ turn['role'] }}>{{ turn['content'] }}</>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
TRL = ("openai-sft", "trl-sft", "trl-dpo", "trl-kto", "sharegpt", "parquet")


def main(answer: str, *exports: str) -> None:
    """The file ANSWER has, by format and part, rows as `datasets`, `trl` and `pandas` have them."""
    found = {}
    for each in exports:
        chosen, _, folder = each.partition("=")
        kind = "parquet" if chosen == "parquet" else "jsonl"
        files = {path.stem: path for part in ("train", "test") if (path := Path(folder) / f"{part}.{kind}").exists()}
        found[chosen] = {part: read(chosen, path) for part, path in files.items()}
    Path(answer).write_text(json.dumps(found), encoding="utf-8")


def read(chosen: str, path: Path) -> dict[str, Any]:
    """The rows of a file."""
    import datasets

    loader = "parquet" if chosen == "parquet" else "json"
    loaded = datasets.load_dataset(loader, data_files=str(path), split="train")
    rows = loaded.to_list()
    trl = [templated(chosen, json.loads(json.dumps(row))) for row in rows] if chosen in TRL else []
    if chosen == "trl-dpo":
        from trl import unpair_preference_dataset

        assert len(unpair_preference_dataset(loaded)) == 2 * len(rows)
    return {"datasets": rows, "pandas": with_pandas(path), "trl": trl}


def with_pandas(path: Path) -> list[Any]:
    """The rows as pandas reads them."""
    import pandas

    if path.suffix == ".parquet":
        frame = pandas.read_parquet(path)
    else:
        frame = pandas.read_json(path, lines=True, dtype=False, convert_dates=False, encoding="utf-8")
    return [plain(row) for row in frame.to_dict(orient="records")]


def plain(value: Any) -> Any:
    """The value without numpy's types; what is missing is None."""
    if isinstance(value, dict):
        return {name: plain(member) for name, member in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list):
        return [plain(member) for member in value]
    return None if value != value else value


def templated(chosen: str, row: dict[str, Any]) -> dict[str, Any]:
    """What TRL's trainers make of the row before they count tokens; raises where they know no such row."""
    from trl.data_utils import is_conversational, maybe_apply_chat_template, maybe_convert_to_chatml

    if chosen == "sharegpt":
        row = maybe_convert_to_chatml(row)
    if chosen == "parquet":
        row = {"messages": row["messages"]}
    assert is_conversational(row), row
    return dict(maybe_apply_chat_template(row, tokenizer()))


def tokenizer() -> Any:
    """A tokenizer with a chat template, made here: none has to be fetched."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    if not MADE:
        core = Tokenizer(WordLevel({"?": 0}, unk_token="?"))
        MADE.append(PreTrainedTokenizerFast(tokenizer_object=core, unk_token="?", chat_template=TEMPLATE))
    return MADE[0]


MADE: list[Any] = []

if __name__ == "__main__":
    main(*sys.argv[1:])
