"""Features of a vision net that others trained, from a file of weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rig.encoders import weights
from rig.encoders.backbones import backbone
from rig.encoders.base import Encoder, in_chunks
from rig.encoders.pca import PCA, sampled
from rig.errors import UserError
from rig.types import Report

ROWS = 32
"""Pictures that go through the net at a time: at 224×224 its activations are a thousand times as large as a frame."""


@dataclass(frozen=True)
class PretrainedConfig:
    """Settings of the pretrained features."""

    name: str = "pretrained"
    model: str = "torchvision/resnet18"  # torchvision/NAME (a classifier) or timm/NAME, as these packages call it
    weights: str = ""  # its weights, a safetensors file on this machine, must be given: nothing is downloaded
    sha256: str = ""  # what the file's SHA-256 must be; empty: anything
    size: int = 0  # pixels, side of the picture that the model gets, to which frames are scaled; 0: the model's own
    latent_dim: int = 16  # principal components of the model's pooled features; 0: these themselves


class Pretrained(Encoder):
    """Pretrained features: pooled, of a frozen vision net of torchvision's or timm's with weights from a file, and their PCA.

    Once fitted, the net's weights are part of the encoder's state: what was trained with it needs the file no more.
    Source: Nair et al. 2022 (R3M, arXiv:2203.12601) and Ma et al. 2022 (VIP, arXiv:2210.00030): frozen features for control;
    Caron et al. 2021 (DINO, arXiv:2104.14294).
    """

    Config = PretrainedConfig
    mean: Tensor
    std: Tensor

    def __init__(self, config: PretrainedConfig, frame_shape: tuple[int, int, int], generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        made = backbone(config.model)
        self.net, self.head = made.net.requires_grad_(False).eval(), made.head
        self.size = config.size or made.size
        self.register_buffer("mean", torch.tensor(made.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(made.std)[:, None, None], persistent=False)
        self.pca = PCA(self._count_features(frame_shape), config.latent_dim)
        self.latent_dim = self.pca.dim
        self.prepared = False

    def _count_features(self, frame_shape: tuple[int, int, int]) -> int:
        """How many features the net gives. Raises ValueError where it does not take pictures of `size`."""
        try:
            return self.features(torch.zeros(1, *frame_shape, dtype=torch.uint8)).shape[1]
        except (RuntimeError, AssertionError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"encoder.model={self.config.model} does not take encoder.size={self.size} ({reason})") from error

    def prepare(self) -> None:
        """Read the weights. Raises UserError where none are given, and for a file that is not what it should be."""
        config = self.config
        if not config.weights:
            raise UserError("encoder=pretrained needs encoder.weights, a safetensors file; try encoder.weights=FILE.safetensors")
        whose = f"encoder.weights={config.weights} is not of encoder.model={config.model}"
        weights.put(self.net, weights.read(config.weights, config.sha256), self.head, whose)
        self.prepared = True

    @torch.no_grad()
    def features(self, frames: Tensor) -> Tensor:
        """Pooled features f32[B, F] of frames u8[B, H, W, 3]."""
        pixels = frames.permute(0, 3, 1, 2).to(torch.float32).div_(255)
        sides = (self.size, self.size)
        pixels = nn.functional.interpolate(pixels, sides, mode="bilinear", align_corners=False, antialias=True)
        return self.net((pixels - self.mean) / self.std).flatten(1)

    def fit(self, episodes: Tensor, generator: torch.Generator, report: Report) -> dict[str, float]:
        """Take principal components from a sample of frames u8[E, T, H, W, 3]; the net stays as it was read."""
        if not self.prepared:
            self.prepare()
        frames = sampled(episodes.flatten(0, 1), generator)
        found: list[Tensor] = []
        for chunk in frames.split(ROWS):
            found.append(self.features(chunk))
            report(len(found), -(-len(frames) // ROWS), {})
        self.pca.fit(torch.cat(found))
        self.version += 1
        return {}

    @torch.no_grad()
    def encode(self, observed: Tensor) -> Tensor:
        """See Encoder."""
        return in_chunks(lambda chunk: self.pca(self.features(chunk)), observed, ROWS)
