"""What a device can do at most, and what that means for a piece of work."""

from __future__ import annotations

import torch

from rig.roofline import Limits, Work, peak_bandwidth, peak_flops

CPU = torch.device("cpu")


def test_peaks_are_no_more_than_machines_do_and_no_less() -> None:
    assert 1e8 < peak_flops(CPU, size=256) < 1e14
    assert 1e8 < peak_bandwidth(CPU, size=1 << 24) < 1e13


def test_work_is_limited_by_what_takes_longer() -> None:
    most = Limits(flops=1e9, bandwidth=1e8)
    assert most.least(Work(flops=5e9, moved=1e8)) == (5.0, "arithmetic")
    assert most.least(Work(flops=5e9, moved=9e8)) == (9.0, "memory")
    assert most.least(Work(flops=0, moved=2e8)) == (2.0, "memory")
