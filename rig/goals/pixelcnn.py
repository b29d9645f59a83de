"""A distribution over grids of symbols that draws one cell after the other: PixelCNN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from rig.goals.base import GoalSampler
from rig.goals.gaussian import shares
from rig.nets import Adam, initialise
from rig.types import Coder, Report, Tokens, silent


@dataclass(frozen=True)
class PixelCNNConfig:
    """Settings of the PixelCNN."""

    name: str = "pixelcnn"
    width: int = 32  # channels of its convolutions
    layers: int = 5  # gated layers: as many rows above a cell, and cells to its left, are seen
    steps: int = 1500  # gradient steps a fit, from new weights
    batch: int = 64  # codes a step, drawn by their weights
    learning_rate: float = 0.01  # of Adam, falling to a tenth


class GatedLayer(nn.Module):
    """One layer of two stacks of features f32[B, C, rows, columns]: of what is above a cell, and of what is left of it.

    Source: van den Oord et al. 2016 (arXiv:1606.05328), figure 2.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(width, 2 * width, (2, 3))
        self.across = nn.Conv2d(width, 2 * width, (1, 2))
        self.joined = nn.Conv2d(2 * width, 2 * width, 1)
        self.out = nn.Conv2d(width, width, 1)

    def vertical(self, above: Tensor) -> tuple[Tensor, Tensor]:
        """The stack of what is above after this layer, and what it adds to the other: f32[B, 2C, rows, columns]."""
        down = self.down(pad(above, (1, 1, 1, 0)))
        return _gated(down), self.joined(down)

    def horizontal(self, left: Tensor, added: Tensor) -> Tensor:
        """The stack of what is left after this layer; no row sees another but by what was `added`."""
        return left + self.out(_gated(self.across(pad(left, (1, 0, 0, 0))) + added))


def _gated(features: Tensor) -> Tensor:
    """tanh of one half of the channels times the sigmoid of the other: equation 2."""
    one, other = features.chunk(2, 1)
    return one.tanh() * other.sigmoid()


class Causal(nn.Module):
    """Logits of every cell's symbol from the cells before it, in reading order.

    A convolution reaches up and left only, and its input is shifted by one cell, so that nothing needs a mask. Every cell has
    features of its own beside its neighbours' (`place`): the camera stands still, and each place has its own frequent symbols.
    """

    def __init__(self, symbols: int, grid: tuple[int, int], width: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, width)
        self.place = nn.Parameter(torch.zeros(width, *grid))
        self.layers: Any = nn.ModuleList(GatedLayer(width) for _ in range(layers))
        self.head = nn.Sequential(nn.ReLU(), nn.Conv2d(width, symbols, 1))

    def begin(self, generator: torch.Generator) -> None:
        """Redraw every weight from `generator`."""
        initialise(self, generator)
        nn.init.normal_(self.embedding.weight, generator=generator)
        nn.init.zeros_(self.place)

    def forward(self, symbols: Tensor) -> Tensor:
        """Logits f32[B, K, rows, columns] of symbols i64[B, rows, columns]."""
        return self.along(symbols, self.above(symbols), self.place)

    def above(self, symbols: Tensor) -> list[Tensor]:
        """What is above the cells of the first r rows, from their symbols i64[B, r, columns]: f32[B, 2C, r, columns] a layer."""
        stack = pad(self.embedding(symbols).permute(0, 3, 1, 2), (0, 0, 1, 0))[:, :, :-1] + self.place[:, : symbols.shape[1]]
        found: list[Tensor] = []
        for layer in self.layers:
            stack, added = layer.vertical(stack)
            found.append(added)
        return found

    def along(self, symbols: Tensor, above: list[Tensor], place: Tensor) -> Tensor:
        """Logits f32[B, K, r, c] of the first c cells of any r rows, from symbols i64[B, r, c], what is above, and the place."""
        stack = pad(self.embedding(symbols).permute(0, 3, 1, 2), (1, 0, 0, 0))[..., :-1] + place
        for layer, added in zip(self.layers, above, strict=True):
            stack = layer.horizontal(stack, added)
        return self.head(stack)

    def draw(self, chance: Tensor) -> Tensor:
        """Symbols i64[B, rows, columns] drawn cell by cell in reading order, by numbers f32[B, rows, columns] even in 0 to 1.

        What is above a row is worked out once a row, which no symbol of its own changes.
        """
        symbols = torch.zeros(chance.shape, dtype=torch.int64, device=chance.device)
        for row in range(chance.shape[1]):
            above = [added[:, :, row : row + 1] for added in self.above(symbols[:, : row + 1])]
            for column in range(chance.shape[2]):
                cells = slice(0, column + 1)
                so_far, place = symbols[:, row : row + 1, cells], self.place[:, row : row + 1, cells]
                logits = self.along(so_far, [added[..., cells] for added in above], place)[:, :, 0, -1]
                heap = logits.softmax(1).cumsum(1)
                drawn = torch.searchsorted(heap, chance[:, row, column, None] * heap[:, -1:])
                symbols[:, row, column] = drawn[:, 0].clamp(max=heap.shape[1] - 1)
        return symbols


