"""What is measured of codes beside the probe, on codes, priors and pictures of which it is known what there is to find."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from torch import Tensor

from rig.diagnose import Agreement, Gap, distance_agreement, drawn, moving_pixels, two_sample_gap
from rig.goals import Gaussian, Replayed
from rig.goals.gaussian import GaussianConfig
from rig.goals.replayed import ReplayedConfig

STEPS = 150


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def uniform(count: int, dims: int, seed: int = 0) -> Tensor:
    return torch.rand(count, dims, generator=seeded(seed)) * 2 - 1


def normal(count: int, dims: int, seed: int) -> Tensor:
    return torch.randn(count, dims, generator=seeded(seed))


class Line:
    """A task whose state is one place, or two that are two factors."""

    def distances(self, state: np.ndarray, goal: np.ndarray) -> dict[str, np.ndarray]:
        return {str(i): abs(state[:, i] - goal[:, i]) for i in range(state.shape[1])}


def agreement(code: Tensor, state: Tensor, weight: Tensor | None = None) -> Agreement:
    weight = torch.ones(code.shape[1]) if weight is None else weight
    return distance_agreement(code, weight, state.numpy(), Line(), seeded(1))


def known(found: Agreement) -> tuple[float, float]:
    assert found.spearman is not None and found.near_spearman is not None
    return found.spearman, found.near_spearman


def test_a_code_that_is_the_state_on_another_scale_agrees_wholly() -> None:
    state = uniform(500, 1)
    assert known(agreement(7 - 40 * state, state)) == pytest.approx((1, 1), abs=1e-3)


def test_a_folded_code_agrees_on_near_pairs_only() -> None:
    state = uniform(1000, 1)
    circle = torch.cat(((math.pi * state).cos(), (math.pi * state).sin()), 1)  # its ends, furthest apart, meet
    overall, near = known(agreement(circle, state))
    assert near > 0.999 and overall < 0.8


def test_a_blurred_code_agrees_on_far_pairs_only() -> None:
    state = uniform(1000, 1)
    overall, near = known(agreement(state + 0.15 * normal(1000, 1, 2), state))
    assert overall > 0.9 and near < 0.5


def test_distance_counts_coordinates_as_the_reward_does() -> None:
    state = uniform(500, 1)
    code = torch.cat((state, 3 * uniform(500, 1, 5)), 1)
    assert known(agreement(code, state, torch.tensor([2.0, 0.0]))) == pytest.approx((1, 1), abs=1e-3)
    assert known(agreement(code, state))[0] < 0.5


def test_the_true_distance_is_that_of_all_factors() -> None:
    state = uniform(500, 2)
    both, one = (known(agreement(code, state))[0] for code in (state, state[:, :1]))
    assert both > 0.97 and 0.4 < one < 0.8


def test_no_state_is_held_against_itself() -> None:
    pair = torch.tensor([[0.0], [1.0]])  # the one pair that there is has one distance: there is nothing to rank
    assert agreement(pair, pair) == Agreement(None, None)


def test_a_code_that_tells_nothing_has_no_rank_correlation() -> None:
    assert agreement(torch.zeros(50, 3), uniform(50, 1)) == Agreement(None, None)


def gap(one: Tensor, other: Tensor, steps: int = STEPS) -> Gap:
    return two_sample_gap(one, other, seeded(3), steps)


def test_samples_of_one_distribution_are_not_told_apart() -> None:
    found = gap(normal(1000, 4, 0), normal(1000, 4, 1), 100)
    assert found.accuracy == pytest.approx(0.5, abs=0.06) and found.p > 0.01


def test_shifted_codes_are_told_apart_on_any_scale() -> None:
    one, other = normal(1000, 4, 0), normal(1000, 4, 1) + torch.tensor([4.0, 0, 0, 0])
    for scale in (1e-2, 1e3):
        found = gap(scale * one, scale * other)
        assert found.accuracy == pytest.approx(NormalDist().cdf(2), abs=0.03) and found.p < 1e-9  # the best there is: cut halfway


def test_a_ring_is_told_from_the_gaussian_with_its_moments() -> None:
    angle = math.pi * uniform(1000, 1)
    ring = math.sqrt(2) * torch.cat((angle.cos(), angle.sin()), 1)
    prior = Gaussian(GaussianConfig(), 2)
    prior.fit(ring)
    assert gap(ring, prior.sample(1000, seeded(4))).accuracy > 0.75


def test_visited_codes_are_no_other_than_those_seen() -> None:
    codes, weight = normal(1500, 3, 0), torch.rand(1500, generator=seeded(1)).double() ** 8
    weight = weight / weight.sum()
    codes[:, 0] += 4 * weight.float() / weight.max().float()  # so that the weights matter
    prior = Replayed(ReplayedConfig(codes=4000), 3)
    prior.fit(codes, weight)
    goals = prior.sample(1500, seeded(2))
    assert gap(drawn(codes, weight, 1500, seeded(5)), goals).p > 0.01
    assert gap(drawn(codes, None, 1500, seeded(5)), goals).accuracy > 0.65


def test_what_was_learnt_by_heart_does_not_count() -> None:
    assert gap(normal(100, 30, 0), normal(100, 30, 1)).accuracy < 0.75  # 160 rows in 30 dimensions are told apart by a plane


def test_the_probability_is_that_of_guessing_so_well() -> None:
    found = [two_sample_gap(normal(100, 2, 2 * i), normal(100, 2, 2 * i + 1), seeded(i), 5) for i in range(40)]
    for accuracy, p in found:  # of 40 rows that are judged
        assert p == pytest.approx(1 - NormalDist(0.5, math.sqrt(0.25 / 40)).cdf(accuracy))
    assert 4 <= sum(p < 0.25 for _, p in found) <= 17  # ten are expected of samples that are alike


def test_codes_are_drawn_as_they_weigh() -> None:
    codes = torch.arange(5.0)[:, None]
    alike = torch.bincount(drawn(codes, None, 5000, seeded(0))[:, 0].long(), minlength=5)
    assert bool(((alike > 850) & (alike < 1150)).all())
    weight = torch.tensor([0.0, 0.75, 0.0, 0.0, 0.25]).double()
    some = torch.bincount(drawn(codes, weight, 5000, seeded(0))[:, 0].long(), minlength=5)
    assert some[[0, 2, 3]].sum() == 0 and 3550 < some[1] < 3950


def blinking(count: int = 300) -> Tensor:
    """Pictures u8[M, 2, 3, 3] in which one row is 20 or 220 in turn: a standard deviation of 100; the other stands still."""
    frames = torch.full((count, 2, 3, 3), 77, dtype=torch.uint8)
    frames[::2, 0], frames[1::2, 0] = 20, 220
    return frames


def found_of(frames: Tensor, decoded: Tensor) -> tuple[float, float]:
    found = moving_pixels(frames, decoded)
    assert found is not None
    return found.r2, found.share


def test_perfect_pictures_explain_all_and_the_mean_picture_nothing() -> None:
    frames = blinking()
    mean = frames.float().mean(0).round().to(torch.uint8).expand_as(frames)
    assert found_of(frames, frames) == (1, 0.5)
    assert found_of(frames, mean) == (0, 0.5)


def test_an_error_counts_by_its_square_against_the_variance() -> None:
    frames = blinking()
    decoded = frames.clone()
    decoded[:, 0] = torch.where(frames[:, 0] == 20, 70, 170).to(torch.uint8)  # 50 off where 100 is the deviation
    assert found_of(frames, decoded)[0] == pytest.approx(0.75)
    decoded[:, 0, 0, 0] = frames[:, 0, 0, 0]  # one of nine without error
    assert found_of(frames, decoded)[0] == pytest.approx(1 - 0.25 * 8 / 9)
    assert found_of(frames, 240 - frames)[0] == pytest.approx(-3)  # always the other: worse than the mean


def test_what_stands_still_counts_neither_for_nor_against() -> None:
    frames = blinking()
    decoded = frames.clone()
    decoded[:, 0] = torch.where(frames[:, 0] == 20, 70, 170).to(torch.uint8)
    flickers = frames.clone()
    flickers[::2, 1] += 18  # a standard deviation of 9, below a tenth of the largest
    for background in (0, 255):
        decoded[:, 1] = background
        assert found_of(frames, decoded) == (pytest.approx(0.75), 0.5)
        assert found_of(flickers, decoded) == (pytest.approx(0.75), 0.5)
    flickers[::2, 1] += 4  # of 11
    assert found_of(flickers, flickers) == (1, 1)
    wide = torch.cat((frames, torch.full_like(frames, 9)), 2)
    assert found_of(wide, torch.cat((decoded, torch.full_like(frames, 12)), 2)) == (pytest.approx(0.75), 0.25)


def test_where_nothing_moves_there_is_nothing_to_explain() -> None:
    still = torch.full((10, 2, 2, 3), 50, dtype=torch.uint8)
    assert moving_pixels(still, still) is None
