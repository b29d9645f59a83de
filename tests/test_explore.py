"""Exploration and the fit of the representation, on a world of one point on a line."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rig.algorithm import collect, represent
from rig.goals import LatentFrame
from rig.goals.frame import IdentityConfig, StandardisedConfig
from rig.rewards import LatentDistance, LatentDistanceConfig
from tests.point_line import (
    LATENT_DISTANCE,
    WIDTH,
    WORLDS,
    Centroid,
    Numbered,
    PointLine,
    Reader,
    check_exploration,
    film_of,
    seeded,
    silent,
)  # fmt: skip


class Noted(LatentDistance):
    """A reward that remembers what it was fitted to."""

    def fit(self, observed: Tensor, episodes: Tensor, weight: Tensor, generator: torch.Generator) -> None:
        self.fitted = episodes


def test_exploration_films_whole_episodes_of_held_actions() -> None:
    env, calls, rounds = PointLine(), [], 34  # the fewest of 3 episodes of 10 frames that make 1,000
    frames = collect(env, Centroid(), 1000, 9, 4.0, False, seeded(0), lambda done, total, _: calls.append((done, total)))
    assert frames.shape == (rounds * WORLDS, 10, 1, WIDTH, 3) and frames.dtype == torch.uint8
    filmed = [round * WORLDS * 10 + step * WORLDS for round in range(rounds) for step in range(2, 11)]
    assert calls == [(done, rounds * WORLDS * 10) for done in filmed] and filmed[-1] == rounds * WORLDS * 10
    assert env.resets == [None] * rounds and len(env.actions) == rounds * 9
    positions = torch.from_numpy(np.stack(env.positions)).view(rounds, 10, WORLDS).permute(0, 2, 1).flatten(0, 1)
    torch.testing.assert_close(frames.flatten(0, 1).float(), film_of(positions[..., None]), rtol=0, atol=0.51)
    check_exploration(np.concatenate(env.actions, 1).reshape(WORLDS, rounds, 9), 4.0)


def test_exploration_begins_at_random_states_only_where_asked_to() -> None:
    env = PointLine()
    frames = collect(env, Centroid(), 90, 4, 3.0, True, seeded(0), silent)
    starts = np.concatenate(env.resets)
    assert len(np.unique(starts)) == len(frames) == 18 and starts.std() > 1
    torch.testing.assert_close(Centroid().encode(frames[:, 0]), torch.from_numpy(starts), rtol=0, atol=0.01)


def test_exploration_is_the_generators() -> None:
    films = [collect(PointLine(), Centroid(), 90, 4, 3.0, False, seeded(seed), silent) for seed in (0, 0, 1)]
    assert torch.equal(films[0], films[1]) and not torch.equal(films[0], films[2])


def test_the_oracle_collects_states() -> None:
    states = collect(PointLine(sees="state"), Reader(), 90, 4, 3.0, False, seeded(0), silent)
    assert states.shape == (18, 5, 1) and states.dtype == torch.float32
    assert bool((states.diff(dim=1).abs() <= 0.5001).all())


def test_the_representation_is_fitted_in_order() -> None:
    encoder, goals, frame, reward = Centroid(), Numbered(), LatentFrame(StandardisedConfig(), 1), Noted(LatentDistanceConfig())
    observed = collect(PointLine(), encoder, 90, 4, 3.0, True, seeded(0), silent)
    found = represent(encoder, goals, frame, reward, observed, seeded(1), silent)
    assert found.metrics == {"reconstruction": 0.25, "active_units": 1} and found.weight is None
    assert torch.equal(encoder.fitted, observed.flatten(0, 1))
    latent = encoder.encode(observed.flatten(0, 1))
    assert torch.equal(found.latent, latent)
    assert torch.equal(goals.fitted, latent)  # the prior is over the encoder's means, not over the frame's coordinates
    torch.testing.assert_close(frame(latent).std(0, correction=0), torch.ones(1))
    assert torch.equal(reward.fitted, frame(latent).view(18, 5, 1))  # and the reward is over the frame's


def test_slow_frames_are_fitted_to_whole_episodes() -> None:
    received: list[Tensor] = []
    frame = LatentFrame(IdentityConfig(), 1)
    frame.fit = lambda episodes, generator: received.append(episodes)  # type: ignore[method-assign]
    encoder = Centroid()
    observed = collect(PointLine(), encoder, 90, 4, 3.0, True, seeded(0), silent)
    represent(encoder, Numbered(), frame, LATENT_DISTANCE, observed, seeded(1), silent)
    assert received[0].shape == (18, 5, 1)
    assert bool((received[0].diff(dim=1).abs() < 0.52).all())  # neighbours along T are neighbours in time
