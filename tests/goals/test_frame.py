"""The frame of the latent space: each choice has the property that it is named for, and slow features find slow sources."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rig import tensors
from rig.goals import FRAMES, LatentFrame
from rig.goals.frame import FrameConfig, IdentityConfig, SlowConfig, StandardisedConfig, WhitenedConfig
from rig.goals.slow import neighbour_r2, persistence, slow_features, spanning_features, steady_slowness

EPISODES, STEPS, LATENTS = 40, 50, 5

every_frame = pytest.mark.parametrize("name", FRAMES)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth(memory: float, seed: int, episodes: int = EPISODES, steps: int = STEPS) -> Tensor:
    """A unit-variance source f32[E, T] that keeps `memory` of itself from step to step; each episode has its own."""
    noise = torch.randn(episodes, steps, generator=seeded(seed))
    values = [noise[:, 0]]
    for step in range(1, steps):
        values.append(memory * values[-1] + (1 - memory**2) ** 0.5 * noise[:, step])
    return torch.stack(values, 1)


def mixed_sources(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Codes f32[E, T, 5] and the sources that a random, well-conditioned matrix mixed into them: two slow ones, three fast."""
    sources = torch.stack([smooth(memory, 10 * seed + i) for i, memory in enumerate((0.998, 0.985, 0.2, 0.1, 0.0))], 2)
    before, after = (torch.linalg.qr(torch.randn(LATENTS, LATENTS, generator=seeded(100 * i + seed)))[0] for i in (1, 2))
    mix = before * torch.linspace(0.5, 2, LATENTS) @ after
    return sources @ mix.T + torch.arange(LATENTS), sources


def correlation(a: Tensor, b: Tensor) -> float:
    return abs(float(torch.corrcoef(torch.stack((a.flatten(), b.flatten())))[0, 1]))


def fitted(config: Any, codes: Tensor) -> LatentFrame:
    frame = LatentFrame(config, codes.shape[2])
    frame.fit(codes, seeded(0))
    return frame


@every_frame
def test_the_table_names_its_settings_and_its_source(name: str) -> None:
    assert FRAMES[name]().name == name
    assert FRAMES[name].__doc__ and ("Source:" in FRAMES[name].__doc__ or "et al." in FRAMES[name].__doc__)


@every_frame
def test_a_frame_is_affine_and_survives_a_file(name: str) -> None:
    codes, _ = mixed_sources()
    frame = fitted(FRAMES[name](), codes)
    a, b = codes[0, :7], codes[1, :7]
    assert frame(a).shape == (7, frame.dim) and frame(a).dtype == torch.float32
    torch.testing.assert_close(frame(0.3 * a + 0.7 * b), 0.3 * frame(a) + 0.7 * frame(b), rtol=1e-3, atol=1e-4)
    other = LatentFrame(FRAMES[name](), LATENTS)
    saved = tensors.unpack(tensors.pack(frame.state_dict()))
    other.become(saved["matrix"])
    other.load_state_dict(saved)
    assert other.dim == frame.dim and torch.equal(other(a), frame(a))
    assert torch.equal(other.weight, frame.weight) and torch.equal(other.spectrum, frame.spectrum)


@every_frame
def test_coordinates_lead_back_to_a_code_that_has_them(name: str) -> None:
    codes, _ = mixed_sources()
    settings: Any = FRAMES[name]
    frame = fitted(settings(keep=2) if name == "slow" else settings(), codes)
    coordinates = frame(codes[0])
    found = frame.invert(coordinates)
    torch.testing.assert_close(frame(found), coordinates, rtol=1e-3, atol=1e-4)
    near, far = (found - frame.offset).norm(dim=1), (codes[0] - frame.offset).norm(dim=1)
    assert bool((near <= far * 1.001 + 1e-4).all())  # of all that have them, the nearest to the offset
    if name != "slow":
        torch.testing.assert_close(found, codes[0], rtol=1e-3, atol=1e-3)


def test_identity_changes_nothing() -> None:
    codes, _ = mixed_sources()
    frame = fitted(IdentityConfig(), codes)
    assert torch.equal(frame(codes[0]), codes[0]) and torch.equal(frame.weight, torch.ones(LATENTS))
    torch.testing.assert_close(frame.spectrum, codes.flatten(0, 1).var(0, correction=0))


