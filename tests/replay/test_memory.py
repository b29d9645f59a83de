"""Where a ring keeps its frames makes no difference to what it does; where there is no room for them, one line says so."""

from __future__ import annotations

import errno
import os
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rig.config_check import OPTIONS
from rig.encoders.beta_vae import BetaVAE, BetaVAEConfig
from rig.errors import UserError
from rig.replay import Ring
from rig.replay.memory import MEMORIES, on_disk
from tests.replay.test_ring import HORIZON, MIXED, WORLDS, draw, play, same_samples

CPU = torch.device("cpu")
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA here"))]
MAPS = Path("/proc/self/maps")


def ring_in(memory: str, folder: Path, device: torch.device = CPU) -> Ring:
    return Ring(60, HORIZON, WORLDS, (1, 1, 3), torch.uint8, 2, 2, device, memory, folder)


def samples(ring: Ring) -> list[Tensor]:
    generator = torch.Generator(ring.latent.device).manual_seed(0)
    return [part.cpu() for part in ring.sample(1, 500, MIXED, ring.version, generator)[0][:-1]]


def test_every_memory_can_be_asked_for() -> None:
    assert OPTIONS["replay.memory"] == tuple(MEMORIES)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("steps", [8, 34])
def test_samples_and_stored_episodes_are_the_same_in_every_memory(tmp_path: Path, memory: str, steps: int, device: str) -> None:
    ring, plain = (play(ring_in(kind, tmp_path, torch.device(device)), steps) for kind in (memory, "device"))
    assert ring.bytes_per_transition == plain.bytes_per_transition
    for ours, theirs in zip(samples(ring), samples(plain), strict=True):
        assert torch.equal(ours, theirs)
    oldest, closed = max(0, ring.begun - ring.rows), ring.begun - WORLDS
    for first in (oldest, closed - WORLDS):
        ours, theirs = ring.episodes(first, closed), plain.episodes(first, closed)
        for name in theirs:
            assert torch.equal(ours[name].cpu(), theirs[name].cpu()), name


@pytest.mark.parametrize("memory", MEMORIES)
def test_episodes_go_from_any_memory_into_any_other(tmp_path: Path, memory: str) -> None:
    ring, back = play(ring_in("device", tmp_path), 34), ring_in(memory, tmp_path)
    back.begun, back.step, back.version = ring.begun, ring.step, ring.version
    oldest = ring.begun - ring.rows
    back.put(oldest, ring.episodes(oldest, ring.begun))
    assert same_samples(ring, back)
    assert torch.equal(back.episodes(oldest, ring.begun)["observed"], ring.episodes(oldest, ring.begun)["observed"])
    draw(play(back, 9), 100)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("memory", MEMORIES)
def test_a_refresh_makes_the_codes_that_the_encoder_makes_of_each_frame(tmp_path: Path, memory: str, device: str) -> None:
    on, draws = torch.device(device), torch.Generator().manual_seed(0)
    encoder = BetaVAE(BetaVAEConfig(), (32, 32, 3), draws).to(on)
    ring = Ring(300, 20, 1, (32, 32, 3), torch.uint8, encoder.latent_dim, 2, on, memory, tmp_path)  # 15 episodes of 21 frames
    frames = torch.randint(0, 256, (ring.rows, 21, 32, 32, 3), dtype=torch.uint8, generator=draws)
    ring.observed.copy_(frames)
    ring.latent.zero_()
    ring.begun, ring.step = 18, 7  # gone round: row 2 is open
    ring.refresh(encoder.encode, version=5)
    for row, step in ((0, 0), (1, 20), (2, 7), (3, 0), (9, 11), (14, 20)):
        torch.testing.assert_close(ring.latent[row, step], encoder.encode(frames[row, step][None].to(on))[0])
    assert not ring.latent[2, 8:].any() and ring.version == 5


@pytest.mark.skipif(not MAPS.exists(), reason="only Linux tells what is mapped")
def test_frames_on_disk_lie_in_a_file_of_the_folder_that_has_no_name(tmp_path: Path) -> None:
    frames = on_disk((4, 11, 48, 48, 3), torch.uint8, CPU, tmp_path)
    assert list(tmp_path.iterdir()) == [] and MAPS.read_text().count(str(tmp_path)) == 1
    del frames
    assert str(tmp_path) not in MAPS.read_text()


def test_a_map_has_any_shape_and_dtype_and_any_folder(tmp_path: Path) -> None:
    states = on_disk((3, 2, 5), torch.float32, CPU, tmp_path)
    states.copy_(torch.arange(30).view(3, 2, 5))
    assert states.dtype == torch.float32 and states[2, 1].tolist() == [25, 26, 27, 28, 29]
    assert torch.equal(on_disk((2, 3), torch.uint8, CPU, None), torch.zeros(2, 3, dtype=torch.uint8))


def test_a_disk_without_the_room_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10_000))
    line = (
        f"cannot keep the replay memory in {tmp_path}: No space left on device ({tmp_path}); 13,824 bytes are needed and "
        f"10,000 are free; make room, or choose replay.memory=host"
    )
    with pytest.raises(UserError) as raised:
        on_disk((2, 48, 48, 3), torch.uint8, CPU, tmp_path)
    assert str(raised.value) == line and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("refusal", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_what_the_system_refuses_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int) -> None:
    def refuse(descriptor: int, start: int, length: int) -> None:
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    with pytest.raises(UserError, match=f"cannot keep the replay memory in .*: {os.strerror(refusal)}"):
        on_disk((9,), torch.uint8, CPU, tmp_path)


def test_a_folder_that_cannot_be_written_to_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot keep the replay memory in .*: No such file or directory"):
        on_disk((9,), torch.uint8, CPU, tmp_path / "nowhere")
