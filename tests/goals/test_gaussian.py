"""Gaussian goal samplers: what every one promises, and that the closed forms are the maxima that a descent finds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from rig import tensors
from rig.goals import GOALS, GoalSampler

DIM = 4
QUICK: dict[str, dict[str, int]] = {"flow": {"steps": 30}, "pixelcnn": {"steps": 5}}
"""Sampler -> settings by which it is fitted in a moment."""

every_sampler = pytest.mark.parametrize("name", GOALS)
every_gaussian = pytest.mark.parametrize("name", ["gaussian", "gaussian_full", "gaussian_kl", "standard_normal"])
fitted_samplers = pytest.mark.parametrize("name", ["gaussian", "gaussian_full"])


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def correlated_codes(count: int = 500, seed: int = 0) -> Tensor:
    """Codes f32[M, 4] whose latents are shifted, of different spread, and move together."""
    mix = torch.tensor([[2.0, 0, 0, 0], [1.5, 0.5, 0, 0], [0, -0.3, 0.1, 0], [0.2, 0, 1.0, 0.7]])
    return torch.randn(count, DIM, generator=seeded(seed)) @ mix.T + torch.tensor([1.0, -2.0, 0.0, 5.0])


class Rounded:
    """An encoder of pictures of four pixels, and of symbols: each cell's latent is a whole number from -8 to 7."""

    observes, symbols, grid = "frame", 16, (2, 2)

    def encode(self, observed: Tensor) -> Tensor:
        return observed[..., 0].flatten(1).float() / 8

    def tokens(self, latent: Tensor) -> Tensor:
        return (latent.round().long().clamp(-8, 7) + 8).view(-1, *self.grid)

    def embed(self, tokens: Tensor) -> Tensor:
        return tokens.flatten(1).float() - 8


def make(name: str) -> GoalSampler:
    entry: Any = GOALS[name]
    sampler = entry(entry.Config(**QUICK.get(name, {})), DIM)
    sampler.attach(Rounded(), (4, 4, 3))
    sampler.pictures = torch.arange(48, dtype=torch.uint8).view(12, 2, 2, 1).expand(-1, -1, -1, 3)  # a data set's
    return sampler


def fitted(name: str) -> GoalSampler:
    sampler = make(name)
    sampler.fit(correlated_codes())
    return sampler


def density(sampler: Any) -> MultivariateNormal:
    return MultivariateNormal(sampler.mean, scale_tril=sampler.cholesky)


@every_sampler
def test_the_table_names_its_settings_and_its_source(name: str) -> None:
    entry: Any = GOALS[name]
    assert entry.Config().name == name and "Source:" in entry.__doc__


@every_sampler
def test_goals_are_float_codes_and_reproducible(name: str) -> None:
    sampler = fitted(name)
    goals = sampler.sample(7, seeded(1))
    assert goals.shape == (7, DIM) and goals.dtype == torch.float32
    torch.manual_seed(5)
    assert torch.equal(goals, sampler.sample(7, seeded(1)))
    assert not torch.equal(goals, sampler.sample(7, seeded(2)))
    assert sampler.sample(0, seeded(1)).shape == (0, DIM)
    generator = seeded(1)
    assert not torch.equal(sampler.sample(7, generator), sampler.sample(7, generator))


@every_gaussian
def test_samples_have_the_density_that_is_claimed(name: str) -> None:
    sampler: Any = fitted(name)
    goals = sampler.sample(40_000, seeded(1)).double()
    covariance = sampler.cholesky.double() @ sampler.cholesky.double().T
    spread = covariance.diagonal().sqrt()
    assert float(((goals.mean(0) - sampler.mean) / spread).abs().max()) < 0.03
    assert float(((goals.T.cov() - covariance) / spread.outer(spread)).abs().max()) < 0.03


@every_gaussian
def test_log_prob_is_that_of_the_multivariate_normal(name: str) -> None:
    sampler, points = fitted(name), correlated_codes(50, seed=3)
    torch.testing.assert_close(sampler.log_prob(points), density(sampler).log_prob(points), rtol=1e-4, atol=1e-3)
    assert sampler.log_prob(points[:1]).shape == (1,)


