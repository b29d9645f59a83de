"""The flow: it is invertible, its density is a density, and it bends where a Gaussian cannot."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rig.goals import Flow, FullGaussian
from rig.goals.flow import FlowConfig
from rig.goals.gaussian import FullGaussianConfig

QUICK = FlowConfig(layers=4, width=32, steps=300)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def crescent(count: int, seed: int) -> Tensor:
    """Codes f32[M, 3] on a bent line of some thickness, and one that is independent of it."""
    across, noise, other = torch.randn(3, count, generator=seeded(seed))
    return torch.stack((2 * across, across.square() + 0.3 * noise, 5 + 0.1 * other), 1)


@pytest.fixture(scope="module")
def flow() -> Flow:
    sampler = Flow(QUICK, 3)
    sampler.fit(crescent(4000, seed=0))
    return sampler


def test_couplings_are_undone(flow: Flow) -> None:
    x = torch.randn(50, 3, generator=seeded(1))
    for coupling in flow.couplings:
        y, log_det = coupling(x)
        torch.testing.assert_close(coupling.inverse(y), x, rtol=1e-4, atol=1e-5)
        jacobian = torch.func.vmap(torch.func.jacrev(lambda row, c=coupling: c(row[None])[0][0]))(x)
        torch.testing.assert_close(jacobian.det().abs().log(), log_det, rtol=1e-3, atol=1e-4)
        x = y.detach()


def test_it_follows_a_bend_that_a_gaussian_cannot(flow: Flow) -> None:
    gaussian = FullGaussian(FullGaussianConfig(), 3)
    gaussian.fit(crescent(4000, seed=0))
    held_out = crescent(2000, seed=5)
    assert float((flow.log_prob(held_out) - gaussian.log_prob(held_out)).mean()) > 0.7
    drawn = flow.sample(4000, seeded(2))
    off = (drawn[:, 1] - (drawn[:, 0] / 2).square()).abs()
    assert float(off.median()) < 0.4  # of the true ones .2; of the Gaussian's above 1


def test_its_density_is_that_of_its_draws(flow: Flow) -> None:
    """The mean of q(z)/p(z) over draws of p is the volume of q, which is 1."""
    drawn = flow.sample(40_000, seeded(3))
    spread = torch.tensor([0.4, 0.2, 0.07])
    inner = torch.distributions.MultivariateNormal(torch.tensor([0.5, 0.1, 5.0]), scale_tril=spread.diag())  # amid the draws
    assert float((inner.log_prob(drawn) - flow.log_prob(drawn)).exp().mean()) == pytest.approx(1, abs=0.1)


def test_a_weight_says_which_codes_count() -> None:
    codes = crescent(3000, seed=0)
    weight = (codes[:, 0] > 0).double()
    sampler = Flow(QUICK, 3)
    sampler.fit(codes, weight / weight.sum())
    assert float((sampler.sample(2000, seeded(0))[:, 0] > -0.3).float().mean()) > 0.93


def test_a_fit_tells_of_every_step_and_can_be_stopped_there() -> None:
    told: list[tuple[int, int]] = []

    def report(done: int, total: int, metrics: dict[str, float]) -> None:
        told.append((done, total))
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Flow(FlowConfig(steps=8), 3).fit(crescent(100, seed=0), None, report)
    assert told == [(1, 8), (2, 8), (3, 8)]


@pytest.mark.parametrize("dim", [1, 2])
def test_few_latents_are_enough(dim: int) -> None:
    codes = crescent(500, seed=0)[:, :dim]
    sampler = Flow(FlowConfig(layers=2, width=8, steps=20), dim)
    sampler.fit(codes)
    assert sampler.sample(5, seeded(0)).shape == (5, dim) and bool(sampler.log_prob(codes).isfinite().all())
