"""A mixture of Gaussians: EM finds the heaps that codes were drawn from, and its density is the one that it draws from."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from rig.goals import FullGaussian, Mixture
from rig.goals.gaussian import FullGaussianConfig
from rig.goals.mixture import MixtureConfig

CENTRES = torch.tensor([[0.0, 0.0], [6.0, 0.0], [0.0, 9.0]])
SHARES = torch.tensor([0.5, 0.3, 0.2])


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def heaps(count: int = 3000, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Codes f32[M, 2] of three heaps of different size and shape, and which each is of."""
    heap = torch.multinomial(SHARES, count, replacement=True, generator=seeded(seed))
    noise = torch.randn(count, 2, generator=seeded(seed + 1))
    shapes = torch.tensor([[[1.0, 0.0], [0.8, 0.3]], [[0.5, 0.0], [0.0, 0.5]], [[0.2, 0.0], [0.0, 1.5]]])
    return CENTRES[heap] + torch.einsum("bij,bj->bi", shapes[heap], noise), heap


def fitted(codes: Tensor, components: int = 3, weight: Tensor | None = None) -> Mixture:
    sampler = Mixture(MixtureConfig(components=components), codes.shape[1])
    sampler.fit(codes, weight)
    return sampler


def test_em_finds_the_heaps() -> None:
    codes, heap = heaps()
    sampler = fitted(codes)
    order = torch.cdist(CENTRES, sampler.mean).argmin(1)
    assert sorted(order.tolist()) == [0, 1, 2]
    torch.testing.assert_close(sampler.mean[order], CENTRES, rtol=0, atol=0.15)
    torch.testing.assert_close(sampler.share[order], SHARES, rtol=0, atol=0.03)
    for number in range(3):
        true = codes[heap == number].T.cov()
        found = sampler.cholesky[order[number]] @ sampler.cholesky[order[number]].T
        torch.testing.assert_close(found, true, rtol=0.1, atol=0.08)


def test_log_prob_is_that_of_the_mixture() -> None:
    codes, _ = heaps()
    sampler = fitted(codes)
    reference = MixtureSameFamily(Categorical(sampler.share), MultivariateNormal(sampler.mean, scale_tril=sampler.cholesky))
    torch.testing.assert_close(sampler.log_prob(codes[:50]), reference.log_prob(codes[:50]), rtol=1e-4, atol=1e-3)
    one = FullGaussian(FullGaussianConfig(), 2)
    one.fit(codes)
    held_out, _ = heaps(500, seed=7)
    assert float((sampler.log_prob(held_out) - one.log_prob(held_out)).mean()) > 0.5


def test_samples_lie_in_the_heaps_as_often_as_codes_do() -> None:
    codes, _ = heaps()
    goals = fitted(codes).sample(20_000, seeded(3))
    share = torch.bincount(torch.cdist(goals, CENTRES).argmin(1), minlength=3) / 20_000
    torch.testing.assert_close(share, SHARES, rtol=0, atol=0.03)


def test_one_component_is_the_gaussian() -> None:
    codes, _ = heaps()
    mixture, gaussian = fitted(codes, components=1), FullGaussian(FullGaussianConfig(), 2)
    gaussian.fit(codes)
    torch.testing.assert_close(mixture.log_prob(codes[:20]), gaussian.log_prob(codes[:20]), rtol=1e-2, atol=1e-2)


def test_a_weight_counts_a_code_as_often_as_it_says() -> None:
    codes, heap = heaps()
    only = (heap == 1).double()
    sampler = fitted(codes, components=2, weight=only / only.sum())
    goals = sampler.sample(500, seeded(0))
    assert float((goals - CENTRES[1]).norm(dim=1).max()) < 4
    again = fitted(codes, components=2, weight=only / only.sum())
    assert torch.equal(again.sample(500, seeded(0)), goals)  # a fit draws always alike


@pytest.mark.parametrize(
    "codes", [torch.ones(40, 2), torch.arange(3.0)[:, None].repeat(1, 2), torch.randn(500, 1, generator=seeded(0))]
)
def test_codes_that_hardly_vary_can_be_fitted(codes: Tensor) -> None:
    sampler = fitted(codes, components=8)
    goals = sampler.sample(200, seeded(0))
    assert bool(goals.isfinite().all()) and bool(sampler.log_prob(codes).isfinite().all())
    assert float(goals.min()) > float(codes.min()) - 2 and float(goals.max()) < float(codes.max()) + 2
