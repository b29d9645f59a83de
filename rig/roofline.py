"""What a device can do at most, measured: its roofline (Williams, Waterman & Patterson 2009)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch


class Work(NamedTuple):
    """What has to be done, however it is done."""

    flops: float
    """floating-point operations of its matrix products and convolutions"""
    moved: float
    """bytes that are read or written, each array once"""


class Limits(NamedTuple):
    """The most that a device does of either, a second."""

    flops: float
    bandwidth: float

    def least(self, work: Work) -> tuple[float, str]:
        """Seconds below which work cannot be done, and what forbids it: arithmetic or memory.

        What a cache holds from call to call can be read faster than that.
        """
        arithmetic, memory = work.flops / self.flops, work.moved / self.bandwidth
        return (arithmetic, "arithmetic") if arithmetic >= memory else (memory, "memory")


def limits(device: torch.device, dtype: torch.dtype = torch.float32) -> Limits:
    """Of a device, where matrix products are of `dtype`; takes about a second."""
    return Limits(peak_flops(device, dtype), peak_bandwidth(device))


def peak_flops(device: torch.device, dtype: torch.dtype = torch.float32, size: int = 0) -> float:
    """The most operations a second that this device does in a square matrix product, measured for half a second."""
    size = size or (8192 if device.type == "cuda" else 1024)
    a, b = torch.rand((2, size, size), device=device).to(dtype)
    out = torch.empty_like(a)
    return 2 * size**3 / _fastest(lambda: torch.mm(a, b, out=out), device)


def peak_bandwidth(device: torch.device, size: int = 1 << 28) -> float:
    """The most bytes a second that this device reads and writes, copying `size` of them, measured for half a second."""
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.ones_like(source)
    return 2 * size / _fastest(lambda: target.copy_(source), device)


def _fastest(work: Callable[[], object], device: torch.device, seconds: float = 0.5) -> float:
    """Seconds of the fastest of the calls that can be made in half a second."""
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return best
