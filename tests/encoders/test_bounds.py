"""The autoencoder, which has no bound, and the importance-weighted one, which has a tighter one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from rig.encoders.autoencoder import Autoencoder, AutoencoderConfig
from rig.encoders.posterior import DiagonalGaussian
from rig.encoders.vae_iwae import IWAE, IWAEConfig
from tests.encoders.test_spatial_vae import moving_square, seeded, silent

SHAPE = (8, 8, 3)


def test_with_one_sample_its_loss_is_a_beta_vaes() -> None:
    training = replace(IWAEConfig().training, precision="float32")
    config = IWAEConfig(latent_dim=2, samples=1, width=8, hidden=32, training=training)
    encoder, generator = IWAE(config, SHAPE, seeded(0)), seeded(2)
    x = 20 * torch.randn(1, 3, 8, 8, generator=seeded(1)).expand(20_000, -1, -1, -1)  # far from the prior
    with torch.no_grad():
        encoder.trunk[-1].bias.copy_(torch.tensor([1.5, -1.0, -2.0, 0.5]))
        found = {name: float(value) for name, value in encoder.losses(x, 300.0, generator).items()}
    assert found["kl"] > 1
    assert found["loss"] == pytest.approx(found["reconstruction"] + 300.0 * found["kl"], abs=0.05 * 300.0 * found["kl"])


class Known(IWAE):
    """Pixels A z + ε with a posterior that is too wide, so that more samples help."""

    def __init__(self, samples: int) -> None:
        super().__init__(IWAEConfig(latent_dim=2, samples=samples), SHAPE, seeded(0))
        self.columns = torch.randn(192, 2, generator=seeded(3)) / 192**0.5
        self.covariance = torch.linalg.inv(torch.eye(2) + self.columns.T @ self.columns)

    def posterior(self, x: Tensor) -> DiagonalGaussian:
        mean = x.flatten(1) @ self.columns @ self.covariance
        return DiagonalGaussian(mean, torch.full_like(mean, 0.7))

    def reconstruct(self, latent: Tensor) -> Tensor:
        return (latent @ self.columns.T).unflatten(1, (3, 8, 8))


def test_more_samples_bring_the_bound_up_to_the_evidence() -> None:
    x = torch.randn(200, 3, 8, 8, generator=seeded(4))
    columns = Known(1).columns
    evidence = MultivariateNormal(torch.zeros(192), columns @ columns.T + torch.eye(192)).log_prob(x.flatten(1)).mean()
    constant = 0.5 * 192 * torch.log(torch.tensor(2 * torch.pi))
    bounds = [float(-0.5 * Known(k).losses(x, 2.0, seeded(5))["loss"] - constant) for k in (1, 10, 300)]
    assert bounds == sorted(bounds) and bounds[0] < float(evidence) - 0.5
    assert bounds[-1] == pytest.approx(float(evidence), abs=0.02)


def test_an_autoencoder_learns_to_reconstruct_and_noise_is_nowhere_in_it() -> None:
    frames, _ = moving_square(400, 24, 6, seed=0)
    training = replace(AutoencoderConfig().training, steps=150, batch=32)
    encoder = Autoencoder(AutoencoderConfig(latent_dim=4, width=8, hidden=64, training=training), (24, 24, 3), seeded(0))
    errors: list[float] = []
    encoder.fit(frames[None], seeded(1), lambda done, total, metrics: errors.append(metrics["reconstruction"]))
    assert errors[-1] < 0.4 * errors[0]
    x = encoder.standardise(frames[:32])
    exact = float((encoder.decoder(encoder.trunk(x)) - x).square().sum((1, 2, 3)).mean().detach())
    assert exact < 1.5 * errors[-1]


def test_an_autoencoder_goes_on_from_its_weights() -> None:
    frames, _ = moving_square(200, 24, 6, seed=0)
    training = replace(AutoencoderConfig().training, steps=60, batch=32)
    encoder = Autoencoder(AutoencoderConfig(latent_dim=4, width=8, hidden=64, training=training), (24, 24, 3), seeded(0))
    first = encoder.fit(frames[None], seeded(1), silent)
    version, mean = encoder.version, encoder.standardise.mean.clone()
    second = encoder.refit(frames[:100], torch.full((100,), 0.01, dtype=torch.float64), 60, seeded(2), silent)
    assert second["loss"] < first["loss"] and encoder.version == version + 1
    assert torch.equal(encoder.standardise.mean, mean)
