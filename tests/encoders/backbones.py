"""A tiny vision net of timm's with random weights in a file, for those who try `encoder=pretrained` without a download."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import pytest
import torch

from rig import tensors
from rig.encoders.backbones import backbone, library
from rig.encoders.pretrained import PretrainedConfig
from rig.errors import UserError

TINY = "timm/test_vit"
"""0.4 million weights, pictures of 160×160, 64 features."""


def need_packages() -> None:
    """Skip the test that asks, and say why, where timm or torchvision cannot be used."""
    try:
        library("timm", TINY)
    except UserError as error:
        pytest.skip(str(error))


@functools.cache
def saved(model: str) -> Path:
    """A file of random weights of `model`, made once; it goes when the tests end."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    net, generator = backbone(model).net, torch.Generator().manual_seed(0)
    for parameter in net.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5, generator=generator)
    path = folder / "weights.safetensors"
    path.write_bytes(tensors.pack(net.state_dict()))
    return path


def tiny() -> PretrainedConfig:
    """Settings that need no file but `saved`'s; skips the test where there is no such package."""
    need_packages()
    return PretrainedConfig(model=TINY, weights=str(saved(TINY)))
