"""The probe, on codes of which it is known what they tell."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rig.probe import active_units, linear_r2, probe

STEPS = 300


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def uniform(count: int, dims: int, seed: int) -> Tensor:
    return torch.rand(count, dims, generator=seeded(seed)) * 2 - 1


def test_a_linear_code_is_read_either_way() -> None:
    state = uniform(1500, 2, 0)
    latent = state @ torch.tensor([[1.0, 2.0, 0.0], [0.5, -1.0, 3.0]]) * 40 + 7
    for found in probe(latent, state, seeded(1), STEPS):
        assert found.r2 > 0.99 and found.linear_r2 > 0.9999 and found.median_error < 0.03


def test_a_folded_code_is_read_by_the_perceptron_only() -> None:
    state = uniform(2500, 1, 0)
    turn, radius = 6.0 * state, 1.5 + state  # a spiral: one-to-one, but nowhere near straight
    latent = torch.cat((radius * turn.cos(), radius * turn.sin()), 1)
    (found,) = probe(latent, state, seeded(1), STEPS)
    assert found.r2 > 0.98 and found.linear_r2 < 0.6


def test_a_factor_that_the_code_does_not_hold_scores_nothing() -> None:
    latent = uniform(400, 6, 0)
    told, untold = probe(latent, torch.cat((latent[:, :1], uniform(400, 1, 5)), 1), seeded(1), STEPS)
    # The perceptron can learn all 320 rows by heart: only rows that it never saw give it away.
    assert untold.r2 < 0.1 and untold.linear_r2 < 0.1
    assert told.r2 > 0.5 and told.linear_r2 > 0.999


def test_the_error_is_the_median_in_the_factors_own_unit() -> None:
    latent = uniform(4000, 1, 0)
    noise = 0.1 * torch.randn(4000, 1, generator=seeded(3))
    metres, millimetres = probe(latent, torch.cat((latent + noise, 1000 * (latent + noise)), 1), seeded(1), STEPS)
    assert metres.median_error == pytest.approx(0.6745 * 0.1, rel=0.15)  # the median of a normal variable's size
    assert millimetres.median_error == pytest.approx(1000 * metres.median_error, rel=0.05)
    explained = float((latent + noise).var()) - 0.01
    assert metres.r2 == pytest.approx(explained / (explained + 0.01), abs=0.01)
    assert metres.linear_r2 == pytest.approx(metres.r2, abs=0.01)


def test_a_probe_depends_on_its_own_generator_alone() -> None:
    latent, state = uniform(300, 2, 0), uniform(300, 2, 1)
    torch.manual_seed(0)
    first = probe(latent, state, seeded(2), 20)
    torch.manual_seed(1)
    assert first == probe(latent, state, seeded(2), 20) != probe(latent, state, seeded(3), 20)


def test_dead_latents_and_constant_factors_do_no_harm() -> None:
    state = torch.cat((uniform(500, 1, 0), torch.full((500, 1), 0.3)), 1)
    latent = torch.cat((state[:, :1], torch.full((500, 1), 5.0)), 1)
    moving, constant = probe(latent, state, seeded(1), STEPS)
    assert moving.r2 > 0.98 and moving.linear_r2 > 0.98
    assert constant.median_error < 1e-4


def test_a_number_that_moved_once_does_not_drown_the_others() -> None:
    state = uniform(1500, 1, 0)
    latent = torch.cat((state, torch.zeros(1500, 40)), 1)
    for number in range(40):  # each moves in some row alone
        latent[37 * number, 1 + number] = 1e-2
    assert probe(latent, state, seeded(1), STEPS)[0].r2 > 0.99


def test_codes_as_long_as_a_picture_are_read_by_their_principal_components() -> None:
    state = uniform(1500, 2, 0)
    latent = state @ torch.randn(2, 3000, generator=seeded(2)) + 0.1 * torch.randn(1500, 3000, generator=seeded(3))
    assert min(found.r2 for found in probe(latent, state, seeded(1), STEPS)) > 0.98
    assert min(linear_r2(latent, state)) > 0.99


def test_linear_r2_is_judged_on_rows_that_it_was_not_fitted_to() -> None:
    latent, weights = uniform(500, 3, 0), torch.tensor([[1.0], [2.0], [-1.0]])
    state = latent @ weights + 4
    assert linear_r2(latent, state)[0] > 0.9999
    state[400:] = -state[400:]
    assert linear_r2(latent, state)[0] < 0
    memorised = linear_r2(uniform(100, 70, 1), uniform(100, 2, 2))  # 71 coefficients for 80 rows
    assert max(memorised) < 0


def test_active_units_are_those_whose_mean_moves() -> None:
    spread = torch.tensor([1.0, 0.2, 0.05, 0.0])
    assert active_units(torch.randn(2000, 4, generator=seeded(0)) * spread + 7) == 2
