"""Frames from MuJoCo Warp's ray caster, on the CPU and without any OpenGL: all worlds in one call."""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    import mujoco

CHUNK = 64
"""Most worlds of one call when a batch of another size than the worlds' own is drawn."""


@final
class WarpRenderer:
    """Draws worlds of one model through its only camera; only poses cross over, Warp steps no physics.

    The first use on a machine compiles one kernel (about 5 s), which Warp then keeps in its cache on disk.
    """

    name = "warp"

    def __init__(self, model: mujoco.MjModel, size: int, num_envs: int) -> None:
        """Make the stage for `num_envs` worlds; frames are `size` x `size` pixels."""
        self._model, self._size = model, size
        self._stages = {num_envs: _Stage(model, size, num_envs)}

    def draw(self, worlds: Iterable[mujoco.MjData], n: int) -> np.ndarray:
        """u8[n, size, size, 3] of n worlds with fresh kinematics; each world is read before the next is asked for."""
        frames = np.empty((n, self._size, self._size, 3), dtype=np.uint8)
        remaining = iter(worlds)
        chunk = n if n in self._stages else 1 if n == 1 else CHUNK
        for first in range(0, n, chunk):
            if chunk not in self._stages:
                self._stages[chunk] = _Stage(self._model, self._size, chunk)
            self._stages[chunk].draw(remaining, frames[first : first + chunk])
        return frames

    def close(self) -> None:
        """Free the stages."""
        self._stages.clear()


class _Stage:
    """Warp's arrays for a fixed number of worlds, with numpy views of them."""

    def __init__(self, model: mujoco.MjModel, size: int, capacity: int) -> None:
        self._warp, self._mjw = _libraries()
        with self._warp.ScopedDevice("cpu"):
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "MULTICCD is enabled")  # of contacts (3.11), and here nothing is stepped
                self._model = self._mjw.put_model(model)
            self._data = self._mjw.make_data(model, nworld=capacity, nconmax=1, njmax=1)
            self._context = self._mjw.create_render_context(
                model,
                nworld=capacity,
                cam_res=(size, size),
                render_rgb=True,
                render_depth=False,
                render_seg=False,
                use_textures=False,
                use_shadows=False,
                use_fast_math=False,
                enable_specular=False,
                enable_emission=False,
                enable_per_light_ambient=False,
            )
            # Once for real, which loads the kernels: the recording must hold launches only.
            self._render()
            with self._warp.ScopedCapture(device="cpu") as recording:
                self._render()
        self._graph = recording.graph
        self._capacity = capacity
        self._geom_xpos = self._data.geom_xpos.numpy()
        self._geom_xmat = self._data.geom_xmat.numpy().reshape(capacity, model.ngeom, 9)
        self._cam_xpos = self._data.cam_xpos.numpy()
        self._cam_xmat = self._data.cam_xmat.numpy().reshape(capacity, model.ncam, 9)
        # Pixels are packed 0xAARRGGBB, which lies in memory as B, G, R, A.
        self._pixels = self._context.rgb_data.numpy().view(np.uint8).reshape(capacity, size, size, 4)[..., 2::-1]

    def draw(self, worlds: Iterator[mujoco.MjData], frames: np.ndarray) -> None:
        """Draw the next len(frames) worlds, at most the stage's capacity."""
        n = len(frames)
        for i, data in enumerate(islice(worlds, n)):
            self._geom_xpos[i] = data.geom_xpos
            self._geom_xmat[i] = data.geom_xmat
            self._cam_xpos[i] = data.cam_xpos
            self._cam_xmat[i] = data.cam_xmat
        if n == self._capacity:
            # Replaying the recorded launches spares half the time of one world: Warp packs 100 arguments in Python otherwise.
            self._warp.capture_launch(self._graph)
        else:
            self._data.nworld = n
            with self._warp.ScopedDevice("cpu"):
                self._render()
        frames[:] = self._pixels[:n]

    def _render(self) -> None:
        self._mjw.refit_bvh(self._model, self._data, self._context)
        self._mjw.render(self._model, self._data, self._context)


def _libraries() -> tuple[Any, Any]:
    """Warp and MuJoCo Warp, imported late: together they take two seconds."""
    import warp

    warp.config.log_level = max(warp.config.log_level, warp.LOG_WARNING)
    with _quiet_stderr():
        warp.init()
    import mujoco_warp

    return warp, mujoco_warp


@contextmanager
def _quiet_stderr() -> Generator[None, None, None]:
    """Hide what C code writes to stderr: without a GPU, Warp's start warns of that whatever its log level. Errors still raise."""
    sys.stderr.flush()
    saved, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(sink)
