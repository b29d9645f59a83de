"""The VAE of World Models is the published one, and learns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rig.encoders.world_models import WorldModels, WorldModelsConfig
from tests.encoders.test_spatial_vae import moving_square, seeded, silent

SHAPE = (64, 64, 3)
PUBLISHED = 4_348_547
"""Parameters of the VAE in CarRacing, as Ha & Schmidhuber 2018 count them."""


def test_it_has_as_many_parameters_as_the_published_one() -> None:
    encoder = WorldModels(WorldModelsConfig(), SHAPE, seeded(0))
    assert sum(parameter.numel() for parameter in encoder.parameters()) == PUBLISHED
    assert encoder.latent_dim == 32
    training = WorldModelsConfig().training
    assert (training.beta, training.kl_tolerance, training.standardise) == (1.0, 0.5, False)


def test_its_pictures_are_mean_pixels_whether_it_standardises_or_not() -> None:
    frames, _ = moving_square(40, 64, 16, seed=0)
    for standardise in (False, True):
        training = replace(WorldModelsConfig().training, steps=1, batch=8, standardise=standardise)
        encoder = WorldModels(WorldModelsConfig(training=training), SHAPE, seeded(0))
        encoder.fit(frames[None], seeded(1), silent)
        code = encoder.encode(frames[:2])
        with torch.no_grad():
            pixels = encoder.decoder(code)
        assert 0 < float(pixels.min()) <= float(pixels.max()) < 1
        shown = encoder.decode(code).permute(0, 3, 1, 2) / 255
        torch.testing.assert_close(shown, pixels, rtol=0, atol=0.5 / 255 + 1e-5)


def halves(count: int, seed: int) -> Tensor:
    """Frames u8[count, 64, 64, 3] that are grey from the left up to some column, and black from there."""
    column = torch.randint(8, 57, (count, 1), generator=seeded(seed))
    return ((torch.arange(64) < column) * 200).to(torch.uint8)[:, None, :, None].expand(count, *SHAPE).contiguous()


def test_it_learns_to_reconstruct() -> None:
    frames, fresh = halves(200, seed=0), halves(50, seed=9)
    training = replace(WorldModelsConfig().training, steps=80, batch=16)
    encoder = WorldModels(WorldModelsConfig(training=training), SHAPE, seeded(0))
    metrics = encoder.fit(frames[None], seeded(1), silent)
    error = (encoder.decode(encoder.encode(fresh)).float() - fresh).div(255).square().flatten(1).sum(1).mean()
    blind = (frames.float().mean(0) - fresh).div(255).square().flatten(1).sum(1).mean()  # the mean picture, always
    assert float(error) < 0.4 * float(blind), metrics
    assert metrics["loss"] - metrics["reconstruction"] == pytest.approx(metrics["kl"], rel=0.1)  # all above the tolerance
