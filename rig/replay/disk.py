"""Replay on disk: chunks, written once, never changed, and listed with their sums in the checkpoints that need them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from torch import Tensor

from rig import files, tensors
from rig.errors import UserError


def write_chunk(path: Path, chunk: Mapping[str, Tensor]) -> None:
    """Put tensors of any shape, dtype and device on disk, at one stroke; `path` ends in .safetensors, its folder is made.

    Raises:
        UserError: the disk is full or cannot be written to; nothing half-written is left.
    """
    files.write(path, tensors.pack(chunk))


def read_chunk(path: Path) -> dict[str, Tensor]:
    """What `write_chunk` was given, on the CPU.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        return tensors.unpack(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read replay chunk {path}: {error.strerror}") from error
    except SafetensorError as error:
        raise UserError(f"replay chunk {path} is damaged: {error}") from error
