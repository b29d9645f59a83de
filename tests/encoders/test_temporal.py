"""Encoders that learn from which frames follow each other, and the pairs that they are shown."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rig.encoders.contrastive import Contrastive, ContrastiveConfig
from rig.encoders.dynamics_distance import DynamicsDistance, DynamicsDistanceConfig
from rig.encoders.training import Pairs
from rig.encoders.vib import VIB, VIBConfig
from tests.encoders.test_spatial_vae import seeded, silent

SIZE, LENGTH = 24, 17


def numbered(episodes: int, length: int) -> Tensor:
    """Frames u8[E, T, 1, 1, 3] that say their episode, their step, and nothing."""
    frames = torch.zeros(episodes, length, 1, 1, 3, dtype=torch.uint8)
    frames[..., 0] = torch.arange(episodes)[:, None, None, None]
    frames[..., 1] = torch.arange(length)[:, None, None]
    return frames


@pytest.mark.parametrize(("least", "most"), [(1, 1), (1, 4), (3, 3), (1, 50), (50, 50)])
def test_pairs_are_of_one_episode_and_as_far_apart_as_asked(least: int, most: int) -> None:
    pairs = Pairs(numbered(5, LENGTH), least, most)
    rows = torch.arange(pairs.count).repeat(40)
    first, later, gap = pairs.draw(rows, seeded(0))
    first, later = first[:, 0, 0].int(), later[:, 0, 0].int()
    assert torch.equal(first[:, 0], later[:, 0])
    assert torch.equal((later - first)[:, 1], gap.int())
    least, most = min(least, LENGTH - 1), min(most, LENGTH - 1)
    assert set(gap.tolist()) == set(range(least, most + 1))  # every gap, and no other
    starts = {(e, t) for e in range(5) for t in range(LENGTH - least)}
    assert {(int(e), int(t)) for e, t in first[:, :2]} == starts and pairs.count == len(starts)


def test_gaps_are_drawn_evenly_from_those_that_fit() -> None:
    pairs = Pairs(numbered(1, LENGTH), 1, 4)
    _, _, early = pairs.draw(torch.zeros(8000, dtype=torch.int64), seeded(0))
    _, _, late = pairs.draw(torch.full((8000,), LENGTH - 3), seeded(0))
    for gap, number in ((early, 4), (late, 2)):
        assert (gap.long().bincount()[1:] / 8000).tolist() == pytest.approx([1 / number] * number, abs=0.02)


def sliding(episodes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Episodes u8[E, T, 24, 24, 3] of a bright bar that moves a pixel a step to the right, and its columns f32[E, T].

    Another bar, as large, jumps anywhere at each step.
    """
    column = (torch.randint(0, LENGTH, (episodes, 1), generator=seeded(seed)) + torch.arange(LENGTH)) % LENGTH + 2
    elsewhere = torch.randint(0, SIZE - 3, (episodes, LENGTH), generator=seeded(seed + 1))
    place = torch.arange(SIZE)
    frames = torch.full((episodes, LENGTH, SIZE, SIZE, 3), 60, dtype=torch.uint8)
    for rows, left in ((slice(2, 10), column), (slice(14, 22), elsewhere)):
        bar = (place >= left[..., None]) & (place < left[..., None] + 3)
        frames[:, :, rows] = torch.where(bar, 220, 60).to(torch.uint8)[:, :, None, :, None]
    return frames, column.float()


def test_a_contrastive_code_is_near_where_frames_are_near_in_time() -> None:
    episodes, _ = sliding(60, seed=0)
    training = replace(ContrastiveConfig().training, steps=120, batch=64)
    config = ContrastiveConfig(latent_dim=4, window=2, width=8, hidden=64, training=training)
    encoder = Contrastive(config, (SIZE, SIZE, 3), seeded(0))
    metrics = encoder.fit(episodes, seeded(1), silent)
    assert metrics["loss"] < math.log(64) - 0.5
    fresh, truth = sliding(20, seed=7)
    code, place = encoder.encode(fresh.flatten(0, 1)), truth.flatten()
    one, other = torch.randint(len(place), (2, 4000), generator=seeded(2))
    distance, apart = (code[one] - code[other]).norm(dim=1), (place[one] - place[other]).abs()
    near = apart < 8  # beyond, the way round is the shorter one
    assert float(torch.corrcoef(torch.stack((distance[near], apart[near])))[0, 1]) > 0.95


def test_a_dynamical_distance_is_the_steps_between() -> None:
    episodes, _ = sliding(60, seed=0)
    training = replace(DynamicsDistanceConfig().training, steps=200)
    config = DynamicsDistanceConfig(latent_dim=4, span=8, scale=4.0, width=8, hidden=64, training=training)
    encoder = DynamicsDistance(config, (SIZE, SIZE, 3), seeded(0))
    metrics = encoder.fit(episodes, seeded(1), silent)
    fresh, _ = sliding(20, seed=7)
    code = encoder.encode(fresh.flatten(0, 1)).unflatten(0, fresh.shape[:2])
    for gap in (1, 3, 6):
        inner = slice(4, LENGTH - 4)  # away from where the bar comes in on the other side
        steps = 4.0 * (code[:, inner][:, gap:] - code[:, inner][:, :-gap]).norm(dim=2)
        assert float(steps.median()) == pytest.approx(gap, abs=1.0), metrics


def test_a_bottleneck_foresees_what_moves_and_forgets_what_jumps() -> None:
    episodes, _ = sliding(120, seed=0)
    training = replace(VIBConfig().training, steps=250)
    encoder = VIB(VIBConfig(latent_dim=4, ahead=2, width=8, hidden=64, beta=1.0, training=training), (SIZE, SIZE, 3), seeded(0))
    encoder.fit(episodes, seeded(1), silent)
    fresh, _ = sliding(30, seed=7)
    now, later = fresh[:, :-2].flatten(0, 1), fresh[:, 2:].flatten(0, 1).float()
    shown = encoder.decode(encoder.encode(now)).float()
    mean = episodes.flatten(0, 1).float().mean(0)

    def missed(rows: slice) -> float:
        """The squared error of what is foreseen, of that of the mean picture."""
        return float((shown - later)[:, rows].square().mean() / (mean - later)[:, rows].square().mean())

    assert missed(slice(2, 10)) < 0.75 and missed(slice(14, 22)) > 0.9