class PixelCNN(GoalSampler):
    """Gated PixelCNN over an encoder's grid of symbols: imagines goals cell by cell, each given the cells before it.

    It needs an encoder whose code is symbols (`encoder=vq_vae`). `log_prob` is the logarithm of a probability of symbols, not
    of a density of latents: at most 0, and every latent counts as its nearest symbols.
    Source: van den Oord et al. 2016 (arXiv:1606.05328), section 2; as the prior of a VQ-VAE, van den Oord et al. 2017, 3.3.
    """

    Config = PixelCNNConfig
    has_density = False
    net: Causal
    held_out: Tensor

    def __init__(self, config: PixelCNNConfig, latent_dim: int) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("held_out", torch.zeros(()))

    def attach(self, encoder: Coder, observed_shape: tuple[int, ...]) -> None:
        """See GoalSampler. Raises ValueError where the encoder's code is not made of symbols."""
        if not isinstance(encoder, Tokens):
            raise ValueError("it draws symbols, and this encoder has none; try encoder=vq_vae or goals=gaussian_full")
        self.codec = (encoder,)  # in a tuple, or it would be taken for a part of this module and of its state
        self.net = Causal(encoder.symbols, encoder.grid, self.config.width, self.config.layers)
        self.net.begin(torch.Generator().manual_seed(0))

    def fit(self, latent: Tensor, weight: Tensor | None = None, report: Report = silent) -> None:
        """Minimise the cross-entropy of the symbols of codes f32[M, D], drawn by `weight` f64[M], from new weights.

        New ones, because a refitted encoder gives symbols another meaning; they, and the minibatches, are drawn always alike. The
        last tenth of the codes is not learnt from, but held out for `metrics`.
        """
        symbols, counts = self.codec[0].tokens(latent), shares(latent, weight)
        learnt = len(latent) - len(latent) // 10
        if float(counts[:learnt].sum()) == 0:
            learnt = len(latent)
        always = torch.Generator(latent.device).manual_seed(0)
        self.net.begin(always)
        descent = Adam(self.net.parameters(), self.config.learning_rate, anneal=self.config.steps)
        for step in range(self.config.steps):
            index = torch.multinomial(counts[:learnt], self.config.batch, replacement=True, generator=always)
            descent.minimise(cross_entropy(self.net(symbols[index]), symbols[index]))
            report(step + 1, self.config.steps, {})
        apart = symbols[learnt:] if learnt < len(latent) else symbols
        self.held_out.copy_(-self._log_prob(apart).mean() / apart[0].numel())

    def metrics(self) -> dict[str, float]:
        """`prior_nats_per_cell`: what a symbol of the codes held out of the last fit costs; log K if all were as probable."""
        return {"prior_nats_per_cell": float(self.held_out)}

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw imagined goals f32[count, D]: each cell from its distribution given those before it, in reading order."""
        chance = torch.rand((count, *self.codec[0].grid), generator=generator, device=self.held_out.device)
        return self.codec[0].embed(self.net.draw(chance))

    def log_prob(self, latent: Tensor) -> Tensor:
        """log P of the symbols in nats, f32[B], of codes f32[B, D]."""
        return self._log_prob(self.codec[0].tokens(latent))

    @torch.no_grad()
    def _log_prob(self, symbols: Tensor) -> Tensor:
        """log P in nats, f32[B], of symbols i64[B, rows, columns]; some hundreds at a time."""
        return torch.cat([-cross_entropy(self.net(chunk), chunk, reduction="none").sum((1, 2)) for chunk in symbols.split(512)])
