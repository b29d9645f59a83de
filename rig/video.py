"""Pictures and films: contact sheets, rollout GIFs, and goal pictures from files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from rig import files
from rig.errors import UserError

Frames = NDArray[np.uint8]

GAP = 2
"""Pixels of white between pictures, before enlargement."""


def enlarge(frames: Frames, factor: int) -> Frames:
    """Frames u8[..., H, W, 3] with every pixel repeated `factor` times both ways."""
    return frames.repeat(factor, axis=-3).repeat(factor, axis=-2)


def beside(panels: Sequence[Frames]) -> Frames:
    """Panels u8[..., H, W, 3] of one height in a row, with a white gap between them."""
    gap = np.full((*panels[0].shape[:-2], GAP, 3), 255, np.uint8)
    pieces = [piece for panel in panels for piece in (panel, gap)][:-1]
    return np.concatenate(pieces, axis=-2)


def grid(frames: Frames, columns: int) -> Frames:
    """Frames u8[N, H, W, 3] as one picture of `columns` a row; the last row is filled up with white."""
    count, height, width, channels = frames.shape
    rows = -(-count // columns)
    padded = np.full((rows * columns, height + GAP, width + GAP, channels), 255, np.uint8)
    padded[:count, :height, :width] = frames
    sheet = padded.reshape(rows, columns, height + GAP, width + GAP, channels).swapaxes(1, 2)
    return sheet.reshape(rows * (height + GAP), columns * (width + GAP), channels)[:-GAP, :-GAP]


def write_png(path: Path, picture: Frames) -> None:
    """Write a picture u8[H, W, 3]. Raises UserError where the file cannot be written."""
    _write(path, picture, ".png")


def write_gif(path: Path, film: Frames, milliseconds: int = 80) -> None:
    """Write an endless film u8[T, H, W, 3]. Raises UserError where the file cannot be written."""
    _write(path, film, ".gif", duration=milliseconds, loop=0)


def _write(path: Path, data: Frames, extension: str, **options: int) -> None:
    files.write(path, cast(Any, iio.imwrite)("<bytes>", data, extension=extension, **options))


def read_goals(paths: Sequence[Path], size: int) -> Frames:
    """Goal pictures of any size and format that PIL reads, as u8[N, size, size, 3]: upright, centre square, resampled by area.

    Raises UserError for a file that is missing or no picture.
    """
    goals: list[Frames] = []
    for path in paths:
        try:
            with Image.open(path) as picture:
                rgb = _upright_rgb(picture)
        except FileNotFoundError as error:
            raise UserError(f"goal picture {path} does not exist; give --goal the path of a picture file") from error
        except (OSError, Image.DecompressionBombError) as error:
            raise UserError(
                f"goal picture {path} is no picture that can be read; give a PNG, JPEG or any other that PIL reads"
            ) from error
        side = min(rgb.size)
        left, top = (rgb.width - side) // 2, (rgb.height - side) // 2
        resample = Image.Resampling.BOX if side >= size else Image.Resampling.BICUBIC
        square = rgb.resize((size, size), resample, (left, top, left + side, top + side))
        goals.append(np.asarray(square, np.uint8))
    return np.stack(goals)


def _upright_rgb(picture: Image.Image) -> Image.Image:
    """Turned as its camera was held, on white where it is transparent, 16-bit grey brought to 8."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))  # convert() would clip it to white
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")
