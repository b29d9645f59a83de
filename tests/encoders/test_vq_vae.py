"""The VQ-VAE's own parts held against hand computations, and that it learns a moving thing in symbols."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rig.encoders.training import Training
from rig.encoders.vq_vae import VQVAE, Codebook, VQVAEConfig
from rig.types import Tokens

SHAPE = (16, 24, 3)  # rows and columns unlike, so that one taken for the other shows


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def silent(step: int, steps: int, metrics: dict[str, float]) -> None:
    """A report that nobody reads."""


def make(steps: int = 20, **settings: float) -> VQVAE:
    config = VQVAEConfig(width=8, training=Training(steps=steps, batch=16, learning_rate=3e-3, precision="float32"))
    return VQVAE(replace(config, **settings), SHAPE, seeded(0))


def moving_square(count: int, seed: int, side: int = 5) -> Tensor:
    """Frames of a red square somewhere on a light, shaded ground."""
    height, width, _ = SHAPE
    shade = torch.linspace(180, 230, height).to(torch.uint8)
    frames = shade[:, None, None].expand(height, width, 3).repeat(count, 1, 1, 1)
    generator = seeded(seed)
    rows = torch.randint(0, height - side + 1, (count,), generator=generator)
    columns = torch.randint(0, width - side + 1, (count,), generator=generator)
    for frame, row, column in zip(frames, rows.tolist(), columns.tolist(), strict=True):
        frame[row : row + side, column : column + side] = torch.tensor([220, 30, 20], dtype=torch.uint8)
    return frames


def codebook(codes: Tensor, decay: float = 0.9) -> Codebook:
    found = Codebook(len(codes), codes.shape[1], decay, seeded(0))
    found.begin(torch.ones(len(codes), dtype=torch.bool), codes[:1], torch.ones(1), seeded(0))
    with torch.no_grad():
        found.codes.copy_(codes)
        found.total.copy_(codes)
    return found


def test_a_vector_is_quantised_to_the_nearest_code() -> None:
    found = Codebook(50, 3, 0.9, seeded(1))
    vectors = torch.randn(4, 7, 3, generator=seeded(2))
    symbols = found.nearest(vectors)
    distance = (vectors.double()[..., None, :] - found.codes.double()).norm(dim=-1)
    assert torch.equal(symbols, distance.argmin(-1)) and len(symbols.unique()) > 10
    torch.testing.assert_close((vectors - found(symbols)).norm(dim=-1).double(), distance.amin(-1))


def test_codes_that_nearly_touch_are_told_apart() -> None:
    codes = 1000 + 1e-3 * torch.arange(8.0)[:, None].repeat(1, 2)
    assert torch.equal(codebook(codes).nearest(codes), torch.arange(8))


def test_moving_averages_are_those_of_the_appendix() -> None:
    found = codebook(torch.tensor([[0.0], [10.0], [50.0]]))
    vectors = torch.tensor([[1.0], [3.0], [9.0]])
    symbols = found.nearest(vectors)
    assert symbols.tolist() == [0, 0, 1]
    found.follow(vectors, symbols)
    # N = .9·1 + .1·n, m = .9·e + .1·Σ, e = m / N; nothing was near the last, which stays.
    torch.testing.assert_close(found.count, torch.tensor([1.1, 1.0, 0.9]))
    torch.testing.assert_close(found.codes[:, 0].detach(), torch.tensor([0.4 / 1.1, 9.9, 50.0]))
    found.follow(vectors, symbols)
    torch.testing.assert_close(found.count, torch.tensor([1.19, 1.0, 0.81]))
    torch.testing.assert_close(found.codes[:, 0].detach(), torch.tensor([0.76 / 1.19, 9.81, 50.0]))


def test_a_code_that_nothing_is_near_for_long_stays_where_it_is() -> None:
    found = codebook(torch.tensor([[0.0], [50.0]]), decay=0.5)
    for _ in range(300):
        found.follow(torch.zeros(4, 1), torch.zeros(4, dtype=torch.int64))
    torch.testing.assert_close(found.codes[:, 0].detach(), torch.tensor([0.0, 50.0]))


def test_dead_codes_begin_anew_far_from_every_code_and_the_living_stay() -> None:
    found = codebook(torch.tensor([[0.0], [1.0], [900.0], [-900.0]]))
    vectors = torch.tensor([[0.0]] * 99 + [[7.0]])
    far = (vectors - found(found.nearest(vectors))).detach().square().sum(1)
    found.begin(torch.tensor([False, False, True, False]), vectors, far, seeded(3))
    assert found.codes[:, 0].tolist() == [0.0, 1.0, 7.0, -900.0]
    assert (float(found.total[2]), float(found.count[2])) == (7.0, 1.0)
    before = {name: value.clone() for name, value in found.state_dict().items()}
    found.begin(torch.zeros(4, dtype=torch.bool), vectors, far, seeded(3))  # where none died
    assert all(torch.equal(before[name], value) for name, value in found.state_dict().items())


def test_gradients_pass_the_quantiser_as_if_it_were_not_there() -> None:
    encoder = make()
    x = torch.randn(2, 3, *SHAPE[:2], generator=seeded(1))
    cells = encoder.cells(x).detach().requires_grad_()
    symbols = encoder.codebook.nearest(cells)
    encoder.losses(x, cells, symbols)["reconstruction"].backward()
    codes = encoder.codebook(symbols).detach().requires_grad_()
    (encoder.reconstruct(codes) - x).square().sum((1, 2, 3)).mean().backward()
    assert cells.grad is not None and codes.grad is not None and float(codes.grad.abs().max()) > 0
    torch.testing.assert_close(cells.grad, codes.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("decay", [0.99, 0.0])
def test_the_loss_is_the_papers(decay: float) -> None:
    encoder = make(decay=decay, commitment=0.5)
    x = torch.randn(3, 3, *SHAPE[:2], generator=seeded(1))
    cells = encoder.cells(x).detach().requires_grad_()
    symbols = encoder.codebook.nearest(cells)
    found = encoder.losses(x, cells, symbols)
    value = {name: float(each.detach()) for name, each in found.items()}
    codes = encoder.codebook(symbols).detach()
    error = float((encoder.reconstruct(codes) - x).detach().square().sum()) / 3
    away = float((cells - codes).detach().square().sum()) / 3
    assert value["reconstruction"] == pytest.approx(error, rel=1e-4)
    assert value["commitment"] == pytest.approx(away, rel=1e-4)
    assert value["loss"] == pytest.approx(error + (0.5 if decay else 1.5) * away, rel=1e-4)
    (found["loss"] - found["reconstruction"]).backward()
    torch.testing.assert_close(cells.grad, (2 * 0.5 / 3) * (cells - codes).detach(), rtol=1e-3, atol=1e-5)
    if decay:
        assert encoder.codebook.codes.grad is None
    else:  # the codebook term alone moves the codes
        wanted = torch.zeros_like(codes[0, 0, :1]).expand(encoder.symbols, -1).clone()
        wanted.index_add_(0, symbols.flatten(), (2 / 3) * (codes - cells).detach().flatten(0, 2))
        torch.testing.assert_close(encoder.codebook.codes.grad, wanted, rtol=1e-3, atol=1e-5)


def test_symbols_and_codes_are_one_to_one() -> None:
    encoder = make()
    assert isinstance(encoder, Tokens) and encoder.grid == (2, 3) and encoder.symbols == 128
    symbols = torch.randint(0, 128, (5, 2, 3), generator=seeded(1))
    latent = encoder.embed(symbols)
    assert latent.shape == (5, encoder.latent_dim) == (5, 24) and torch.equal(encoder.tokens(latent), symbols)
    torch.testing.assert_close(latent[4].view(2, 3, 4)[1, 2], encoder.codebook.codes[symbols[4, 1, 2]].detach())
    assert not torch.equal(latent, encoder.embed(symbols.flip(2)))


def test_codes_of_frames_are_quantised_and_any_latent_is_before_it_is_decoded() -> None:
    encoder = make()
    frames = moving_square(40, seed=0)
    encoder.fit(frames[None], seeded(1), silent)
    latent = encoder.encode(frames)
    assert torch.equal(encoder.embed(encoder.tokens(latent)), latent)
    near = latent + 1e-4 * torch.randn(latent.shape, generator=seeded(2))
    assert torch.equal(encoder.decode(near), encoder.decode(latent))


@pytest.mark.parametrize("decay", [0.99, 0.0])
def test_it_learns_to_reconstruct_a_moving_square(decay: float) -> None:
    frames, fresh = moving_square(400, seed=0), moving_square(200, seed=9)
    encoder = make(steps=200, decay=decay, revive=20)
    errors: list[float] = []
    metrics = encoder.fit(frames[None], seeded(1), lambda done, total, found: errors.append(found["reconstruction"]))
    assert errors[-1] < 0.3 * errors[0]
    blind = encoder.standardise(fresh).square().flatten(1).sum(1).mean()  # the mean picture, always
    seen = (encoder.standardise(encoder.decode(encoder.encode(fresh))) - encoder.standardise(fresh)).square()
    assert float(seen.flatten(1).sum(1).mean()) < 0.4 * float(blind)
    used = encoder.tokens(encoder.encode(frames)).unique()
    assert metrics["codes_in_use"] == pytest.approx(len(used) / 128) and metrics["codes_in_use"] > 0.5
    assert 1 <= metrics["perplexity"] <= len(used)


def test_dead_codes_come_back_in_training() -> None:
    frames = moving_square(200, seed=0)

    def in_use(revive: int) -> float:
        # Codes far away, that no output of the trunk is near, but for one.
        encoder = make(steps=100, revive=revive, codes=32)
        encoder.standardise.fit(frames)
        with torch.no_grad():
            encoder.codebook.codes.add_(1e4)
            encoder.codebook.codes[0] = 0
            encoder.codebook.total.copy_(encoder.codebook.codes)
        encoder.train_on(frames, encoder.config.training, seeded(1), silent)
        return len(encoder.tokens(encoder.encode(frames)).unique()) / 32

    assert in_use(revive=0) == 1 / 32
    assert in_use(revive=10) > 0.5


def test_a_refit_goes_on_from_weights_and_codes_and_keeps_the_standardisation() -> None:
    frames = moving_square(100, seed=0)
    encoder = make(steps=40)
    encoder.fit(frames[None], seeded(1), silent)
    kept = {name: value.clone() for name, value in encoder.standardise.state_dict().items()}
    version, codes = encoder.version, encoder.codebook.codes.detach().clone()
    dark = frames // 2
    metrics = encoder.refit(dark, torch.full((100,), 0.01, dtype=torch.float64), 30, seeded(2), silent)
    assert encoder.version != version and metrics["loss"] > 0
    assert all(torch.equal(kept[name], value) for name, value in encoder.standardise.state_dict().items())
    moved = (encoder.codebook.codes.detach() - codes).norm(dim=1)
    assert 0 < float(moved.median()) < float(codes.norm(dim=1).median())
