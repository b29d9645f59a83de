"""Rewards: how good it is to be at one code where another was meant."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rig import build, tensors
from rig.cli_compose import compose
from rig.errors import UserError
from rig.goals.frame import LatentFrame, WhitenedConfig
from rig.goals.gaussian import FullGaussian, FullGaussianConfig
from rig.nets import initialise
from rig.rewards import (
    REWARDS,
    Cosine,
    CosineConfig,
    LatentDistance,
    LatentDistanceConfig,
    LogProb,
    LogProbConfig,
    Mahalanobis,
    MahalanobisConfig,
    Pixel,
    PixelConfig,
    Reciprocal,
    ReciprocalConfig,
    Reward,
    Sparse,
    SparseConfig,
    Temporal,
    TemporalConfig,
)

NOTHING = torch.zeros(0)
"""Observations, for rewards that look at coordinates alone."""
every_reward = pytest.mark.parametrize("name", REWARDS)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Seen:
    """A representation of four numbers whose pictures are of four pixels, as bright as the numbers are large."""

    can_decode = has_density = True
    dim = 2
    full = torch.tensor([[0.5, 0.0], [0.0, 0.25]])

    def posterior_covariance(self, observed: torch.Tensor) -> torch.Tensor:
        return observed.float().mean() * torch.tensor([[4.0, 1.0], [1.0, 4.0]])

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        return (latent * 20 + 128).clamp(0, 255).round().to(torch.uint8).view(-1, 2, 2, 1).expand(-1, -1, -1, 3)

    def log_prob(self, latent: torch.Tensor) -> torch.Tensor:
        return -0.5 * latent.square().sum(1) - 2

    def invert(self, coordinates: torch.Tensor) -> torch.Tensor:
        return 2 * coordinates


def default(name: str) -> Reward:
    reward = REWARDS[name](REWARDS[name].Config())
    reward.attach(Seen(), Seen(), Seen())
    reward.resize(4, torch.device("cpu"))
    initialise(reward, seeded(3))
    return reward


@every_reward
def test_the_table_names_its_settings_and_its_source(name: str) -> None:
    assert REWARDS[name].Config().name == name
    assert "Source:" in (REWARDS[name].__doc__ or "")


@every_reward
def test_a_reward_is_one_finite_number_a_row_and_changes_nothing(name: str) -> None:
    inputs = (torch.randn(9, 4, generator=seeded(0)), torch.randn(9, 4, generator=seeded(1)), torch.rand(4, generator=seeded(2)))
    before = [value.clone() for value in inputs]
    reward = default(name)(*inputs)
    assert reward.shape == (9,) and reward.dtype == torch.float32 and bool(reward.isfinite().all())
    assert all(torch.equal(value, copy) for value, copy in zip(inputs, before, strict=True))
    one_by_one = [default(name)(inputs[0][i : i + 1], inputs[1][i : i + 1], inputs[2]) for i in range(9)]
    torch.testing.assert_close(torch.cat(one_by_one), reward)


@every_reward
def test_nothing_is_better_than_being_there(name: str) -> None:
    latent, weight = torch.randn(9, 4, generator=seeded(0)), torch.rand(4, generator=seeded(1)) + 0.1
    away = latent + torch.randn(9, 4, generator=seeded(2))
    assert bool((default(name)(latent, latent, weight) > default(name)(away, latent, weight)).all())


def test_latent_distance_is_the_weighted_euclidean_one() -> None:
    latent_distance = LatentDistance(LatentDistanceConfig())
    latent, goal = torch.randn(9, 4, generator=seeded(0)), torch.randn(9, 4, generator=seeded(1))
    weight = torch.tensor([2.0, 1.0, 0.5, 0.0])
    expected = -np.sqrt((((latent - goal).numpy() * weight.numpy()) ** 2).sum(1))
    np.testing.assert_allclose(latent_distance(latent, goal, weight).numpy(), expected, rtol=1e-5)
    unweighted = latent_distance(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2), torch.ones(2))
    assert unweighted.tolist() == [-5.0]
    assert latent_distance(latent, latent, weight).abs().max() == 0


def test_other_norms_of_the_difference() -> None:
    latent, weight = torch.tensor([[3.0, -4.0], [0.0, 0.0]]), torch.tensor([1.0, 0.5])
    expected = {"l2": -(13**0.5), "l1": -5.0, "squared": -6.5}
    for norm, value in expected.items():
        found = LatentDistance(LatentDistanceConfig(norm=norm))(latent, torch.zeros(2, 2), weight)
        torch.testing.assert_close(found, torch.tensor([value, 0.0]))


def test_the_pixel_reward_is_the_error_of_what_is_decoded() -> None:
    reward = Pixel(PixelConfig())
    reward.attach(Seen(), Seen(), Seen())
    latent, goal = torch.tensor([[0.0, 0.0, 0.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0, -1.0]])  # 40 levels either way, twice
    torch.testing.assert_close(reward(latent, goal, torch.zeros(4)), torch.tensor([-40 / 255 / 2**0.5]))


def test_the_log_probability_is_half_the_squared_mahalanobis_distance_under_a_gaussian() -> None:
    episodes = torch.randn(3, 40, 2, generator=seeded(0)) @ torch.tensor([[2.0, 0.3], [0.0, 0.5]]) + 4
    frame, goals = LatentFrame(WhitenedConfig(), 2), FullGaussian(FullGaussianConfig(), 2)
    frame.fit(episodes, seeded(0))
    goals.fit(episodes.flatten(0, 1))
    coordinates = frame(episodes.flatten(0, 1)).view(3, 40, 2)
    reward, reference = LogProb(LogProbConfig()), Mahalanobis(MahalanobisConfig())
    reward.attach(Seen(), goals, frame)
    for each in (reward, reference):
        each.fit(NOTHING, coordinates, torch.ones(2), seeded(1))
    latent, goal = coordinates[0], coordinates[1]
    expected = -0.5 * reference(latent, goal, torch.ones(2)).square()
    torch.testing.assert_close(reward(latent, goal, torch.zeros(2)), expected, rtol=1e-3, atol=1e-3)
    assert float(reward(goal, goal, torch.ones(2)).abs().max()) < 1e-5


@pytest.mark.parametrize(
    ("typed", "state_dim", "message"),
    [
        (["relabel.keep=0", "relabel.imagined=0", "relabel.future=1"], 0, "reads a state, and reach has none; try reward=latent"),
        ([], 2, "imagined ones have not, got relabel.future=0.3; try relabel.keep=0 relabel.imagined=0 relabel.future=1"),
        (["replay.from=some/run"], 2, "reads states, and replay.from=some/run keeps none; try reward=latent_distance"),
    ],
)
def test_a_reward_of_states_is_refused_where_they_are_not_known(typed: list[str], state_dim: int, message: str) -> None:
    env = SimpleNamespace(frame_shape=(48, 48, 3), state_dim=state_dim)
    with pytest.raises(UserError, match=f"reward=oracle .*{message}"):
        build.make_representation(compose(["reward=oracle", "device=cpu", *typed]), env)


@pytest.mark.parametrize(("name", "missing"), [("pixel", "can_decode"), ("log_prob", "has_density")])
def test_a_reward_that_needs_what_is_not_there_is_refused(name: str, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Seen, missing, False)
    with pytest.raises(ValueError, match=r"it (compares pictures|needs a density).*; try "):
        default(name)


def test_the_sparse_threshold_is_a_quantile_of_the_distances_that_were_seen() -> None:
    """Of two points of a unit interval, a share 1 - (1 - d)² are no further apart than d."""
    reward = Sparse(SparseConfig(quantile=0.19))
    reward.fit(NOTHING, torch.rand(40, 50, 1, generator=seeded(0)), torch.tensor([2.0]), seeded(1))
    assert float(reward.threshold) == pytest.approx(0.2, abs=0.01)  # d = 0.1, weighed by 2
    latent = torch.tensor([[0.5], [0.59], [0.61], [0.38]])
    assert reward(latent, torch.full((4, 1), 0.5), torch.tensor([2.0])).tolist() == [0, 0, -1, -1]


def test_the_mahalanobis_distance_is_in_deviations_whatever_the_units() -> None:
    codes = torch.randn(40, 50, 2, generator=seeded(0)) @ torch.tensor([[3.0, 1.0], [0.0, 0.1]]) + 7
    reward = Mahalanobis(MahalanobisConfig())
    reward.fit(NOTHING, codes, torch.ones(2), seeded(1))
    latent, goal = codes[0, :9], codes[1, :9]
    inverse = torch.linalg.inv(codes.flatten(0, 1).T.cov())
    expected = -torch.einsum("bi,ij,bj->b", latent - goal, inverse, latent - goal).sqrt()
    torch.testing.assert_close(reward(latent, goal, torch.tensor([5.0, 0.0])), expected, rtol=1e-3, atol=1e-3)
    scale = torch.tensor([10.0, 0.2])
    other = Mahalanobis(MahalanobisConfig())
    other.fit(NOTHING, codes * scale, torch.ones(2), seeded(1))
    torch.testing.assert_close(other(latent * scale, goal * scale, torch.ones(2)), expected, rtol=1e-2, atol=1e-2)


def test_the_mahalanobis_distance_counts_what_never_varied_as_it_counts_the_rest() -> None:
    codes = torch.randn(40, 50, 2, generator=seeded(0)) * torch.tensor([3.0, 0.0])
    reward = Mahalanobis(MahalanobisConfig())
    reward.fit(NOTHING, codes, torch.ones(2), seeded(1))
    off = reward(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.zeros(2, 2), torch.ones(2))
    assert -1 < float(off[1]) < float(off[0]) / 3


def test_the_mahalanobis_distance_by_the_posterior_counts_what_the_encoder_is_sure_of() -> None:
    reward, observed = Mahalanobis(MahalanobisConfig(covariance="posterior")), torch.full((3, 5, 1), 2.0)
    reward.attach(Seen(), Seen(), Seen())
    reward.fit(observed, torch.randn(3, 5, 2, generator=seeded(0)), torch.ones(2), seeded(1))
    latent, goal = torch.randn(2, 9, 2, generator=seeded(2))
    inverse = torch.linalg.inv(Seen.full @ (2 * torch.tensor([[4.0, 1.0], [1.0, 4.0]])) @ Seen.full.T)
    expected = -torch.einsum("bi,ij,bj->b", latent - goal, inverse, latent - goal).sqrt()
    torch.testing.assert_close(reward(latent, goal, torch.zeros(2)), expected, rtol=1e-4, atol=1e-4)
    blind = SimpleNamespace(has_density=False)
    with pytest.raises(ValueError, match=r"needs q\(z\|x\), and this encoder has none; try reward.covariance=codes"):
        reward.attach(blind, Seen(), Seen())


def test_the_cosine_is_the_angle_seen_from_the_mean() -> None:
    reward = Cosine(CosineConfig())
    reward.fit(NOTHING, torch.tensor([[[1.0, 0.0], [3.0, 4.0]]]), torch.ones(2), seeded(0))
    latent = torch.tensor([[7.0, 2.0], [2.0, 9.0], [-3.0, 2.0], [3.0, 3.0]])  # the mean is (2, 2)
    found = reward(latent, torch.tensor([[3.0, 2.0]]).expand(4, 2), torch.ones(2))
    torch.testing.assert_close(found, torch.tensor([0.0, -1.0, -2.0, 0.5**0.5 - 1]))


@pytest.mark.parametrize("name", ["mahalanobis", "cosine", "sparse"])
def test_what_was_fitted_survives_a_file(name: str) -> None:
    reward, other = default(name), REWARDS[name](REWARDS[name].Config())
    reward.fit(NOTHING, torch.rand(5, 20, 4, generator=seeded(0)), torch.ones(4), seeded(1))
    other.resize(4, torch.device("cpu"))
    other.load_state_dict(tensors.unpack(tensors.pack(reward.state_dict())))
    a = torch.rand(99, 4, generator=seeded(2))
    b = a + 0.3 * torch.rand(99, 4, generator=seeded(3))
    assert torch.equal(other(a, b, torch.ones(4)), reward(a, b, torch.ones(4)))
    assert not torch.equal(reward(a, b, torch.ones(4)), default(name)(a, b, torch.ones(4)))


def test_the_reciprocal_is_half_of_its_way_down_at_its_scale_and_sharpest_at_the_goal() -> None:
    reward = Reciprocal(ReciprocalConfig(scale=0.25))
    distance = torch.tensor([0.0, 0.25, 0.5, 1.0, 1e6])
    away = torch.stack((0.6 * distance, 0.8 * distance, torch.ones(5)), 1)
    found = reward(away / torch.tensor([2.0, 1.0, 1.0]), torch.zeros(5, 3), torch.tensor([2.0, 1.0, 0.0]))
    torch.testing.assert_close(found, torch.tensor([0.0, -1 / 2, -2 / 3, -4 / 5, -1.0]), atol=1e-5, rtol=0)
    near, far = (reward(torch.tensor([[d], [d + 0.01]]), torch.zeros(2, 1), torch.ones(1)).diff().abs() for d in (0.0, 1.0))
    assert bool(near > 20 * far)


def wander(speed: list[float]) -> torch.Tensor:
    """f32[64, 100, K]: coordinates in [-1, 1] that held actions move by at most `speed` a step."""
    rng = np.random.default_rng(0)
    place, way = rng.uniform(-1, 1, (64, len(speed))), rng.uniform(-1, 1, (64, len(speed)))
    path = []
    for _ in range(100):
        path.append(place)
        way = np.where(rng.random((64, 1)) < 1 / 6, rng.uniform(-1, 1, way.shape), way)
        place = np.clip(place + way * speed, -1, 1)
    return torch.from_numpy(np.stack(path, 1)).float()


@pytest.fixture(scope="module")
def temporal() -> Temporal:
    """Learnt where the first coordinate goes four times as far in a step as the second."""
    reward = Temporal(TemporalConfig(steps=1500))
    reward.fit(NOTHING, wander([0.2, 0.05]), torch.ones(2), seeded(0))
    return reward


def steps_between(reward: Temporal, a: list[float], b: list[float]) -> float:
    return float(-reward(torch.tensor([a]), torch.tensor([b]), torch.ones(len(a))) * reward.config.scale)


def test_the_temporal_reward_counts_the_steps_of_the_shortest_way(temporal: Temporal) -> None:
    """At full speed the ways below take 5 and 10 steps."""
    assert 3 < steps_between(temporal, [-0.5, 0.0], [0.5, 0.0]) < 7
    assert 7 < steps_between(temporal, [0.0, -0.25], [0.0, 0.25]) < 17
    slow, fast = (steps_between(temporal, [0.0, 0.0], there) for there in ([0.0, 0.3], [0.3, 0.0]))
    assert slow > 2.5 * fast


def test_a_single_step_is_about_one_step_long(temporal: Temporal) -> None:
    path = wander([0.2, 0.05])
    with torch.no_grad():
        length = temporal.distance(path[:, :-1].flatten(0, 1), path[:, 1:].flatten(0, 1))
    assert float((length - 1).clamp(min=0).square().mean().sqrt()) < 0.4
    assert steps_between(temporal, [0.3, 0.1], [0.3, 0.1]) < 1e-4


def test_a_fitted_reward_survives_a_file_and_ignores_the_weights(temporal: Temporal) -> None:
    other = Temporal(temporal.config)
    other.resize(2, torch.device("cpu"))
    other.load_state_dict(tensors.unpack(tensors.pack(temporal.state_dict())))
    a, b = torch.rand(5, 2, generator=seeded(0)), torch.rand(5, 2, generator=seeded(1))
    assert torch.equal(other(a, b, torch.ones(2)), temporal(a, b, torch.tensor([5.0, 0.0])))
    assert not other(a, b, torch.ones(2)).requires_grad


def test_a_fit_is_the_generators() -> None:
    path = wander([0.2, 0.05])
    fits = []
    for seed in (0, 0, 1):
        reward = Temporal(TemporalConfig(steps=5))
        reward.fit(NOTHING, path, torch.ones(2), seeded(seed))
        fits.append(reward.state_dict())
    assert all(torch.equal(fits[0][name], fits[1][name]) for name in fits[0])
    assert not all(torch.equal(fits[0][name], fits[2][name]) for name in fits[0])
