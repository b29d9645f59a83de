"""PixelCNN: what it may look at, that it learns a distribution that is known, and that it draws from the one it claims."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from rig.build import make_representation
from rig.cli_compose import compose
from rig.errors import UserError
from rig.goals import PixelCNN
from rig.goals.pixelcnn import Causal, PixelCNNConfig


class Numbered:
    """An encoder's symbols, of which a cell's latent is its symbol as a number."""

    observes = "frame"

    def __init__(self, symbols: int, grid: tuple[int, int]) -> None:
        self.symbols, self.grid = symbols, grid

    def tokens(self, latent: Tensor) -> Tensor:
        return latent.round().long().clamp(0, self.symbols - 1).view(-1, *self.grid)

    def embed(self, tokens: Tensor) -> Tensor:
        return tokens.flatten(1).float()

    def encode(self, observed: Tensor) -> Tensor:
        return observed.flatten(1).float()


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(symbols: int, grid: tuple[int, int], steps: int = 150) -> PixelCNN:
    sampler = PixelCNN(PixelCNNConfig(width=16, layers=2, steps=steps, learning_rate=0.01), grid[0] * grid[1])
    sampler.attach(Numbered(symbols, grid), (8, 8, 3))
    return sampler


def every_grid(symbols: int, cells: int) -> Tensor:
    """All codes f32[symbols ** cells, cells]."""
    return torch.tensor(list(product(range(symbols), repeat=cells)), dtype=torch.float32)


def echoes(count: int, seed: int) -> Tensor:
    """Codes of 2 x 2 cells of three symbols: a (shares .5, .3, .2), then b (.6 of it a), and below them b and a again."""
    generator = seeded(seed)
    a = torch.multinomial(torch.tensor([0.5, 0.3, 0.2]), count, replacement=True, generator=generator)
    other = (a + torch.randint(1, 3, (count,), generator=generator)) % 3
    b = torch.where(torch.rand(count, generator=generator) < 0.6, a, other)
    return torch.stack((a, b, b, a), 1).float()


def true_log_prob(codes: Tensor) -> Tensor:
    """log P of such codes in nats."""
    a, b = codes[:, 0].long(), codes[:, 1].long()
    second = torch.where(a == b, 0.6, 0.2)
    return torch.tensor([0.5, 0.3, 0.2])[a].log() + second.log()


def test_a_cells_logits_depend_on_the_cells_before_it_and_on_all_of_them() -> None:
    rows, columns = 4, 5
    net = Causal(7, (rows, columns), width=16, layers=5)
    net.begin(seeded(0))
    symbols = torch.randint(0, 7, (1, rows, columns), generator=seeded(1))
    plain = net(symbols).detach()
    for cell in range(rows * columns):
        changed = symbols.clone()
        changed.view(-1)[cell] = (changed.view(-1)[cell] + 1) % 7
        moved = (net(changed).detach() - plain).abs().amax((0, 1)).flatten()
        assert torch.equal(moved[: cell + 1], torch.zeros(cell + 1)), f"cell {cell} is seen by itself or one before it"
        assert bool((moved[cell + 1 :] > 0).all()), f"cell {cell} is not seen by all that follow"


def test_every_cell_is_drawn_from_the_logits_that_the_whole_grid_has() -> None:
    net = Causal(7, (4, 5), width=8, layers=3)
    net.begin(seeded(0))
    torch.nn.init.normal_(net.place, generator=seeded(1))
    chance = torch.rand(20, 4, 5, generator=seeded(2))
    symbols = net.draw(chance)
    heap = net(symbols).detach().softmax(1).cumsum(1)
    below = (heap < chance[:, None]).sum(1)  # how many symbols lie wholly below the number drawn
    assert torch.equal(symbols, below) and len(symbols.unique()) == 7


@pytest.mark.parametrize("fitted", [False, True])
def test_probabilities_of_all_grids_add_to_one(fitted: bool) -> None:
    sampler = make(3, (2, 2), steps=20)
    if fitted:
        sampler.fit(echoes(200, seed=0))
    found = sampler.log_prob(every_grid(3, 4))
    assert found.shape == (81,) and float(found.max()) < 0
    assert float(found.double().exp().sum()) == pytest.approx(1, abs=1e-5)


def test_a_known_distribution_is_learnt_and_drawn_from() -> None:
    sampler, fresh = make(3, (2, 2)), echoes(2000, seed=9)
    sampler.fit(echoes(4000, seed=0))
    entropy, found = -float(true_log_prob(fresh).mean()), -float(sampler.log_prob(fresh).mean())
    assert entropy - 0.05 < found < entropy + 0.1 < 4 * math.log(3)
    assert sampler.metrics()["prior_nats_per_cell"] == pytest.approx(entropy / 4, abs=0.05)
    goals = sampler.sample(6000, seeded(3))
    digits = torch.tensor([27.0, 9.0, 3.0, 1.0])
    share = torch.bincount((goals @ digits).long(), minlength=81) / 6000
    claimed = sampler.log_prob(every_grid(3, 4)).exp()  # in the same order
    assert float((share - claimed).abs().max()) < 0.02
    copied = ((goals[:, 0] == goals[:, 3]) & (goals[:, 1] == goals[:, 2])).float().mean()
    assert float(copied) > 0.95


def test_a_weight_counts_a_code_as_often_as_it_says() -> None:
    codes = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(50, 1)
    weight = torch.tensor([0.9, 0.1], dtype=torch.float64).repeat(50) / 50
    sampler = make(2, (1, 2), steps=60)
    sampler.fit(codes, weight)
    torch.testing.assert_close(sampler.log_prob(codes[:2]).exp(), torch.tensor([0.9, 0.1]), rtol=0, atol=0.04)
    sampler.fit(codes, (torch.arange(100) == 99).double())  # all of it among the codes held out: these are learnt from
    assert float(sampler.log_prob(codes[1:2]).exp()) > 0.95


def test_a_second_fit_forgets_the_first_and_draws_alike() -> None:
    again, fresh = make(3, (2, 2), steps=10), make(3, (2, 2), steps=10)
    again.fit(echoes(200, seed=5))
    for sampler in (again, fresh):
        sampler.fit(echoes(200, seed=0))
    assert torch.equal(again.log_prob(every_grid(3, 4)), fresh.log_prob(every_grid(3, 4)))


def test_a_handful_of_codes_can_be_fitted() -> None:
    sampler = make(3, (2, 2), steps=5)
    sampler.fit(echoes(1, seed=0))
    assert math.isfinite(sampler.metrics()["prior_nats_per_cell"])


def test_the_encoder_is_no_part_of_the_samplers_state() -> None:
    config = compose(["encoder=vq_vae", "goals=pixelcnn", "encoder.width=8", "goals.width=8", "device=cpu"])
    found = make_representation(config, Worlds())
    assert isinstance(found.goals, PixelCNN)
    assert all(name.startswith("net.") or name == "held_out" for name in found.goals.state_dict())
    encoders = {id(parameter) for parameter in found.encoder.parameters()}
    assert encoders.isdisjoint({id(parameter) for parameter in found.goals.parameters()})
    assert found.encoder.decode(found.goals.sample(2, seeded(0))).shape == (2, 24, 24, 3)


class Worlds:
    """As much of an environment as a representation asks for."""

    frame_shape, state_dim = (24, 24, 3), 4


@pytest.mark.parametrize("encoder", ["beta_vae", "oracle", "rig.encoders.spatial_vae:SpatialVAE"])
def test_an_encoder_without_symbols_is_refused_in_one_line(encoder: str) -> None:
    config = compose([f"encoder={encoder}", "goals=pixelcnn", "device=cpu"])
    with pytest.raises(UserError) as caught:
        make_representation(config, Worlds())
    wanted = f"goals=pixelcnn with encoder={encoder}: it draws symbols, and this encoder has none; try encoder=vq_vae or "
    assert str(caught.value) == wanted + "goals=gaussian_full"
