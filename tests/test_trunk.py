"""Convolutions that a learner trains: what they read, what trains them, and what a shift does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from rig.cli import main
from rig.encoders.pixels import Pixels, PixelsConfig
from rig.learners import LEARNERS
from rig.learners.base import Learner
from rig.trunk import Trunk
from rig.types import Batch, silent

SHAPE = (24, 20, 3)
NUMBERS = 24 * 20 * 3


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def trunk(shift: int = 2) -> Trunk:
    return Trunk(SHAPE, 4, 8, shift, seeded(0))


def pictures(count: int, seed: int = 1) -> Tensor:
    """u8[count, 24, 20, 3]"""
    return torch.randint(0, 256, (count, *SHAPE), generator=seeded(seed), dtype=torch.uint8)


def learner(name: str, **settings: Any) -> Learner:
    kind: Any = LEARNERS[name]
    encoder = Pixels(PixelsConfig(width=4, features=8, shift=2), SHAPE, seeded(0))
    return kind(kind.Config(hidden=(16,), **settings), NUMBERS, 2, seeded(3), encoder.make_trunk)


def batch(seed: int) -> Batch:
    latent, goal, after = torch.randn((3, 16, NUMBERS), generator=seeded(seed))
    action = torch.rand((16, 2), generator=seeded(seed)) * 2 - 1
    return Batch(latent, goal, action, -torch.rand(16, generator=seeded(seed)), after, torch.ones(16))


def test_codes_are_scaled_pictures_that_can_be_seen_again() -> None:
    encoder, frames = Pixels(PixelsConfig(), SHAPE, seeded(0)), pictures(40)
    encoder.fit(frames.unflatten(0, (4, 10)), seeded(0), silent)
    codes = encoder.encode(frames)
    assert codes.shape == (40, NUMBERS)
    assert float(codes.var(0, correction=0).sum()) == pytest.approx(2, rel=1e-3)
    assert torch.equal(encoder.decode(codes), frames)


def test_a_shift_moves_every_picture_by_whole_pixels_and_repeats_its_edges() -> None:
    frames = torch.randn((200, 3, 24, 20), generator=seeded(2))
    moved = trunk(shift=2).shifted(frames.flatten(1), seeded(5)).unflatten(1, (3, 24, 20))
    padded = torch.nn.functional.pad(frames, (2, 2, 2, 2), mode="replicate")
    found = set()
    for one, around in zip(moved, padded, strict=True):
        ways = [(y, x) for y in range(5) for x in range(5) if torch.equal(one, around[:, y : y + 24, x : x + 20])]
        assert len(ways) == 1
        found.add(ways[0])
    assert len(found) == 25
    assert torch.equal(trunk(shift=0).shifted(frames.flatten(1), seeded(5)), frames.flatten(1))


@pytest.mark.parametrize("name", ["td3", "ddpg", "sac"])
def test_the_critics_train_the_trunk_and_the_actor_does_not(name: str) -> None:
    agent = learner(name)
    assert agent.trunk is not None
    before = [p.clone() for p in agent.trunk.parameters()]
    loss = agent.actor_loss(batch(0)) if name != "sac" else agent.actor_loss(batch(0), torch.zeros(16, 2))[0]  # pyright: ignore
    agent.actor_optimiser.minimise(loss)  # pyright: ignore
    assert all(torch.equal(a, b) for a, b in zip(before, agent.trunk.parameters(), strict=True))
    agent.update(batch(0), seeded(0))
    assert not any(torch.equal(a, b) for a, b in zip(before, agent.trunk.parameters(), strict=True))


@pytest.mark.parametrize("name", ["td3", "ddpg", "sac"])
def test_the_same_seeds_and_state_make_the_same_updates(name: str) -> None:
    first, second = learner(name, reset_every=3), learner(name, reset_every=3)
    for number in range(2):
        first.update(batch(number), seeded(number))
    second.load_state_dict(first.state_dict())
    for number in range(2, 6):  # over a beginning anew, trunk included
        metrics = [agent.update(batch(number), seeded(number)) for agent in (first, second)]
        assert all(torch.equal(metrics[0][key], metrics[1][key]) for key in metrics[0])
    for one, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_actions_do_not_depend_on_shifts() -> None:
    agent, given = learner("td3", candidates=1), batch(7)
    assert torch.equal(agent.act(given.latent, given.goal), agent.act(given.latent, given.goal))


def test_a_picture_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="leave nothing of a picture of 14 pixels a side"):
        Pixels(PixelsConfig(), (14, 48, 3), seeded(0))


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (["preset=drq", "learner=sb3_td3"], "learner=sb3_td3 trains its own networks alone; try learner=td3 or learner=sac"),
        (["preset=drq", "frame=slow"], "frame=slow with encoder=pixels: it takes the covariance of codes of at most 2,048"),
        (["preset=drq", "goals=gaussian_full"], "and these have 6,912; try goals=replayed"),
        (["preset=drq", "goals=skewed"], "and these have 6,912; try skew.power=0 goals=replayed"),
        (["preset=drq", "reward=mahalanobis"], "and these have 6,912; try reward=latent_distance"),
        (["preset=drq", "reward=log_prob"], "reward=log_prob with encoder=pixels goals=replayed: "),
    ],
)
def test_what_goes_not_with_pixels_is_one_line(
    typed: list[str], line: str, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *typed, f"run_dir={tmp_path / 'run'}"]) == 2
    said = capsys.readouterr().err.strip()
    assert line in said and "\n" not in said
    assert not (tmp_path / "run").exists()
