"""Goals out of visited frames: each as often as it weighs, and the density that is said to be theirs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rig.goals import Replayed
from rig.goals.replayed import ReplayedConfig


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fitted(latent: Tensor, weight: Tensor | None = None, codes: int = 1000) -> Replayed:
    sampler = Replayed(ReplayedConfig(codes=codes), latent.shape[1])
    sampler.fit(latent, weight)
    return sampler


@pytest.mark.parametrize(("visited", "codes"), [(50, 1000), (1000, 1000), (5000, 1000), (7, 3)])
def test_codes_are_kept_as_often_as_they_weigh(visited: int, codes: int) -> None:
    latent = torch.arange(visited).float()[:, None]
    for weight in (None, torch.rand(visited, generator=seeded(0)).double() ** 4):
        share = torch.full((visited,), 1 / visited).double() if weight is None else weight / weight.sum()
        kept = torch.bincount(fitted(latent, None if weight is None else share, codes).table[:, 0].long(), minlength=visited)
        assert float((kept - codes * share).abs().max()) < 1.001


def test_a_code_without_weight_is_no_goal() -> None:
    latent = torch.arange(10).float()[:, None]
    weight = torch.zeros(10).double()
    weight[[3, 9]] = torch.tensor([0.25, 0.75]).double()
    drawn = fitted(latent, weight).sample(4000, seeded(1))[:, 0]
    assert set(drawn.tolist()) == {3.0, 9.0} and float((drawn == 9).float().mean()) == pytest.approx(0.75, abs=0.03)


def test_the_density_of_many_codes_is_that_they_were_drawn_from() -> None:
    truth = torch.distributions.MultivariateNormal(torch.tensor([1.0, -2.0]), torch.tensor([[1.0, 0.6], [0.6, 0.5]]))
    latent = torch.randn(4000, 2, generator=seeded(0)) @ truth.scale_tril.T + truth.loc
    points = latent[:500]
    found, expected = fitted(latent, codes=4000).log_prob(points), truth.log_prob(points)
    assert float((found - expected).abs().median()) < 0.1
    assert float(torch.corrcoef(torch.stack((found, expected)))[0, 1]) > 0.97


def test_the_density_of_two_heaps_has_two_heaps_and_its_integral_is_one() -> None:
    latent = torch.cat((torch.randn(500, 1, generator=seeded(0)) * 0.1, 3 + torch.randn(500, 1, generator=seeded(1)) * 0.1))
    line = torch.linspace(-6, 9, 3001)[:, None]
    density = fitted(latent).log_prob(line).exp()
    assert float(density.sum() * 15 / 3000) == pytest.approx(1, abs=1e-3)
    at = {place: float(density[int((place + 6) * 200)]) for place in (0.0, 1.5, 3.0)}
    assert at[1.5] < 0.2 * min(at[0.0], at[3.0])


def test_codes_that_are_all_the_same_can_be_fitted() -> None:
    sampler = fitted(torch.full((20, 3), 2.0))
    assert torch.equal(sampler.sample(5, seeded(0)), torch.full((5, 3), 2.0))
    assert bool(sampler.log_prob(torch.full((4, 3), 2.0)).isfinite().all())
