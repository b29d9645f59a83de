"""The spatial β-VAE's own parts, and that either β-VAE really learns a moving thing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rig.encoders.beta_vae import BetaVAE, BetaVAEConfig
from rig.encoders.spatial_vae import Blobs, SoftArgmax, SpatialVAE, SpatialVAEConfig
from rig.encoders.vae import VAETraining
from rig.probe import active_units, linear_r2

HEIGHT, WIDTH = 20, 32  # unlike, so that a column taken for a row shows


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def silent(step: int, steps: int, metrics: dict[str, float]) -> None:
    """A report that nobody reads."""


def moving_square(count: int, size: int, side: int, seed: int) -> tuple[Tensor, Tensor]:
    """Frames of a red square on a light, shaded ground, and where its corner is (column, row), in pixels."""
    shade = torch.linspace(180, 230, size).to(torch.uint8)
    frames = shade[:, None, None].expand(size, size, 3).repeat(count, 1, 1, 1)
    corner = torch.randint(0, size - side + 1, (count, 2), generator=seeded(seed))
    for frame, (column, row) in zip(frames, corner.tolist(), strict=True):
        frame[row : row + side, column : column + side] = torch.tensor([220, 30, 20], dtype=torch.uint8)
    return frames, corner.float()


def test_soft_argmax_finds_the_points_that_blobs_drew() -> None:
    points = torch.rand(40, 6, generator=seeded(0)) * 1.2 - 0.6  # far enough from the edge for whole blobs
    maps = Blobs(3, HEIGHT, WIDTH)(points)
    assert maps.shape == (40, 3, HEIGHT, WIDTH)
    found = SoftArgmax(HEIGHT, WIDTH)(maps.log())  # a softmax of the logarithm is the blob itself
    torch.testing.assert_close(found, points, rtol=0, atol=0.02)


def test_a_blob_peaks_at_its_column_and_row() -> None:
    maps = Blobs(2, HEIGHT, WIDTH)(torch.tensor([[0.5, -0.5, -1.0, 1.0]]))
    for peak, (column, row) in zip(maps[0], ((0.5, -0.5), (-1.0, 1.0)), strict=True):
        index = int(peak.argmax())
        assert index % WIDTH == pytest.approx((column + 1) / 2 * (WIDTH - 1), abs=0.5)
        assert index // WIDTH == pytest.approx((row + 1) / 2 * (HEIGHT - 1), abs=0.5)
    assert float(maps.detach().max()) <= 1


def test_each_blob_has_a_width_of_its_own() -> None:
    blobs = Blobs(2, HEIGHT, WIDTH)
    with torch.no_grad():
        blobs.log_width.copy_(torch.tensor([-3.0, -1.0]))
    narrow, wide = blobs(torch.zeros(1, 4))[0].sum((1, 2)).tolist()
    # The area under a blob is 2π·width² of the picture's 4, here in pixels.
    pixels = (HEIGHT - 1) * (WIDTH - 1) / 4
    assert narrow == pytest.approx(2 * torch.pi * torch.e**-6 * pixels, rel=0.1)
    assert wide == pytest.approx(2 * torch.pi * torch.e**-2 * pixels, rel=0.1)


def test_soft_argmax_of_a_flat_map_is_the_centre_and_of_a_hot_pixel_that_pixel() -> None:
    features = torch.zeros(1, 2, HEIGHT, WIDTH)
    features[0, 1, 0, WIDTH - 1] = 100.0
    torch.testing.assert_close(SoftArgmax(HEIGHT, WIDTH)(features), torch.tensor([[0.0, 0.0, 1.0, -1.0]]), rtol=0, atol=1e-5)


def test_codes_lie_within_the_spread_and_are_drawn_where_they_point() -> None:
    encoder = SpatialVAE(SpatialVAEConfig(points=2, width=8, spread=5.0), (16, 24, 3), seeded(0))
    assert encoder.latent_dim == 4
    frames = torch.randint(0, 256, (30, 16, 24, 3), generator=seeded(1), dtype=torch.uint8)
    with torch.no_grad():
        encoder.trunk[-1].log_temperature.fill_(8.0)  # sharp: points anywhere in the picture
    latent = encoder.encode(frames)
    assert 1.0 < float(latent.abs().max()) <= 5.0
    drawn: list[Tensor] = []
    encoder.decoder[0].register_forward_hook(lambda module, inputs, output: drawn.append(inputs[0]))
    encoder.decode(latent)
    torch.testing.assert_close(drawn[0] * 5.0, latent)


@pytest.mark.parametrize("shape", [(23, 24, 3), (24, 23, 3)])
def test_a_picture_that_cannot_be_halved_is_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="even sides"):
        SpatialVAE(SpatialVAEConfig(), shape, seeded(0))


def test_spatial_vae_learns_a_code_that_is_linear_in_the_position() -> None:
    frames, corner = moving_square(600, 24, 4, seed=0)
    training = replace(SpatialVAEConfig().training, steps=200, batch=32)
    encoder = SpatialVAE(SpatialVAEConfig(points=2, width=16, training=training), (24, 24, 3), seeded(0))
    before = min(linear_r2(encoder.encode(frames), corner))
    metrics = encoder.fit(frames[None], seeded(1), silent)
    fresh, truth = moving_square(400, 24, 4, seed=9)
    r2 = linear_r2(encoder.encode(fresh), truth)
    assert min(r2) > 0.95 > before, f"R² {r2} of column and row, {metrics}"
    assert active_units(encoder.encode(fresh)) >= 2
    # What it thinks it sees has the square where the camera saw it: redder there than around.
    pictures = encoder.decode(encoder.encode(fresh)).float()
    redness = pictures[..., 0] - pictures[..., 1]
    column = (redness.clamp(min=40) - 40).sum(1).argmax(1)
    assert float((column - truth[:, 0] - 1.5).abs().median()) <= 1.5


def test_beta_vae_learns_to_reconstruct() -> None:
    frames, _ = moving_square(400, 24, 6, seed=0)
    config = BetaVAEConfig(latent_dim=4, width=8, hidden=64, training=VAETraining(steps=150, batch=32, beta=1.0))
    encoder = BetaVAE(config, (24, 24, 3), seeded(0))
    reconstruction: list[float] = []
    encoder.fit(frames[None], seeded(1), lambda done, total, metrics: reconstruction.append(metrics["reconstruction"]))
    assert reconstruction[-1] < 0.4 * reconstruction[0]
    fresh, _ = moving_square(200, 24, 6, seed=9)
    blind = encoder.standardise(fresh).square().flatten(1).sum(1).mean()  # the mean picture, always
    seen = (encoder.standardise(encoder.decode(encoder.encode(fresh))) - encoder.standardise(fresh)).square()
    assert float(seen.flatten(1).sum(1).mean()) < 0.5 * float(blind)
