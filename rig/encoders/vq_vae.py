"""A VQ-VAE: a code that is a grid of symbols out of a learnt alphabet."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from rig.encoders.base import Encoder, in_chunks
from rig.encoders.dense import doublings, grid_of, halvings
from rig.encoders.standardise import Standardise
from rig.encoders.training import Training, descend
from rig.nets import initialise, mixed_precision
from rig.types import Report


@dataclass(frozen=True)
class VQVAEConfig:
    """Settings of the VQ-VAE."""

    name: str = "vq_vae"
    codes: int = 128  # K, code vectors in the codebook
    code_dim: int = 4  # D, numbers in a code vector; latents = D x an eighth of the height x an eighth of the width
    width: int = 32  # channels of the first convolution; the next two have twice as many
    commitment: float = 0.25  # weight of what the encoder's outputs are away from their codes, squared [van den Oord: 0.25]
    decay: float = 0.95  # of the codebook's moving averages, a gradient step; 0: learnt by gradient [van den Oord: 0.99]
    revive: int = 50  # gradient steps between looks for codes that nothing was near, which begin anew; 0: never
    training: Training = field(default_factory=Training)


class Codebook(nn.Module):
    """K code vectors f32[K, D]; a vector is quantised to the nearest of them.

    With a decay above 0 they are moving averages of what they stand for, and have no gradient; with 0 they are trained.
    Source: van den Oord et al. 2017 (arXiv:1711.00937), equation 1 and appendix A.1.
    """

    count: Tensor
    total: Tensor

    def __init__(self, codes: int, dim: int, decay: float, generator: torch.Generator) -> None:
        super().__init__()
        self.decay = decay
        self.codes = nn.Parameter(torch.randn(codes, dim, generator=generator), requires_grad=decay == 0)
        self.register_buffer("count", torch.ones(codes))
        self.register_buffer("total", self.codes.detach().clone())

    @torch.no_grad()
    def nearest(self, vectors: Tensor) -> Tensor:
        """Symbols i64[…], in 0 to K - 1, of vectors f32[…, D]: which code is nearest to each."""
        # By differences, not by products, whose rounding would tell a code from its neighbour wrongly.
        distance = torch.cdist(vectors.flatten(0, -2), self.codes, compute_mode="donot_use_mm_for_euclid_dist")
        return distance.argmin(1).view(vectors.shape[:-1])

    def forward(self, symbols: Tensor) -> Tensor:
        """Code vectors f32[…, D] of symbols i64[…]."""
        return self.codes[symbols]

    @torch.no_grad()
    def follow(self, vectors: Tensor, symbols: Tensor) -> None:
        """Move the averages to vectors f32[M, D], quantised to symbols i64[M]: appendix A.1."""
        member = nn.functional.one_hot(symbols, len(self.codes)).to(vectors.dtype)
        self.count.lerp_(member.sum(0), 1 - self.decay)
        self.total.lerp_(member.T @ vectors, 1 - self.decay)
        stands = self.count > 1e-6  # what nothing was near for thousands of steps stays where it is
        self.codes.copy_(torch.where(stands[:, None], self.total / self.count[:, None].clamp(min=1e-6), self.codes))

    @torch.no_grad()
    def begin(self, which: Tensor, vectors: Tensor, weight: Tensor, generator: torch.Generator) -> None:
        """Put the codes bool[K] that are true at some of vectors f32[M, D], drawn by weight f32[M]."""
        if not bool(which.any()):
            return
        # A loss that is not finite is told of by who watches it, not by a draw that fails.
        chance = weight.nan_to_num(0, 0).clamp(min=1e-12)
        drawn = vectors[torch.multinomial(chance, int(which.sum()), replacement=True, generator=generator)]
        self.codes[which] = drawn
        self.total[which] = drawn
        self.count[which] = 1


class VQVAE(Encoder):
    """VQ-VAE: a grid of cells, each the nearest of K learnt code vectors, learnt by straight-through gradients.

    The latent is the grid's code vectors, row after row of cells, D numbers a cell. Any latent can be decoded: each cell's part
    of it is quantised first.
    Source: van den Oord et al. 2017 (arXiv:1711.00937); codes that died begin anew: Dhariwal et al. 2020, section 3.1.
    """

    Config = VQVAEConfig
    can_decode = True

    def __init__(self, config: VQVAEConfig, frame_shape: tuple[int, int, int], generator: torch.Generator) -> None:
        super().__init__()
        rows, columns = grid_of(frame_shape)
        self.config = config
        self.grid = (rows, columns)
        self.symbols = config.codes
        self.latent_dim = rows * columns * config.code_dim
        self.standardise = Standardise(frame_shape)
        self.trunk = nn.Sequential(*halvings(frame_shape[2], config.width), nn.Conv2d(2 * config.width, config.code_dim, 1))
        self.codebook = Codebook(config.codes, config.code_dim, config.decay, generator)
        self.decoder = nn.Sequential(
            nn.Conv2d(config.code_dim, 2 * config.width, 3, 1, 1), nn.ReLU(),
            *doublings(frame_shape, config.width),
        )  # fmt: skip
        initialise(self, generator)

    def cells(self, x: Tensor) -> Tensor:
        """What the trunk makes of standardised frames f32[B, 3, H, W], unquantised: f32[B, rows, columns, D]."""
        return self.trunk(x).float().permute(0, 2, 3, 1)

    def reconstruct(self, cells: Tensor) -> Tensor:
        """Standardised pictures f32[B, 3, H, W] of code vectors f32[B, rows, columns, D]."""
        return self.decoder(cells.permute(0, 3, 1, 2)).float()

    def tokens(self, latent: Tensor) -> Tensor:
        """Symbols i64[B, rows, columns] of latents f32[B, rows * columns * D]: the nearest code of each cell."""
        return in_chunks(lambda chunk: self.codebook.nearest(chunk.view(-1, *self.grid, self.config.code_dim)), latent)

    @torch.no_grad()
    def embed(self, tokens: Tensor) -> Tensor:
        """Latents f32[B, rows * columns * D] of symbols i64[B, rows, columns]; `tokens` undoes it."""
        return self.codebook(tokens).flatten(1)

    def losses(self, x: Tensor, cells: Tensor, symbols: Tensor) -> dict[str, Tensor]:
        """Σ_pixels (x̃ - x̂)² + commitment·Σ_cells |z - sg(e)|² (+ Σ_cells |sg(z) - e|² without a decay), averaged over frames.

        The gradient of the code vectors that are decoded is passed to the cells as it is (straight through).
        Source: van den Oord et al. 2017, equation 3.
        """
        codes = self.codebook(symbols)
        with mixed_precision(self.config.training.precision, x.device):
            pictures = self.reconstruct(cells + (codes - cells).detach())
        reconstruction = (pictures - x).square().sum((1, 2, 3)).mean()
        commitment = (cells - codes.detach()).square().sum((1, 2, 3)).mean()
        loss = reconstruction + self.config.commitment * commitment
        if self.config.decay == 0:
            loss = loss + (cells.detach() - codes).square().sum((1, 2, 3)).mean()
        return {"reconstruction": reconstruction, "commitment": commitment, "loss": loss}

    def fit(self, episodes: Tensor, generator: torch.Generator, report: Report) -> dict[str, float]:
        """See Encoder. Codes begin at outputs of the untrained trunk.

        `codes_in_use` is the share of the K codes that some cell of some training frame has; `perplexity` is exp of the entropy
        of how often they have each, from 1 to K.
        """
        frames = episodes.flatten(0, 1)
        self.standardise.fit(frames)
        first = torch.randint(len(frames), (self.config.training.batch,), generator=generator, device=frames.device)
        with torch.no_grad():
            vectors = self.cells(self.standardise(frames[first])).flatten(0, 2)
        every = torch.ones(self.symbols, dtype=torch.bool, device=frames.device)
        self.codebook.begin(every, vectors, torch.ones_like(vectors[:, 0]), generator)
        metrics = self.train_on(frames, self.config.training, generator, report)
        share = self.tokens(self.encode(frames)).flatten().bincount(minlength=self.symbols).double()
        share = share / share.sum()
        return {
            **metrics,
            "codes_in_use": float((share > 0).double().mean()),
            "perplexity": float(torch.special.entr(share).sum().exp()),
        }

    def refit(
        self, observed: Tensor, weight: Tensor | None, steps: int, generator: torch.Generator, report: Report
    ) -> dict[str, float]:
        """Train on from these weights and codes; the standardisation stays, as for the VAEs."""
        return self.train_on(observed, replace(self.config.training, steps=steps), generator, report, weight)

    def train_on(
        self, frames: Tensor, training: Training, generator: torch.Generator, report: Report, weight: Tensor | None = None
    ) -> dict[str, float]:
        """Minimise `losses` over frames u8[M, H, W, 3] from the present weights and codes; the closing metrics.

        Codes that nothing was near since the last look begin anew at cells that are far from their codes, drawn in proportion to
        the squared distance. None does in the last half, in which the learning rate falls: it would not be learnt any more.
        """
        used = torch.zeros(self.symbols, dtype=torch.bool, device=frames.device)

        def loss(index: Tensor, step: int) -> dict[str, Tensor]:
            x = self.standardise(frames[index])
            with mixed_precision(training.precision, x.device):
                cells = self.cells(x)
            vectors = cells.detach().flatten(0, 2)
            if self.config.revive and step and step % self.config.revive == 0:
                if 2 * step < training.steps:
                    far = (vectors - self.codebook(self.codebook.nearest(vectors))).detach().square().sum(1)
                    self.codebook.begin(~used, vectors, far, generator)
                used.zero_()
            symbols = self.codebook.nearest(cells)
            used[symbols.flatten()] = True
            found = self.losses(x, cells, symbols)
            if self.config.decay:
                self.codebook.follow(vectors, symbols.flatten())
            return found

        metrics = descend(self, loss, len(frames), training, generator, report, weight)
        self.version += 1
        return metrics

    @torch.no_grad()
    def encode(self, observed: Tensor) -> Tensor:
        """The quantised code f32[B, rows * columns * D] of observations u8[B, H, W, 3]; no gradient."""
        return in_chunks(lambda chunk: self.embed(self.codebook.nearest(self.cells(self.standardise(chunk)))), observed)

    @torch.no_grad()
    def decode(self, latent: Tensor) -> Tensor:
        """See Encoder; of each cell's nearest code, whatever the latent."""
        return self.standardise.invert(self.reconstruct(self.codebook(self.tokens(latent))))
