"""Goals that somebody else has photographed: pictures in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rig.errors import UserError
from rig.goals.base import GoalSampler
from rig.goals.replayed import kernel_log_density
from rig.types import WIDEST, Coder, Report, silent
from rig.video import read_goals

PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Names of files that are taken for pictures end so."""


@dataclass(frozen=True)
class DatasetConfig:
    """Settings of goals from pictures."""

    name: str = "dataset"
    folder: str = ""  # of the pictures, of any size and format; what lies deeper is not looked at
    codes: int = 1024  # most pictures; each is drawn as often as any other


class Dataset(GoalSampler):
    """Codes of the pictures in a folder: goals that a person chose, or that another camera saw, in place of imagined ones.

    Exploration's codes say nothing to it. `log_prob` is a kernel density estimate's, as that of visited goals; it waits for the
    device. Source: the goal images of Nair et al. 2018, section 4, in training too; from a data set, Khazatsky et al. 2021
    (arXiv:2104.10859).
    """

    Config = DatasetConfig
    table: Tensor
    """f32[codes, D], the pictures' codes in its first rows."""
    held: Tensor
    """i64[], how many they are."""

    def __init__(self, config: DatasetConfig, latent_dim: int) -> None:
        super().__init__()
        self.config = config
        self.has_density = latent_dim <= WIDEST  # its kernels have the covariance of the codes
        self.register_buffer("table", torch.zeros(config.codes, latent_dim))
        self.register_buffer("held", torch.zeros((), dtype=torch.int64))

    def attach(self, encoder: Coder, observed_shape: tuple[int, ...]) -> None:
        """See GoalSampler. Raises ValueError where the encoder reads no pictures."""
        if encoder.observes != "frame":
            raise ValueError("pictures say nothing to an encoder that reads states; try encoder=beta_vae")
        self.encoder = (encoder,)  # in a tuple, or it would be taken for a part of this module and of its state
        self.side = observed_shape[0]

    def prepare(self) -> None:
        """See GoalSampler: read the pictures, u8[M, H, W, 3]."""
        folder = Path(self.config.folder).expanduser()
        if not self.config.folder:
            raise UserError("goals=dataset needs a folder of pictures; type goals.folder=FOLDER")
        if not folder.is_dir():
            raise UserError(f"goals.folder={folder} is no folder; give one with pictures in it")
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
        if not paths:
            raise UserError(f"goals.folder={folder} has no pictures in it; expected files that end in {', '.join(PICTURES)}")
        if len(paths) > len(self.table):
            raise UserError(
                f"goals.folder={folder} has {len(paths)} pictures, more than goals.codes={len(self.table)}; "
                f"try goals.codes={len(paths)}"
            )
        self.pictures = torch.from_numpy(read_goals(paths, self.side))

    def fit(self, latent: Tensor, weight: Tensor | None = None, report: Report = silent) -> None:
        """Encode the pictures; they are read again where the encoder is refitted by a run that was resumed."""
        if not hasattr(self, "pictures"):
            self.prepare()
        self.held.fill_(len(self.pictures))
        self.table[: len(self.pictures)] = self.encoder[0].encode(self.pictures.to(latent.device))

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw goals f32[count, D] among the pictures' codes."""
        place = torch.rand(count, generator=generator, device=self.table.device, dtype=torch.float64)
        return self.table[(place * self.held).long()]

    def log_prob(self, latent: Tensor) -> Tensor:
        """log p(z) in nats, f32[B], of the kernel density estimate."""
        return kernel_log_density(self.table[: int(self.held)], latent)