def test_standardised_codes_have_zero_mean_and_unit_variance_latent_by_latent() -> None:
    codes, _ = mixed_sources()
    frame = fitted(StandardisedConfig(), codes)
    u = frame(codes.flatten(0, 1))
    torch.testing.assert_close(u.mean(0), torch.zeros(LATENTS), rtol=0, atol=1e-4)
    torch.testing.assert_close(u.var(0, correction=0), torch.ones(LATENTS), rtol=0, atol=1e-4)
    for latent in range(LATENTS):
        assert correlation(u[:, latent], codes[..., latent]) > 0.9999
    torch.testing.assert_close(frame.spectrum, codes.flatten(0, 1).var(0, correction=0))


def test_whitened_codes_are_uncorrelated_and_of_unit_variance_widest_first() -> None:
    codes, _ = mixed_sources()
    frame = fitted(WhitenedConfig(), codes)
    u = frame(codes.flatten(0, 1))
    torch.testing.assert_close(u.mean(0), torch.zeros(LATENTS), rtol=0, atol=1e-3)
    torch.testing.assert_close(u.T.cov(correction=0), torch.eye(LATENTS), rtol=0, atol=1e-3)
    variances = torch.linalg.eigvalsh(codes.flatten(0, 1).T.cov(correction=0)).flip(0)
    torch.testing.assert_close(frame.spectrum, variances, rtol=1e-3, atol=1e-5)
    _, axes = torch.linalg.eigh(codes.flatten(0, 1).T.cov(correction=0))
    assert correlation(u[:, 0], codes.flatten(0, 1) @ axes[:, -1]) > 0.9999


