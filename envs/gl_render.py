"""Frames from MuJoCo's own OpenGL rasteriser (EGL, GLFW or OSMesa): one call a world."""

from __future__ import annotations

import atexit
import importlib
import os
import platform
import weakref
from typing import TYPE_CHECKING, Any, final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    import mujoco

REMEDY = (
    "`apt-get install libegl1 libgl1-mesa-dri` gives EGL; `apt-get install libosmesa6` and MUJOCO_GL=osmesa give software "
    "rendering; render=warp needs no OpenGL at all"
)


@final
class GLRenderer:
    """Draws worlds of one model through its only camera, one after the other.

    OpenGL ties a context to the thread that made it: construct, draw and close in one thread.
    """

    name = "gl"

    def __init__(self, model: mujoco.MjModel, size: int, num_envs: int) -> None:
        """Open a context for frames of `size` x `size` pixels. Raises ValueError where OpenGL does not work here."""
        import mujoco

        del num_envs
        self._mujoco, self._model, self._size = mujoco, model, size
        model.vis.global_.offwidth = model.vis.global_.offheight = size
        system = backend()
        # Every back end fails in a way of its own: a missing library, a missing driver, a missing display, MuJoCo's own error.
        try:
            self._context = importlib.import_module(f"mujoco.{system}").GLContext(size, size)
            self._context.make_current()
            self._target = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        except Exception as error:
            cause = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(f"render=gl: OpenGL ({system}) does not work here: {cause}: {REMEDY}") from error
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._target)
        self._rect = mujoco.MjrRect(0, 0, size, size)
        self._options = mujoco.MjvOption()
        self._scene = mujoco.MjvScene(model, maxgeom=model.ngeom + 16)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._camera: Any = mujoco.MjvCamera()
        self._camera.type, self._camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, 0
        # EGL must not outlive MuJoCo's own atexit handler, which would make freeing it noisy.
        atexit.register(_close, weakref.ref(self))
        self._bottom_up = np.empty((size, size, 3), dtype=np.uint8)

    def draw(self, worlds: Iterable[mujoco.MjData], n: int) -> np.ndarray:
        """u8[n, size, size, 3] of n worlds with fresh kinematics; each world is drawn before the next is asked for."""
        mujoco = self._mujoco
        frames = np.empty((n, self._size, self._size, 3), dtype=np.uint8)
        self._context.make_current()
        for frame, data in zip(frames, worlds, strict=True):
            everything = mujoco.mjtCatBit.mjCAT_ALL.value
            mujoco.mjv_updateScene(self._model, data, self._options, None, self._camera, everything, self._scene)
            mujoco.mjr_render(self._rect, self._scene, self._target)
            mujoco.mjr_readPixels(self._bottom_up, None, self._rect, self._target)
            frame[:] = self._bottom_up[::-1]
        return frames

    def close(self) -> None:
        """Free the context."""
        self._target.free()
        self._context.free()


def _close(reference: weakref.ref[GLRenderer]) -> None:
    renderer = reference()
    if renderer is not None:
        renderer.close()


def backend() -> str:
    """The back end that MUJOCO_GL names; without it the system's own, or EGL where Linux has no display."""
    asked = os.environ.get("MUJOCO_GL", "").lower()
    if asked in ("egl", "osmesa", "glfw", "cgl"):
        return asked
    system = platform.system()
    if system == "Linux":
        return "glfw" if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") else "egl"
    return "cgl" if system == "Darwin" else "glfw"