@fitted_samplers
def test_the_closed_form_is_the_minimum_of_the_kl_divergence(name: str) -> None:
    """KL(data ‖ N) is the mean negative log-likelihood less a constant; descent by gradient must end where the closed form is."""
    codes = correlated_codes().double()
    mean = torch.zeros(DIM, dtype=torch.float64, requires_grad=True)
    raw = torch.zeros(DIM, DIM, dtype=torch.float64, requires_grad=True)
    off_diagonal = 1.0 if name == "gaussian_full" else 0.0

    def cholesky() -> Tensor:
        return torch.diag(raw.diagonal().exp()) + off_diagonal * raw.tril(-1)

    descent = torch.optim.LBFGS([mean, raw], max_iter=500, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def divergence() -> Tensor:
        descent.zero_grad()
        loss = -MultivariateNormal(mean, scale_tril=cholesky()).log_prob(codes).mean()
        loss.backward()
        return loss

    descent.step(divergence)
    sampler: Any = fitted(name)
    torch.testing.assert_close(sampler.mean.double(), mean.detach(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sampler.cholesky.double(), cholesky().detach(), rtol=1e-3, atol=1e-3)


def test_descent_on_the_kl_divergence_ends_at_the_closed_form() -> None:
    closed: Any = fitted("gaussian")
    descended: Any = fitted("gaussian_kl")
    torch.testing.assert_close(descended.mean, closed.mean, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(descended.cholesky, closed.cholesky, rtol=1e-3, atol=1e-3)
    weight = torch.rand(500, generator=seeded(3)).double()
    for sampler in (closed, descended):
        sampler.fit(correlated_codes(), weight / weight.sum())
    torch.testing.assert_close(descended.mean, closed.mean, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(descended.cholesky, closed.cholesky, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("mean", [30.0, -100.0])
def test_descent_reaches_codes_far_from_zero(mean: float) -> None:
    closed: Any = fitted("gaussian")
    descended: Any = fitted("gaussian_kl")
    for sampler in (closed, descended):
        sampler.fit(mean + correlated_codes())
    torch.testing.assert_close(descended.mean, closed.mean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(descended.cholesky, closed.cholesky, rtol=1e-3, atol=1e-3)


def test_only_the_full_covariance_knows_that_latents_move_together() -> None:
    diagonal: Any = fitted("gaussian")
    full: Any = fitted("gaussian_full")
    torch.testing.assert_close(full.cholesky @ full.cholesky.T, correlated_codes().T.cov(correction=0), rtol=1e-3, atol=1e-3)
    assert torch.equal(diagonal.cholesky, torch.diag(diagonal.cholesky.diagonal()))
    torch.testing.assert_close(diagonal.cholesky.diagonal(), correlated_codes().std(0, correction=0))
    held_out = correlated_codes(200, seed=8)
    assert float((full.log_prob(held_out) - diagonal.log_prob(held_out)).mean()) > 1


def test_the_standard_normal_ignores_what_it_is_fitted_to() -> None:
    sampler, untouched = fitted("standard_normal"), make("standard_normal")
    assert torch.equal(sampler.sample(5, seeded(0)), untouched.sample(5, seeded(0)))
    points = correlated_codes(5)
    expected = -0.5 * points.square().sum(1) - 0.5 * DIM * torch.log(torch.tensor(2 * torch.pi))
    torch.testing.assert_close(sampler.log_prob(points), expected)


@fitted_samplers
def test_dead_and_duplicate_latents_can_be_fitted(name: str) -> None:
    codes = correlated_codes()
    codes[:, 1], codes[:, 2] = codes[:, 0], 3.0
    sampler = make(name)
    sampler.fit(codes)
    goals = sampler.sample(1000, seeded(0))
    assert bool(goals.isfinite().all()) and bool(sampler.log_prob(codes).isfinite().all())
    assert float((goals[:, 2] - 3).abs().max()) < 0.02
    if name == "gaussian_full":
        assert float((goals[:, 1] - goals[:, 0]).abs().max()) < 0.02


@fitted_samplers
def test_a_second_fit_forgets_the_first(name: str) -> None:
    again, fresh = fitted(name), make(name)
    for sampler in (again, fresh):
        sampler.fit(correlated_codes(300, seed=4) * 0.3)
    assert torch.equal(again.sample(5, seeded(0)), fresh.sample(5, seeded(0)))


@every_sampler
def test_a_fitted_density_survives_a_file(name: str) -> None:
    sampler, other = fitted(name), make(name)
    other.load_state_dict(tensors.unpack(tensors.pack(sampler.state_dict())))
    assert torch.equal(other.sample(5, seeded(0)), sampler.sample(5, seeded(0)))
    assert torch.equal(other.log_prob(correlated_codes(5)), sampler.log_prob(correlated_codes(5)))


@every_gaussian
def test_one_latent_is_enough(name: str) -> None:
    entry: Any = GOALS[name]
    sampler = entry(entry.Config(), 1)
    codes = correlated_codes()[:, :1]
    sampler.fit(codes)
    assert sampler.sample(3, seeded(0)).shape == (3, 1)
    torch.testing.assert_close(sampler.log_prob(codes), density(sampler).log_prob(codes))


@fitted_samplers
def test_a_weight_counts_a_code_as_often_as_it_says(name: str) -> None:
    codes, times = correlated_codes(), torch.randint(0, 4, (500,), generator=seeded(1))
    weighted: Any = make(name)
    repeated: Any = make(name)
    weighted.fit(codes, times.double() / times.sum())
    repeated.fit(codes.repeat_interleave(times, 0))
    torch.testing.assert_close(weighted.mean, repeated.mean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(weighted.cholesky, repeated.cholesky, rtol=1e-3, atol=1e-4)
