"""A representation that is refitted while the policy learns: whatever was in its coordinates stays where it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rig import checkpoint
from rig.algorithm import RIG
from rig.encoders import Encoder
from rig.errors import UserError
from rig.goals import Gaussian, LatentFrame, Replayed
from rig.goals.frame import IdentityConfig, SlowConfig
from rig.goals.gaussian import GaussianConfig
from rig.goals.replayed import ReplayedConfig
from rig.learners import LEARNERS
from rig.learners.td3 import TD3Config
from rig.online import PROBED, Online, OnlineConfig
from rig.replay import RelabelConfig, Ring
from rig.skew import SkewConfig
from rig.state import Saver, restore_representation
from tests.point_line import LATENT_DISTANCE, WIDTH, Centroid, Numbered, PointLine, Recorder, seeded

HORIZON = 6
CPU = torch.device("cpu")


class Turning(Encoder):
    """The point's place beside a constant, turned and stretched anew whenever it is refitted."""

    def __init__(self) -> None:
        super().__init__()
        self.latent_dim, self.weights = 2, []
        self.register_buffer("turn", torch.eye(2))
        self.register_buffer("shift", torch.zeros(2))

    def fit(self, episodes: Tensor, generator: torch.Generator, report: Any) -> dict[str, float]:
        return self.refit(episodes.flatten(0, 1), None, 1, generator, report)

    def refit(
        self, observed: Tensor, weight: Tensor | None, steps: int, generator: torch.Generator, report: Any
    ) -> dict[str, float]:
        self.weights.append(weight)
        self.turn = torch.randn(2, 2, generator=generator) + 2 * torch.eye(2)
        self.shift = torch.randn(2, generator=generator)
        self.version += 1
        return {"loss": 0.5}

    def encode(self, observed: Tensor) -> Tensor:
        place = Centroid().encode(observed)
        return torch.cat((place, (place * 1.7).sin()), 1) @ self.turn.T + self.shift


def make(encoder: Encoder, goals: Any = None, learner: Any = None, online: OnlineConfig | None = None, **skew: float) -> RIG:
    env, dim = PointLine(), encoder.latent_dim
    entry: Any = LEARNERS["td3"]
    learner = learner or entry(TD3Config(hidden=(32, 32)), dim, 1, seeded(1))
    goals, frame = goals or Gaussian(GaussianConfig(), dim), LatentFrame(IdentityConfig(), dim)
    ring = Ring(400, HORIZON, env.num_envs, env.frame_shape, torch.uint8, dim, 1, CPU)
    config = online or OnlineConfig(every=10, frames=500)
    return RIG(
        env, encoder, goals, frame, LATENT_DISTANCE, learner, ring, RelabelConfig(), seeded(0), batch=16, random_steps=10,
        hold=2.0, updates_per_step=1, online=Online(config, SkewConfig(**skew), encoder, goals, frame, ring, learner),
    )  # fmt: skip


def stored(ring: Ring) -> Tensor:
    return ring.observed[: ring.begun].flatten(0, 1)


def test_a_refit_comes_between_episodes_and_not_before_its_time() -> None:
    agent, refits = make(Turning(), online=OnlineConfig(every=20, frames=500)), []
    for _ in range(8 * HORIZON):
        version = agent.encoder.version
        metrics = agent.step()
        if agent.encoder.version != version:
            assert agent.replay.step == 1 and "refit_value_jump" in metrics
            refits.append(agent.steps - agent.env.num_envs)
    assert refits == [36, 72, 108]  # episodes begin every 18 steps: the first time that 20 have passed, and so on
    assert agent.refitted == refits[-1]


def test_without_it_nothing_is_refitted_and_nothing_is_drawn() -> None:
    plain, online = make(Turning()), make(Turning(), online=OnlineConfig())
    plain.online = None
    for agent in (plain, online):
        for _ in range(4 * HORIZON):
            agent.step()
    assert online.encoder.version == 0 and torch.equal(plain.generator.get_state(), online.generator.get_state())


