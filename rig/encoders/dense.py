"""The convolutions, and the dense layer on either side of the code, that the dense encoders share."""

from __future__ import annotations

from torch import nn

from rig.nets import ConvTranspose2d


def grid_of(frame_shape: tuple[int, int, int]) -> tuple[int, int]:
    """Rows and columns that three halvings leave of a picture."""
    height, width, _ = frame_shape
    return height // 8, width // 8


def halvings(channels: int, width: int) -> list[nn.Module]:
    """Three strided convolutions: pictures [B, channels, H, W] to [B, 2·width, H/8, W/8]."""
    return [
        nn.Conv2d(channels, width, 4, 2, 1), nn.ReLU(),
        nn.Conv2d(width, 2 * width, 4, 2, 1), nn.ReLU(),
        nn.Conv2d(2 * width, 2 * width, 4, 2, 1), nn.ReLU(),
    ]  # fmt: skip


def doublings(frame_shape: tuple[int, int, int], width: int) -> list[nn.Module]:
    """Three strided deconvolutions: the way back of `halvings`, to pictures of the shape (H, W, channels)."""
    height, across, channels = frame_shape
    # Halving an odd side drops a row, which doubling must add again: at 84, whose halves are 42, 21 and 10, the first has to.
    odd = [(height // n % 2, across // n % 2) for n in (4, 2, 1)]
    return [
        ConvTranspose2d(2 * width, 2 * width, 4, 2, 1, odd[0]), nn.ReLU(),
        ConvTranspose2d(2 * width, width, 4, 2, 1, odd[1]), nn.ReLU(),
        ConvTranspose2d(width, channels, 4, 2, 1, odd[2]),
    ]  # fmt: skip


def dense_trunk(frame_shape: tuple[int, int, int], width: int, hidden: int, outputs: int) -> nn.Sequential:
    """Standardised pictures [B, 3, H, W] to [B, outputs]."""
    rows, columns = grid_of(frame_shape)
    return nn.Sequential(
        *halvings(frame_shape[2], width),
        nn.Flatten(), nn.Linear(2 * width * rows * columns, hidden), nn.ReLU(),
        nn.Linear(hidden, outputs),
    )  # fmt: skip


def dense_decoder(frame_shape: tuple[int, int, int], width: int, hidden: int, latent_dim: int) -> nn.Sequential:
    """Codes [B, D] to standardised pictures [B, 3, H, W]."""
    rows, columns = grid_of(frame_shape)
    return nn.Sequential(
        nn.Linear(latent_dim, hidden), nn.ReLU(),
        nn.Linear(hidden, 2 * width * rows * columns), nn.ReLU(), nn.Unflatten(1, (2 * width, rows, columns)),
        *doublings(frame_shape, width),
    )  # fmt: skip
