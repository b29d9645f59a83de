"""What the β-VAEs share: standardisation, the loss, and the training loop, held against hand computations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from rig.encoders.posterior import DiagonalGaussian, FullGaussian
from rig.encoders.standardise import Standardise
from rig.encoders.training import learning_rate_share, minibatches
from rig.encoders.vae import VAE, VAETraining
from rig.errors import UserError
from rig.nets import trains_in_bfloat16

CPU = torch.device("cpu")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise_frames(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (count, height, width, 3), generator=seeded(seed), dtype=torch.uint8)


def silent(step: int, steps: int, metrics: dict[str, float]) -> None:
    """A report that nobody reads."""


def test_standardisation_is_the_documented_formula() -> None:
    frames = noise_frames(700, 4, 6) // torch.arange(1, 7, dtype=torch.uint8)[:, None]  # pixels of different spread
    frames[:, 1, 2] = torch.tensor([10, 200, 77], dtype=torch.uint8)  # and one that never changes
    standardise = Standardise((4, 6, 3))
    standardise.fit(frames)
    x = frames.numpy().astype(np.float64) / 255
    std = x.std(0)
    floor = 0.5 * math.sqrt((std**2).mean())
    expected = ((x - x.mean(0)) / np.sqrt(std**2 + floor**2)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(standardise(frames).numpy(), expected, atol=2e-5)
    np.testing.assert_allclose(standardise.scale[:, 1, 2].numpy(), floor, rtol=1e-5)
    assert torch.equal(standardise(frames)[:, :, 1, 2].abs() < 1e-5, torch.ones(700, 3, dtype=torch.bool))


def test_standardisation_is_undone() -> None:
    frames = noise_frames(50, 4, 6)
    standardise = Standardise((4, 6, 3))
    standardise.fit(frames)
    assert torch.equal(standardise.invert(standardise(frames)), frames)
    extreme = torch.full((1, 3, 4, 6), 1e6)
    assert int(standardise.invert(extreme).min()) == 255 and int(standardise.invert(-extreme).max()) == 0


@pytest.mark.parametrize("count", [1, 5, 600, 1100])
def test_a_scene_in_which_nothing_moves_is_refused(count: int) -> None:
    frames = noise_frames(1, 16, 16).expand(count, -1, -1, -1)  # whatever its pixels are: rounding must not pass for movement
    with pytest.raises(UserError, match="the same picture"):
        Standardise((16, 16, 3)).fit(frames)


def test_one_pixel_that_changes_by_one_level_is_movement() -> None:
    frames = noise_frames(1, 16, 16).clamp(max=254).repeat(600, 1, 1, 1)
    frames[37, 3, 4, 1] += 1
    standardise = Standardise((16, 16, 3))
    standardise.fit(frames)
    assert float(standardise.scale.argmax()) == 1 * 256 + 3 * 16 + 4


def test_kl_is_that_of_the_distributions() -> None:
    mean, log_variance = torch.randn(50, 8, generator=seeded(0)) * 2, torch.randn(50, 8, generator=seeded(1)) * 2
    expected = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(torch.zeros(8), torch.ones(8)))
    torch.testing.assert_close(DiagonalGaussian(mean, log_variance).kl(), expected.sum(1), rtol=1e-4, atol=1e-5)


def full_gaussian(count: int, dim: int) -> tuple[FullGaussian, MultivariateNormal]:
    """Posteriors of random outputs of a net, and what they should be."""
    posterior = FullGaussian.of(torch.randn(count, FullGaussian.outputs(dim), generator=seeded(0)))
    return posterior, MultivariateNormal(posterior.mean, scale_tril=posterior.cholesky)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_a_full_posterior_is_the_gaussian_that_its_factor_says(dim: int) -> None:
    posterior, truth = full_gaussian(7, dim)
    assert posterior.cholesky.shape == (7, dim, dim) and torch.equal(posterior.cholesky, posterior.cholesky.tril())
    prior = MultivariateNormal(torch.zeros(dim), torch.eye(dim))
    torch.testing.assert_close(posterior.kl(), kl_divergence(truth, prior), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(posterior.covariance(), truth.covariance_matrix)
    noise = torch.randn(4000, 7, dim, generator=seeded(1))
    codes = posterior.sample(noise)
    torch.testing.assert_close(posterior.log_prob(noise), truth.log_prob(codes), rtol=1e-4, atol=1e-3)
    spread = torch.stack([codes[:, row].T.cov().view(dim, dim) for row in range(7)])
    torch.testing.assert_close(spread, truth.covariance_matrix, rtol=0.15, atol=0.3)


def test_a_full_posterior_without_correlation_is_the_diagonal_one() -> None:
    mean, log_variance = torch.randn(2, 6, 4, generator=seeded(0))
    full = FullGaussian.of(torch.cat((mean, log_variance, torch.zeros(6, FullGaussian.outputs(4) - 8)), 1))
    diagonal, noise = DiagonalGaussian(mean, log_variance), torch.randn(3, 6, 4, generator=seeded(1))
    for one, other in ((full.sample(noise), diagonal.sample(noise)), (full.log_prob(noise), diagonal.log_prob(noise))):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(full.kl(), diagonal.kl())
    torch.testing.assert_close(full.covariance(), diagonal.covariance())


def linear_gaussian(family: type[FullGaussian] | type[DiagonalGaussian]) -> tuple[float, float]:
    """Mean evidence bound of a posterior trained on x = A z + ε, z ~ N(0, I), ε ~ N(0, I), and the mean evidence, in nats."""
    loading = torch.tensor([[1.0, 0.9], [0.8, 1.1], [1.2, 1.0], [0.4, 0.7]])  # its posterior's latents depend on each other
    latent, noise = torch.randn(512, 2, generator=seeded(0)), torch.randn(512, 4, generator=seeded(1))
    x = latent @ loading.T + noise
    outputs = FullGaussian.outputs(2) if family is FullGaussian else 4
    net = nn.Linear(4, outputs)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.03)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 600)
    generator = seeded(2)

    def bound(samples: int) -> Tensor:
        posterior = family.of(net(x))
        z = posterior.sample(torch.randn(samples, 512, 2, generator=generator))
        error = (z @ loading.T - x).square().sum(2).mean(0)
        return (-0.5 * error - 2 * math.log(2 * math.pi) - posterior.kl()).mean()

    for _ in range(600):
        optimiser.zero_grad()
        (-bound(8)).backward()
        optimiser.step()
        schedule.step()
    evidence = MultivariateNormal(torch.zeros(4), loading @ loading.T + torch.eye(4)).log_prob(x)
    with torch.no_grad():
        return float(bound(4000)), float(evidence.mean())


def test_a_full_posterior_reaches_the_evidence_of_a_linear_gaussian_model_and_a_diagonal_one_cannot() -> None:
    reached, evidence = linear_gaussian(FullGaussian)
    assert reached == pytest.approx(evidence, abs=0.01)
    assert linear_gaussian(DiagonalGaussian)[0] < evidence - 0.05


class Fixed(VAE):
    """A posterior that is the same whatever it sees, and a decoder that always answers zero; remembers what passed through."""

    def __init__(self, mean: float = 0.5, log_variance: float = -1.0, latents: int = 2) -> None:
        super().__init__((8, 8, 3), VAETraining())
        self.mean = nn.Parameter(torch.full((latents,), mean))
        self.log_variance = nn.Parameter(torch.full((latents,), log_variance))
        self.samples: list[Tensor] = []
        self.low_precision: set[bool] = set()

    def posterior(self, x: Tensor) -> DiagonalGaussian:
        self.shape = x.shape
        self.low_precision.add(torch.is_autocast_enabled("cpu"))
        return DiagonalGaussian(self.mean.expand(len(x), -1), self.log_variance.expand(len(x), -1))

    def reconstruct(self, latent: Tensor) -> Tensor:
        self.samples.append(latent.detach())
        return 0 * latent.sum() + torch.zeros(self.shape)


def fit_fixed(frames: Tensor, model: Fixed, **training: Any) -> list[tuple[int, dict[str, float]]]:
    """Reports of a fit in which nothing is learnt, since the learning rate is zero."""
    reports: list[tuple[int, dict[str, float]]] = []
    settings = VAETraining(**{"learning_rate": 0.0, "precision": "float32", **training})
    model.training_settings, model.standardise = settings, Standardise((*frames.shape[1:3], 3))
    model.standardise.fit(frames, settings.standardise)
    model.train_on(frames, settings, seeded(3), lambda done, _, metrics: reports.append((done, metrics)))
    return reports


def test_the_loss_sums_over_pixels_and_latents_and_averages_over_frames() -> None:
    frames = noise_frames(20, 8, 8)
    (_, metrics), *_ = fit_fixed(frames, Fixed(), steps=1, batch=20, beta=3.0)
    standardise = Standardise((8, 8, 3))
    standardise.fit(frames)
    per_frame = standardise(frames).square().flatten(1).sum(1)
    kl = 2 * 0.5 * (0.5**2 + math.exp(-1.0) - 1 + 1.0)
    assert metrics["reconstruction"] == pytest.approx(float(per_frame.mean()), rel=1e-5)
    assert metrics["kl"] == pytest.approx(kl, rel=1e-5)
    assert metrics["loss"] == pytest.approx(metrics["reconstruction"] + 3.0 * kl, rel=1e-5)


def test_a_kl_within_the_tolerance_costs_no_more_and_pulls_at_nothing() -> None:
    frames, kl = noise_frames(20, 8, 8), 2 * 0.5 * (0.5**2 + math.exp(-1.0) - 1 + 1.0)
    within, beyond = Fixed(), Fixed()
    (_, free), *_ = fit_fixed(frames, within, steps=1, batch=20, beta=3.0, kl_tolerance=kl, learning_rate=0.1)
    (_, paid), *_ = fit_fixed(frames, beyond, steps=1, batch=20, beta=3.0, kl_tolerance=kl / 4, learning_rate=0.1)
    assert free["kl"] == paid["kl"] == pytest.approx(kl, rel=1e-5)
    assert free["loss"] == pytest.approx(free["reconstruction"] + 3.0 * 2 * kl, rel=1e-5)  # of two latents
    assert paid["loss"] == pytest.approx(paid["reconstruction"] + 3.0 * kl, rel=1e-5)
    assert within.mean.tolist() == [0.5, 0.5] and beyond.mean.tolist() != [0.5, 0.5]


def test_the_tolerance_is_each_frames_own() -> None:
    class Alternate(Fixed):
        def posterior(self, x: Tensor) -> DiagonalGaussian:
            mean, log_variance = super().posterior(x)
            return DiagonalGaussian(mean * torch.arange(len(x))[:, None].remainder(2), log_variance)

    (_, metrics), *_ = fit_fixed(
        noise_frames(10, 8, 8), Alternate(mean=2.0, log_variance=0.0), steps=1, batch=10, beta=1.0, kl_tolerance=1.0
    )  # a KL of 0 and one of 4 nats in turn, of which 2 are free
    assert metrics["kl"] == pytest.approx(2.0) and metrics["loss"] - metrics["reconstruction"] == pytest.approx(3.0, rel=1e-4)


def test_pixels_can_be_left_as_they_are() -> None:
    frames = noise_frames(20, 8, 8)
    (_, metrics), *_ = fit_fixed(frames, Fixed(), steps=1, batch=20, standardise=False)
    assert metrics["reconstruction"] == pytest.approx(float((frames / 255).square().flatten(1).sum(1).mean()), rel=1e-5)
    plain = Standardise((8, 8, 3))
    plain.fit(frames)
    plain.fit(frames, standardise=False)
    torch.testing.assert_close(plain(frames), frames.permute(0, 3, 1, 2) / 255)
    with pytest.raises(UserError, match="the same picture"):
        plain.fit(frames[:1].expand(9, -1, -1, -1), standardise=False)


def test_twice_the_pixels_double_the_reconstruction_term() -> None:
    frames = noise_frames(20, 8, 8)
    (_, small), *_ = fit_fixed(frames, Fixed(), steps=1, batch=20)
    (_, large), *_ = fit_fixed(frames.repeat_interleave(2, dim=1), Fixed(), steps=1, batch=20)
    assert large["reconstruction"] == pytest.approx(2 * small["reconstruction"], rel=1e-5)
    assert large["kl"] == pytest.approx(small["kl"])


def test_codes_are_sampled_from_the_posterior() -> None:
    model = Fixed(mean=2.0, log_variance=math.log(0.25))
    fit_fixed(noise_frames(50, 8, 8), model, steps=100, batch=50)
    samples = torch.cat(model.samples)
    assert samples.shape == (5000, 2)
    torch.testing.assert_close(samples.mean(0), torch.full((2,), 2.0), rtol=0, atol=0.03)
    torch.testing.assert_close(samples.std(0), torch.full((2,), 0.5), rtol=0, atol=0.03)


def test_beta_rises_linearly_while_it_is_annealed() -> None:
    def betas(anneal: int) -> list[float]:
        reports = fit_fixed(noise_frames(9, 8, 8), Fixed(mean=3.0), steps=60, batch=9, beta=4.0, anneal=anneal)
        assert [done for done, _ in reports] == [1, 26, 51, 60]
        return [(m["loss"] - m["reconstruction"]) / m["kl"] for _, m in reports]

    assert betas(anneal=50) == pytest.approx([0.08, 2.08, 4.0, 4.0], rel=1e-3)
    assert betas(anneal=0) == pytest.approx([4.0] * 4, rel=1e-3)


def test_the_code_is_trained_towards_the_standard_normal() -> None:
    model = Fixed(mean=1.0, log_variance=-2.0)
    fit_fixed(noise_frames(9, 8, 8), model, steps=400, batch=9, learning_rate=0.02)
    assert float(model.mean.detach().abs().max()) < 0.02 and float(model.log_variance.detach().abs().max()) < 0.02


def test_a_loss_that_is_not_finite_stops_the_training() -> None:
    model = Fixed(mean=float("nan"))
    with pytest.raises(FloatingPointError, match="nan at gradient step 0"):
        fit_fixed(noise_frames(9, 8, 8), model, steps=5, batch=9)


def test_the_learning_rate_falls_over_the_last_half() -> None:
    shares = [learning_rate_share(step, 1000) for step in range(1000)]
    assert shares[:501] == [1.0] * 501
    assert shares == sorted(shares, reverse=True)
    assert shares[750] == pytest.approx(0.5, abs=1e-6) and 0 <= shares[-1] < 1e-4


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_precision_is_the_one_asked_for(precision: str) -> None:
    model = Fixed()
    fit_fixed(noise_frames(9, 8, 8), model, steps=2, batch=9, precision=precision)
    assert model.low_precision == {precision == "bfloat16"}
    assert trains_in_bfloat16(precision, CPU) == (precision == "bfloat16")


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="precision must be auto, float32 or bfloat16, got 'half'"):
        trains_in_bfloat16("half", CPU)


@pytest.mark.parametrize(("count", "batch"), [(12, 4), (10, 4), (3, 8), (7, 7), (1, 3)])
def test_minibatches_visit_every_frame_once_a_pass(count: int, batch: int) -> None:
    passes = 6
    steps = passes * count // math.gcd(count, batch)
    drawn = list(minibatches(count, batch, steps, seeded(0), CPU))
    assert [len(index) for index in drawn] == [batch] * steps
    stream = torch.cat(drawn)
    for one_pass in stream[: len(stream) // count * count].view(-1, count):
        assert sorted(one_pass.tolist()) == list(range(count))


def test_passes_are_shuffled_anew_and_by_the_generator_alone() -> None:
    first = torch.cat(list(minibatches(50, 10, 10, seeded(0), CPU))).view(2, 50)
    assert not torch.equal(first[0], first[1])
    assert torch.equal(first.flatten(), torch.cat(list(minibatches(50, 10, 10, seeded(0), CPU))))
    assert not torch.equal(first.flatten(), torch.cat(list(minibatches(50, 10, 10, seeded(1), CPU))))


class Logits(Fixed):
    """Draws the same logits whatever it sees, of a Bernoulli likelihood."""

    def __init__(self, logit: float) -> None:
        super().__init__(mean=0.0, log_variance=0.0)  # the prior
        self.bernoulli, self.logit = True, logit

    def reconstruct(self, latent: Tensor) -> Tensor:
        return torch.full((len(latent), *self.shape[1:]), self.logit) + 0 * latent.sum()


@pytest.mark.parametrize("standardise", [True, False])
def test_a_bernoulli_likelihood_is_the_cross_entropy_of_pixels(standardise: bool) -> None:
    frames, model = noise_frames(20, 8, 8), Logits(0.7)
    (_, metrics), *_ = fit_fixed(frames, model, steps=1, batch=20, beta=3.0, standardise=standardise)
    pixels, chance = frames / 255, torch.sigmoid(torch.tensor(0.7))
    entropy = -(pixels * chance.log() + (1 - pixels) * (1 - chance).log()).flatten(1).sum(1).mean()
    assert metrics["reconstruction"] == pytest.approx(2 * float(entropy), rel=1e-4)  # so that beta=2 is the evidence bound
    assert torch.equal(model.decode(torch.zeros(2, 2)), torch.full((2, 8, 8, 3), round(255 * float(chance)), dtype=torch.uint8))
    expected = -(pixels * chance.log() + (1 - pixels) * (1 - chance).log()).flatten(1).sum(1)
    torch.testing.assert_close(model.log_density(frames, 3, seeded(0)), -expected, rtol=1e-4, atol=0)