def test_whatever_the_encoder_turns_into_the_agent_sees_the_same() -> None:
    agent = make(Turning())
    for _ in range(3 * HORIZON):
        agent.step()
    assert agent.replay.step == HORIZON
    kept = {name: getattr(agent.replay, name)[: agent.replay.begun].clone() for name in ("latent", "goal", "action", "observed")}
    value, observed = agent.online.values(), stored(agent.replay)
    old = agent.encoder.encode(observed)
    metrics = agent.refit()
    assert float((agent.encoder.encode(observed) - old).abs().max()) > 0.5  # the code is another
    for name, was in kept.items():
        tolerance = 5e-3 if name == "latent" else 0
        torch.testing.assert_close(getattr(agent.replay, name)[: agent.replay.begun], was, rtol=0, atol=tolerance)
    torch.testing.assert_close(agent.replay.latent[: agent.replay.begun].flatten(0, 1), agent.code(observed), rtol=0, atol=1e-5)
    torch.testing.assert_close(agent.online.values(), value, rtol=0, atol=5e-3)
    assert float(metrics["refit_shift"]) < 5e-3 and float(metrics["refit_value_change"]) < 5e-3
    assert agent.replay.version == agent.encoder.version
    torch.testing.assert_close(agent.goals.mean, agent.encoder.encode(observed).mean(0), rtol=0, atol=0.2)


def test_the_value_jump_is_that_of_the_same_transitions() -> None:
    agent = make(Turning())
    for _ in range(3 * HORIZON):
        agent.step()
    agent.frame.follow = lambda latent, coordinates: None  # type: ignore[method-assign]
    before = agent.online.values()
    metrics = agent.refit()
    jump = agent.online.values() - before
    assert jump.shape == (2, PROBED)
    assert float(metrics["refit_value_jump"]) == pytest.approx(float(jump.mean()))
    assert float(metrics["refit_value_change"]) == pytest.approx(float(jump.abs().mean())) and float(jump.abs().mean()) > 0.01


def test_a_refit_sees_what_was_explored_too() -> None:
    agent, end = make(Centroid(), Replayed(ReplayedConfig(codes=400), 1)), torch.zeros(5, 6, 1, WIDTH, 3, dtype=torch.uint8)
    end[..., -1, :] = 255  # the far end of the line, where three episodes from its other end hardly come
    for _ in range(3 * HORIZON):
        agent.step()
    agent.online.keep(end)
    agent.refit()
    explored, held = agent.goals.table >= WIDTH - 1.01, agent.replay.begun * (HORIZON + 1)
    assert float(explored.float().mean()) == pytest.approx(30 / (30 + held), abs=0.01)


def test_of_the_exploration_frames_are_kept_evenly_and_none_without_refits() -> None:
    observed = torch.arange(60, dtype=torch.uint8).reshape(5, 12, 1)
    agent = make(Turning(), online=OnlineConfig(every=10, explored=6))
    agent.online.keep(observed)
    assert agent.online.explored.flatten().tolist() == [0, 11, 23, 35, 47, 59]
    for config in (OnlineConfig(every=0, explored=6), OnlineConfig(every=10, explored=0)):
        agent = make(Turning(), online=config)
        agent.online.keep(observed)
        assert agent.online.explored is None


def test_a_learner_without_critics_has_no_value_to_jump() -> None:
    agent = make(Turning(), learner=Recorder())
    for _ in range(3 * HORIZON):
        agent.step()
    assert "refit_shift" in (found := agent.refit()) and "refit_value_jump" not in found


def test_an_encoder_that_cannot_be_refitted_stays_and_the_prior_follows_the_replay() -> None:
    agent = make(Centroid(), Replayed(ReplayedConfig(codes=50), 1))
    for _ in range(3 * HORIZON):
        agent.step()
    agent.goals.table.zero_()
    metrics = agent.refit()
    assert agent.encoder.version == 0 and float(metrics["refit_shift"]) == 0 and float(metrics["refit_value_change"]) == 0
    assert bool(torch.isin(agent.goals.table, agent.replay.latent[: agent.replay.begun]).all())


def test_skewed_goals_and_batches_have_the_weights_of_rare_frames() -> None:
    encoder = Turning()
    agent = make(encoder, Replayed(ReplayedConfig(codes=400), 2), power=-1.0)
    agent.random_steps = 10_000
    for _ in range(20 * HORIZON):
        agent.step()
    metrics = agent.refit()
    assert encoder.weights[-1] is not None and float(encoder.weights[-1].sum()) == pytest.approx(1)
    assert 0.099 <= float(metrics["skew_effective_share"]) < 1
    place, goal = Centroid().encode(stored(agent.replay))[:, 0], read_back(agent, agent.goals.table)
    far, goals_far = (float(((found - 2).abs() > 1).float().mean()) for found in (place, goal))  # episodes begin at 2
    assert 0 < far < 0.5 and goals_far > 1.25 * far


