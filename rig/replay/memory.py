"""Where a ring keeps its observations, which sampling never reads: on the run's device, in the host's memory, or on disk."""

from __future__ import annotations

import errno
import math
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from rig import files


def on_device(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, folder: Path | None) -> Tensor:
    """An array of this shape on `device`, not yet written to."""
    return torch.empty(shape, dtype=dtype, device=device)


def on_host(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, folder: Path | None) -> Tensor:
    """The same on the CPU, pinned where `device` is CUDA."""
    return torch.empty(shape, dtype=dtype, pin_memory=device.type == "cuda")


def on_disk(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, folder: Path | None) -> Tensor:
    """The same, zeros, as a map of a file in `folder` (None: in the system's folder for temporary files).

    The file has no name, so that a run that is killed leaves nothing behind. Its room is reserved at once: writing into the map
    on a disk that has become full would kill the process.

    Raises:
        UserError: the disk has not the room, or cannot be written to.
    """
    where = folder or Path(tempfile.gettempdir())
    needed = math.prod(shape) * dtype.itemsize
    explained = files.explained(f"keep the replay memory in {where}", where, needed, "make room, or choose replay.memory=host")
    with explained, tempfile.TemporaryFile(dir=where) as file:
        if shutil.disk_usage(where).free < needed:  # else others would find the disk full while it is tried
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, needed)
        else:  # macOS
            os.ftruncate(file.fileno(), needed)
        return torch.frombuffer(mmap.mmap(file.fileno(), needed), dtype=dtype).view(shape)


def prefetched(blocks: Iterable[Tensor], device: torch.device) -> Iterator[Tensor]:
    """CPU tensors brought to `device`, which is CUDA, one after another: while one is being used, the next is on its way."""
    copies, present = torch.cuda.Stream(device), None
    for block in chain(blocks, [None]):
        torch.cuda.current_stream(device).wait_stream(copies)  # `present` has arrived
        following = None
        if block is not None:
            with torch.cuda.stream(copies):
                following = block.pin_memory().to(device, non_blocking=True)
        if present is not None:
            present.record_stream(torch.cuda.current_stream(device))
            yield present
        present = following


MEMORIES: dict[str, Callable[[tuple[int, ...], torch.dtype, torch.device, Path | None], Tensor]] = {
    "device": on_device,
    "host": on_host,
    "disk": on_disk,
}