@pytest.mark.parametrize("config", [StandardisedConfig(), WhitenedConfig()])
def test_directions_in_which_codes_never_vary_are_not_blown_up(config: FrameConfig) -> None:
    codes, _ = mixed_sources()
    still = torch.cat((codes, torch.full_like(codes[..., :2], 3.0)), 2)
    frame, without = fitted(config, still), fitted(config, codes)
    beyond = torch.cat((codes[0], torch.full_like(codes[0, :, :2], 4.0)), 1)  # a step away from where they always were
    u = frame(beyond)
    assert float(u.abs().max()) < 2 * float(without(codes[0]).abs().max()) + 10
    torch.testing.assert_close(frame.invert(u), beyond, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(frame(still[0])[:, :LATENTS].abs(), without(codes[0]).abs(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", FRAMES)
def test_one_latent_is_enough(name: str) -> None:
    codes = smooth(0.9, 0)[..., None] * 3 + 1
    frame = fitted(FRAMES[name](), codes)
    assert frame.dim == 1
    assert correlation(frame(codes[0]), codes[0]) > 0.9999


@pytest.mark.parametrize("seed", range(3))
def test_slow_features_unmix_what_is_slow(seed: int) -> None:
    codes, sources = mixed_sources(seed)
    frame = fitted(SlowConfig(), codes)
    assert frame.dim == 2
    u = frame(codes)
    assert correlation(u[..., 0], sources[..., 0]) > 0.98 and correlation(u[..., 1], sources[..., 1]) > 0.98
    white = u.flatten(0, 1).T.cov(correction=0)
    torch.testing.assert_close(white, torch.eye(2), rtol=0, atol=0.02)
    torch.testing.assert_close(u.flatten(0, 1).mean(0), torch.zeros(2), rtol=0, atol=1e-3)


def test_slowness_is_half_the_mean_squared_step_slowest_first() -> None:
    codes, _ = mixed_sources()
    offset, matrix, slowness = slow_features(codes.double(), ridge=1e-9)
    features = (codes.double() - offset) @ matrix.T
    torch.testing.assert_close(features.diff(dim=1).square().mean((0, 1)) / 2, slowness, rtol=1e-4, atol=1e-6)
    assert slowness.tolist() == sorted(slowness.tolist())
    torch.testing.assert_close(features.flatten(0, 1).T.cov(correction=0), torch.eye(LATENTS).double(), rtol=0, atol=1e-5)
    # A source that keeps m of itself moves by 1 - m; white noise by 1.
    torch.testing.assert_close(slowness, torch.tensor([0.005, 0.04, 0.8, 0.9, 1.0]).double(), rtol=0.4, atol=0.01)
    torch.testing.assert_close(fitted(SlowConfig(), codes).spectrum.double(), slowness, rtol=0.05, atol=1e-3)


def test_steps_from_an_episode_to_the_next_do_not_count() -> None:
    codes = torch.stack((smooth(1.0, 0), smooth(0.5, 1)), 2)  # the first never changes within an episode
    _, matrix, slowness = slow_features(codes.double(), ridge=1e-6)
    assert float(slowness[0]) < 1e-4
    assert abs(float(matrix[0, 1] / matrix[0, 0])) < 1e-2


@pytest.mark.parametrize("memory", [0.0, 0.9999])
@pytest.mark.parametrize("deviation", [1e-2, 1e-3, 1e-5, 0.0])
def test_a_dead_latent_does_not_pass_for_a_slow_one(deviation: float, memory: float) -> None:
    codes, sources = mixed_sources()
    codes = torch.cat((codes, torch.stack((smooth(memory, 77), smooth(memory, 78)), 2) * deviation + 2), 2)
    frame = fitted(SlowConfig(), codes)
    assert frame.dim == 2 and float(frame.spectrum[2:].min()) > 0.5
    u = frame(codes)
    assert correlation(u[..., 0], sources[..., 0]) > 0.98 and correlation(u[..., 1], sources[..., 1]) > 0.98


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_reward_weights_follow_the_slowness_and_have_mean_one(power: float) -> None:
    codes, _ = mixed_sources()
    frame = fitted(SlowConfig(weight_power=power, keep=3), codes)
    assert float(frame.weight.mean()) == pytest.approx(1, rel=1e-5)
    slowness = steady_slowness(frame(codes).double(), frame.spectrum[:3].double())
    torch.testing.assert_close(slowness, frame.spectrum[:3].double(), rtol=0.1, atol=0)
    expected = slowness.float() ** -power
    torch.testing.assert_close(frame.weight, expected / expected.mean(), rtol=1e-4, atol=1e-5)
    if power:
        assert frame.weight.tolist() == sorted(frame.weight.tolist(), reverse=True)


@pytest.mark.parametrize("keep", [1, 3, 5])
def test_as_many_features_are_kept_as_are_asked_for(keep: int) -> None:
    codes, _ = mixed_sources()
    frame = fitted(SlowConfig(keep=keep), codes)
    assert frame.dim == keep and frame(codes[0]).shape == (STEPS, keep) and len(frame.weight) == keep
    assert len(frame.spectrum) == LATENTS
    every = fitted(SlowConfig(keep=LATENTS), codes)
    assert torch.equal(frame.matrix, every.matrix[:keep])


def test_more_features_than_latents_are_refused() -> None:
    codes, _ = mixed_sources()
    with pytest.raises(ValueError, match=r"frame\.keep=6 asks for more features than the code's 5"):
        fitted(SlowConfig(keep=6), codes)


def test_a_second_fit_forgets_the_first() -> None:
    codes, _ = mixed_sources(0)
    others, _ = mixed_sources(1)
    frame = fitted(SlowConfig(keep=2), others)
    frame.fit(codes, seeded(0))
    assert torch.equal(frame(codes[0]), fitted(SlowConfig(keep=2), codes)(codes[0]))


def uniform_factors(count: int, seed: int) -> Tensor:
    return torch.rand(4, 500, count, generator=seeded(seed), dtype=torch.float64) * 2 - 1


def pushed(count: int, seed: int, hold: float, push: float = 0.2) -> Tensor:
    """f64[40, 50, count]: coordinates of things that go where an action, held for `hold` steps on average, sends them."""
    rng = np.random.default_rng(seed)
    place, way = rng.uniform(-1, 1, (40, count)), rng.uniform(-1, 1, (40, count))
    path = []
    for _ in range(50):
        path.append(place)
        way = np.where(rng.random((40, count)) < 1 / hold, rng.uniform(-1, 1, (40, count)), way)
        place = np.clip(place + push * way, -1, 1)
    return torch.from_numpy(np.stack(path, 1)) / 0.6


def test_features_that_the_kept_ones_determine_are_left_out() -> None:
    a, b = uniform_factors(2, 0).unbind(-1)
    functions = torch.stack((a, a.square(), b, a * b, torch.sin(3 * b)), -1)
    slowness = torch.tensor([0.001, 0.002, 0.003, 0.004, 0.005])
    assert spanning_features(functions, slowness, seeded(0)) == [0, 2]


def test_independent_features_are_kept() -> None:
    features = uniform_factors(4, 1)
    assert spanning_features(features, torch.tensor([0.001, 0.002, 0.003, 0.02]), seeded(0)) == [0, 1, 2, 3]


def test_a_feature_that_is_mostly_its_own_is_kept() -> None:
    a, b = uniform_factors(2, 2).unbind(-1)
    features = torch.stack((a, 0.6 * a + 0.8 * b), -1)  # the first explains 36 % of the second
    assert spanning_features(features, torch.tensor([0.001, 0.002]), seeded(0)) == [0, 1]


def test_fast_noise_is_left_out_but_one_feature_always_stays() -> None:
    features = uniform_factors(3, 3)
    assert spanning_features(features, torch.tensor([0.001, 0.021, 0.03]), seeded(0)) == [0]
    assert spanning_features(features, torch.tensor([0.5, 0.6, 0.7]), seeded(0)) == [0]


def test_a_fast_thing_that_actions_move_is_kept_and_its_noise_is_not() -> None:
    things, noise = pushed(3, 4, hold=6, push=0.4), torch.randn(40, 50, 2, generator=seeded(5), dtype=torch.float64)
    things[..., 1] += 0.02 * noise[..., 0]  # what a camera adds to it
    features = torch.cat((things, things[..., :1] + noise[..., :1], noise[..., 1:]), -1)
    slowness = features.diff(dim=1).square().mean((0, 1)) / 2
    assert slowness[:3].min() > 0.02  # each would be noise by its speed
    assert spanning_features(features, slowness, seeded(0)) == [0, 1, 2]


def test_steps_of_noise_undo_each_other_and_steps_of_held_actions_go_on() -> None:
    assert float(persistence(torch.randn(40, 50, 1, generator=seeded(6), dtype=torch.float64))) == pytest.approx(-0.5, abs=0.05)
    walk = torch.randn(40, 50, 1, generator=seeded(7), dtype=torch.float64).cumsum(1)
    assert float(persistence(walk)) == pytest.approx(0, abs=0.05)
    assert float(persistence(pushed(1, 8, hold=6))) > 0.6
    assert persistence(uniform_factors(2, 9)[:, :2]).tolist() == [0, 0]  # one step has no other to go on from


def test_an_error_in_every_frame_costs_a_feature_no_weight() -> None:
    clean = pushed(2, 14, hold=6, push=0.1).repeat(4, 1, 1)
    error = 0.07 * torch.randn(clean.shape[:2], generator=seeded(15), dtype=torch.float64)
    seen = torch.stack((clean[..., 0], clean[..., 1] + error), -1)
    true, plain = (one.diff(dim=1).square().mean((0, 1)) / 2 for one in (clean, seen))
    assert float(plain[1] / true[1]) > 2
    expected = steady_slowness(clean, true)
    torch.testing.assert_close(steady_slowness(seen, plain), expected, rtol=0.15, atol=0)
    noise = torch.randn(40, 50, 1, generator=seeded(16), dtype=torch.float64)
    assert float(steady_slowness(noise, torch.tensor([1.0]))) == 1  # and noise gains none


def test_neighbour_regression_predicts_out_of_sample() -> None:
    inputs = uniform_factors(2, 4)
    a, b = inputs.unbind(-1)
    assert neighbour_r2(inputs, torch.sin(2 * a) + b.square(), seeded(0)) > 0.98
    noise = torch.randn(a.shape, generator=seeded(5), dtype=torch.float64)
    assert neighbour_r2(inputs, noise, seeded(0)) < 0.05
    half_noise = neighbour_r2(inputs, a / a.std() + noise, seeded(0))
    assert 0.3 < half_noise < 0.6


def test_what_is_near_in_time_is_no_prediction() -> None:
    """A thing at rest shows when it was looked at, but not where another slow thing is."""
    noise = torch.randn(2, 64, 500, generator=seeded(10), dtype=torch.float64)
    resting = torch.randn(64, 1, generator=seeded(11), dtype=torch.float64) + 1e-3 * noise[0]
    wandering = noise[1].cumsum(1) / 500**0.5
    assert neighbour_r2(resting[..., None], wandering, seeded(0)) < 0.2


def test_a_sharp_bend_is_no_noise() -> None:
    path = pushed(4, 12, hold=6).repeat(10, 1, 1)
    inputs = path + 0.02 * torch.randn(path.shape, generator=seeded(13), dtype=torch.float64)
    bent = torch.tanh(4 * path[..., 0]) * torch.cos(2 * path[..., 1])
    assert neighbour_r2(inputs, bent, seeded(0)) > 0.8