def read_back(agent: RIG, latent: Tensor) -> Tensor:
    """The places that codes stand for: those of the stored frames that have them."""
    observed = stored(agent.replay)
    nearest = torch.cdist(latent, agent.encoder.encode(observed)).argmin(1)
    return Centroid().encode(observed)[nearest, 0]


def test_a_frame_that_follows_keeps_its_spread_over_many_refits() -> None:
    generator, frame = seeded(0), LatentFrame(SlowConfig(keep=2), 3)
    truth = torch.randn(2000, 3, generator=generator)
    frame.become(torch.eye(3)[:2])
    coordinates = frame(truth)
    for _ in range(50):
        turn = torch.linalg.qr(torch.randn(3, 3, generator=generator))[0]
        codes = truth @ turn + 0.1 * torch.randn(2000, 3, generator=generator)  # each encoder errs in its own way
        frame.follow(codes, coordinates)
        coordinates = frame(codes)
    assert frame.dim == 2
    torch.testing.assert_close(coordinates.std(0), truth[:, :2].std(0), rtol=0.02, atol=0)


def test_a_frame_keeps_its_map_where_codes_tell_it_nothing() -> None:
    frame = LatentFrame(IdentityConfig(), 2)
    codes = torch.stack((torch.randn(500, generator=seeded(0)), torch.full((500,), 3.0)), 1)
    frame.follow(codes * torch.tensor([2.0, 1.0]), codes)
    torch.testing.assert_close(frame.matrix, torch.tensor([[0.5, 0.0], [0.0, 1.0]]), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(frame(codes * torch.tensor([2.0, 1.0])), codes, rtol=1e-3, atol=1e-3)


def test_frames_are_not_taken_from_half_an_episode() -> None:
    agent = make(Turning())
    agent.step()
    with pytest.raises(ValueError, match="have 1 of 6 steps"):
        agent.online.refit(seeded(0))


def test_stale_codes_are_refused_after_a_refit_too() -> None:
    agent = make(Turning())
    for _ in range(4 * HORIZON):
        agent.step()
    assert agent.encoder.version == agent.replay.version > 0
    agent.encoder.version += 1
    with pytest.raises(ValueError, match="stale codes"):
        agent.step()


class Still:
    """Worlds whose snapshot is empty, for a saver."""

    def snapshot(self) -> dict[str, Any]:
        return {}

    def restore(self, snapshot: dict[str, Any]) -> None:
        assert snapshot == {}


def test_a_checkpoint_after_a_refit_holds_the_codes_as_they_are_now(tmp_path: Path) -> None:
    agent = make(Turning())
    agent.online.keep(torch.randint(256, (4, 5, *agent.env.frame_shape), dtype=torch.uint8, generator=seeded(3)))
    saver = Saver(tmp_path, agent, {}, keep=0)
    agent.env.snapshot = Still().snapshot
    for _ in range(15 * HORIZON):
        agent.step()
        if agent.steps % 30 == 0:
            saver.save()
    saver.save()
    loaded = checkpoint.load(tmp_path)
    assert len(loaded.meta["replay"]["codes"]) == 1 and len(loaded.shared) == len(loaded.meta["replay"]["chunks"]) + 2
    other = make(Turning())
    other.env.restore = Still().restore
    parts = {"encoder": other.encoder, "goals": other.goals, "frame": other.frame, "reward": other.reward}
    restore_representation(parts, loaded, {})
    saver = Saver(tmp_path, other, {}, keep=0)
    with pytest.raises(UserError, match=r"was written by a run on cuda, and this one would go on on cpu, .*; type device=cuda$"):
        saver.restore(loaded._replace(meta={**loaded.meta, "device": "cuda"}))
    saver.restore(loaded)
    assert other.refitted == agent.refitted > 0 and torch.equal(other.online.explored, agent.online.explored)
    for name in ("observed", "latent", "action", "goal"):
        ours, theirs = (getattr(one.replay, name)[: agent.replay.begun - 3] for one in (agent, other))
        assert torch.equal(ours, theirs), name


def test_goals_of_a_prior_that_takes_no_weights_are_still_drawn() -> None:
    agent = make(Turning(), Numbered(), power=-1.0)
    refits = 0
    for _ in range(5 * HORIZON):
        version, drawn = agent.encoder.version, agent.goals.drawn
        refits += bool("skew_effective_share" in agent.step())
        assert agent.encoder.version == version or agent.goals.drawn > drawn
    assert refits > 0
