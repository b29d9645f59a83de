"""Skew-Fit's weights: what they are a power of, and that no frame takes them all."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from rig.encoders import ENCODERS, Encoder
from rig.encoders.posterior import DiagonalGaussian
from rig.encoders.spatial_vae import SpatialVAE, SpatialVAEConfig
from rig.encoders.vae import VAE, VAETraining
from rig.goals import Replayed
from rig.goals.replayed import ReplayedConfig
from rig.skew import SkewConfig, effective_share, frame_weights, weights
from tests.point_line import Reader, seeded


class Linear(VAE):
    """Four grey pixels x = A z + noise of unit variance with z ~ N(0, I), and the true posterior: p(x) is known."""

    def __init__(self) -> None:
        super().__init__((1, 4, 3), VAETraining())
        self.loading = torch.tensor([[1.0, 0.2], [0.3, -0.8], [0.0, 0.5], [-0.4, 0.1]])
        columns = self.loading.repeat_interleave(3, 0) / 3**0.5  # a grey pixel is three equal channels, which share its noise
        self.columns, self.latent_dim = columns, 2
        precision = torch.eye(2) + columns.T @ columns
        self.covariance = torch.linalg.inv(precision)

    def posterior(self, x: Tensor) -> DiagonalGaussian:
        flat = x.permute(0, 2, 3, 1).flatten(1)
        mean = flat @ self.columns @ self.covariance
        spread = self.covariance.diagonal().log().expand_as(mean)
        return DiagonalGaussian(mean, spread)  # the diagonal of a posterior that is not quite diagonal

    def reconstruct(self, latent: Tensor) -> Tensor:
        return (latent @ self.columns.T).unflatten(1, (1, 4, 3)).permute(0, 3, 1, 2)


def test_the_density_of_a_frame_is_that_of_the_model() -> None:
    model, frames = Linear(), torch.randint(0, 256, (40, 1, 4, 3), generator=seeded(0), dtype=torch.uint8)
    truth = torch.distributions.MultivariateNormal(torch.zeros(12), torch.eye(12) + model.columns @ model.columns.T)
    expected = truth.log_prob(frames.flatten(1) / 255)
    found = model.log_density(frames, 4000, seeded(1))
    assert float(expected.std()) > 0.2
    torch.testing.assert_close(found - found.mean(), expected - expected.mean(), rtol=0, atol=0.03)
    few = model.log_density(frames, 10, seeded(1))
    torch.testing.assert_close(few - few.mean(), expected - expected.mean(), rtol=0, atol=1.0)


@pytest.mark.parametrize("name", ENCODERS)
def test_only_an_encoder_that_can_tells_densities(name: str) -> None:
    entry: Any = ENCODERS[name]
    if not entry.has_density:
        assert entry.log_density is Encoder.log_density and entry.posterior_covariance is Encoder.posterior_covariance
        with pytest.raises(TypeError, match="has no density"):
            Reader().log_density(torch.zeros(2, 3), 2, seeded(0))
        with pytest.raises(TypeError, match="has no posterior"):
            Reader().posterior_covariance(torch.zeros(2, 3))
        return
    shape = (64, 64, 3)
    encoder, frames = entry(entry.Config(), shape, seeded(0)), torch.zeros(3, *shape, dtype=torch.uint8)
    found = encoder.log_density(frames, 2, seeded(1))
    assert found.shape == (3,) and bool(found.isfinite().all()) and not found.requires_grad
    assert torch.equal(found, encoder.log_density(frames, 2, seeded(1)))
    covariance = encoder.posterior_covariance(frames)
    assert covariance.shape == (encoder.latent_dim, encoder.latent_dim) and bool((torch.linalg.eigvalsh(covariance) > 0).all())


def test_the_density_of_coordinates_can_be_had_from_an_encoder_that_has_one_of_frames() -> None:
    model, kernels = Linear(), Replayed(ReplayedConfig(codes=300), 1)
    frames = torch.randint(0, 256, (300, 1, 4, 3), generator=seeded(0), dtype=torch.uint8)
    coordinates = model.encode(frames)[:, :1]
    skew = SkewConfig(power=-1.0, density="coordinates", share=0.001)
    found = frame_weights(skew, model, frames, coordinates, seeded(1))
    kernels.fit(coordinates)
    torch.testing.assert_close(found, (-kernels.log_prob(coordinates).double()).softmax(0))
    by_frame = frame_weights(replace(skew, density="frame"), model, frames, coordinates, seeded(1))
    assert found is not None and by_frame is not None and not torch.allclose(found, by_frame)


def test_without_a_power_nothing_is_weighted_and_nothing_is_drawn() -> None:
    generator = seeded(3)
    state = generator.get_state()
    assert frame_weights(SkewConfig(), Reader(), torch.zeros(5, 1), torch.zeros(5, 1), generator) is None
    assert torch.equal(generator.get_state(), state)


@pytest.mark.parametrize("power", [-1.0, -0.5])
def test_without_a_density_of_frames_that_of_coordinates_serves(power: float) -> None:
    codes = torch.randn(6000, 1, generator=seeded(0))  # more than carry a kernel
    found = frame_weights(SkewConfig(power, share=0.001), Reader(), codes, codes, seeded(1))
    assert found is not None
    expected = power * torch.distributions.Normal(codes.mean(), codes.std(correction=0)).log_prob(codes[:, 0])
    inside = codes[:, 0].abs() < 1.5
    error = found.log() - expected - (found.log() - expected)[inside].mean()
    assert float(error[inside].abs().max()) < 0.15


def test_weighted_by_the_inverse_density_visited_codes_spread_evenly() -> None:
    """Nine of ten codes lie in the first tenth of a line; weighted, a tenth does."""
    many, few = torch.rand(1800, 1, generator=seeded(0)) * 0.1, 0.1 + torch.rand(200, 1, generator=seeded(1)) * 0.9
    codes, goals = torch.cat((many, few)), Replayed(ReplayedConfig(codes=2000), 1)
    found = frame_weights(SkewConfig(power=-1.0), Reader(), codes, codes, seeded(2))
    assert found is not None and 0.05 < float(found[:1800].sum()) < 0.3
    goals.fit(codes, found)
    drawn = goals.sample(4000, seeded(3))
    assert float((drawn < 0.1).float().mean()) == pytest.approx(float(found[:1800].sum()), abs=0.02)
    assert bool(torch.isin(drawn, codes).all())


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e5])
def test_a_power_that_leaves_too_few_frames_is_brought_nearer_to_none(scale: float, share: float) -> None:
    logarithms = torch.randn(1000, generator=seeded(0), dtype=torch.float64) * scale - 1e6
    found = weights(logarithms, share)
    assert bool(found.isfinite().all()) and float(found.sum()) == pytest.approx(1)
    plain = float(effective_share(logarithms.softmax(0)))
    assert float(effective_share(found)) == pytest.approx(max(plain, share), rel=1e-3)
    assert torch.equal(found.argsort(), logarithms.argsort())  # which frames weigh more stays as it was
    if plain >= share:
        torch.testing.assert_close(found, logarithms.softmax(0))


def test_the_effective_share_counts_frames() -> None:
    assert float(effective_share(torch.full((8,), 1 / 8))) == pytest.approx(1)
    assert float(effective_share(torch.tensor([0.5, 0.5, 0, 0, 0, 0, 0, 0]))) == pytest.approx(0.25)


def test_an_encoder_refitted_with_weights_learns_from_the_frames_that_have_them() -> None:
    frames = torch.randint(0, 256, (2, 16, 16, 3), generator=seeded(0), dtype=torch.uint8).repeat_interleave(32, 0)
    errors: list[float] = []
    for first in (0.999, 0.001):
        config = SpatialVAEConfig(training=VAETraining(steps=5, batch=16, precision="float32"))
        encoder = SpatialVAE(config, (16, 16, 3), seeded(1))
        encoder.fit(frames[None], seeded(2), lambda *_: None)
        weight = torch.tensor([first, 1 - first], dtype=torch.float64).repeat_interleave(32) / 32
        kept, version = {k: v.clone() for k, v in encoder.standardise.state_dict().items()}, encoder.version
        assert math.isfinite(encoder.refit(frames, weight, 60, seeded(3), lambda *_: None)["loss"])
        assert encoder.version != version and all(torch.equal(kept[k], v) for k, v in encoder.standardise.state_dict().items())
        picture = encoder.decode(encoder.encode(frames[:1])).float()
        errors.append(float((picture - frames[:1].float()).square().mean()))
    assert errors[0] < 0.7 * errors[1]


def test_a_refit_of_no_steps_more_goes_on_from_the_weights() -> None:
    frames = torch.randint(0, 256, (64, 16, 16, 3), generator=seeded(0), dtype=torch.uint8)
    config = SpatialVAEConfig(training=VAETraining(steps=40, batch=16, precision="float32"))
    encoder = SpatialVAE(config, (16, 16, 3), seeded(1))
    first = encoder.fit(frames[None], seeded(2), lambda *_: None)
    still = replace(encoder.training_settings, learning_rate=0.0)
    encoder.training_settings = still
    before = encoder.encode(frames)
    found = encoder.refit(frames, None, 3, seeded(3), lambda *_: None)
    assert torch.equal(encoder.encode(frames), before) and found["loss"] < 1.2 * first["loss"]
