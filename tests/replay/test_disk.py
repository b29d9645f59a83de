"""Replay chunks: written at one stroke, read back as they were."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rig.errors import UserError
from rig.replay.disk import read_chunk, write_chunk


def test_a_chunk_comes_back_with_shape_and_dtype(tmp_path: Path) -> None:
    path = tmp_path / "replay" / "000000.safetensors"
    frames = torch.arange(2 * 3 * 4 * 4 * 3).to(torch.uint8).reshape(2, 3, 4, 4, 3)
    chunk = {"frame": frames, "tail": frames[1:, ::2], "length": torch.tensor([3, 1]), "episodes": torch.tensor(2)}
    write_chunk(path, chunk)
    back = read_chunk(path)
    assert back.keys() == chunk.keys()
    for name, tensor in chunk.items():
        assert back[name].dtype == tensor.dtype and torch.equal(back[name], tensor)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_missing_or_damaged_chunk_is_named(tmp_path: Path) -> None:
    path = tmp_path / "chunk.safetensors"
    with pytest.raises(UserError, match=r"cannot read replay chunk .*chunk.safetensors: No such file"):
        read_chunk(path)
    write_chunk(path, {"frame": torch.zeros(9)})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"replay chunk .*chunk.safetensors is damaged"):
        read_chunk(path)
