"""Principal components against numpy's singular vectors, and what the code's scale promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from rig.encoders.pca import MOST, PCA, principal_axes, sampled
from rig.errors import UserError
from tests.encoders.test_spatial_vae import seeded


def rows_of(count: int, features: int) -> Tensor:
    """Rows f32[count, features] that vary most along some features, and not around 0."""
    spread = torch.logspace(1, -2, features)
    return 5 + torch.randn(count, features, generator=seeded(0)) * spread[torch.randperm(features, generator=seeded(1))]


@pytest.mark.parametrize(("count", "features"), [(200, 12), (20, 60)])  # by way of the covariance, and of the Gram matrix
def test_the_axes_are_the_singular_vectors_with_a_sign_that_is_fixed(count: int, features: int) -> None:
    rows = rows_of(count, features).double()
    centred = rows - rows.mean(0)
    expected = np.linalg.svd(centred.numpy(), full_matrices=False)[2][:5].T
    found = principal_axes(centred, 5).numpy()
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-8)
    assert (found[np.abs(found).argmax(0), range(5)] > 0).all()
    np.testing.assert_allclose(principal_axes(-centred, 5).numpy(), found, atol=1e-8)


def test_codes_have_one_scale_and_keep_the_proportions_of_the_features() -> None:
    rows = rows_of(200, 12)
    pca = PCA(12, 12)
    pca.fit(rows)
    codes = pca(rows)
    assert float(codes.square().mean().sqrt()) == pytest.approx(1, abs=1e-5)
    assert float(codes.mean(0).abs().max()) < 1e-5
    torch.testing.assert_close(torch.pdist(codes) * pca.scale, torch.pdist(rows), rtol=1e-3, atol=1e-3)
    assert bool((codes.var(0).diff() < 0).all())


def test_no_components_are_the_features_themselves() -> None:
    rows = rows_of(50, 7)
    pca = PCA(7, 0)
    pca.fit(rows)
    assert pca.dim == 7
    torch.testing.assert_close(pca(rows) * pca.scale + pca.mean, rows, rtol=1e-4, atol=1e-4)


def test_an_axis_along_which_nothing_varies_is_zero() -> None:
    line = torch.linspace(0, 1, 30)[:, None] * torch.tensor([1.0, 2.0, 2.0])
    pca = PCA(3, 3)
    pca.fit(line)
    codes = pca(line + torch.tensor([0.0, 1.0, -1.0]))
    assert bool((codes[:, 1:] == 0).all()) and float(codes[:, 0].std()) > 1


def test_too_many_components_too_few_frames_and_frames_all_the_same_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^encoder.latent_dim must be at most .* 4, got 5; try encoder.latent_dim=4$"):
        PCA(4, 5)
    with pytest.raises(UserError, match=r"^encoder.latent_dim=4 needs more frames than that, got 4; try encoder.latent_dim=3"):
        PCA(4, 4).fit(torch.randn(4, 4, generator=seeded(0)))
    with pytest.raises(UserError, match="every training frame has the same features"):
        PCA(4, 2).fit(torch.ones(9, 4))


def test_a_fit_looks_at_a_sample_without_repetition() -> None:
    frames = torch.arange(MOST + 500)[:, None]
    found = sampled(frames, seeded(0))
    assert len(found) == MOST == len(found.unique())
    assert torch.equal(found, sampled(frames, seeded(0)))
    assert len(sampled(frames[:9], seeded(0))) == 9
