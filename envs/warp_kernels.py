"""Kernels of our own, for MuJoCo Warp's arrays. Imports Warp, so it is imported late."""

# What is below is Warp's language, compiled by it, and only looks like Python:
# pyright: reportUntypedFunctionDecorator=false, reportUnknownParameterType=false, reportInvalidTypeForm=false
# pyright: reportAssignmentType=false, reportGeneralTypeIssues=false

from __future__ import annotations

import warp


@warp.kernel
def compose(
    pixels: warp.array2d(dtype=warp.uint32),
    depth: warp.array2d(dtype=warp.float32),
    backdrop: warp.array1d(dtype=warp.uint32),
    backdrop_depth: warp.array1d(dtype=warp.float32),
    frames: warp.array3d(dtype=warp.uint8),
):
    """Write frames u8[N, H * W, 3] from what moves, pixels u32[N, H * W] and depth f32 (0: nothing), before the backdrop."""
    world, i = warp.tid()
    pixel = backdrop[i]
    if depth[world, i] > 0.0 and depth[world, i] <= backdrop_depth[i]:
        pixel = pixels[world, i]
    # A pixel is 0xAARRGGBB.
    frames[world, i, 0] = warp.uint8((pixel >> warp.uint32(16)) & warp.uint32(255))
    frames[world, i, 1] = warp.uint8((pixel >> warp.uint32(8)) & warp.uint32(255))
    frames[world, i, 2] = warp.uint8(pixel & warp.uint32(255))


@warp.kernel
def average(fine: warp.array4d(dtype=warp.uint8), samples: int, frames: warp.array4d(dtype=warp.uint8)):
    """Write frames u8[N, H, W, 3], each pixel the rounded mean of samples × samples of those in `fine`."""
    world, row, column, channel = warp.tid()
    total = samples * samples // 2
    for i in range(samples):
        for j in range(samples):
            total += int(fine[world, row * samples + i, column * samples + j, channel])
    frames[world, row, column, channel] = warp.uint8(total // (samples * samples))
