"""Frames from MuJoCo Warp's ray caster, on the CPU and without any OpenGL: many worlds a call, a call a thread."""

from __future__ import annotations

import copy
import math
import os
import sys
import warnings
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, final

import numpy as np

from .threads import usable_cores

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    import mujoco

MOST = 64
"""Most worlds that one launch draws."""
SHOWN, HIDDEN = (0, 1, 2), 5
"""Groups of geoms that are drawn, as by mujoco.Renderer, and one that is not."""


class Backdrop(NamedTuple):
    """What the camera sees of the geoms that never move."""

    pixels: np.ndarray
    """u32[H * W], 0xAARRGGBB."""
    depth: np.ndarray
    """f32[H * W], metres along the optical axis; infinite where there is nothing."""


@final
class WarpRenderer:
    """Draws worlds of one model through its only camera; only poses cross over, Warp steps no physics.

    Warp's CPU kernels run on the thread that launches them, so several stages draw side by side, each a share of the worlds.
    Until the first picture Warp is not even imported. The first on a machine compiles two kernels (about 5 s), which Warp then
    keeps in its cache on disk.
    """

    name = "warp"

    def __init__(self, model: mujoco.MjModel, size: int, num_envs: int) -> None:
        """Make ready to draw `num_envs` worlds at once, or any other number; frames are `size` x `size` pixels."""
        self._model, self._size = model, size
        threads = usable_cores()
        # Two shares a thread: a thread that other programs hold up leaves its second one to the others.
        self._share = min(MOST, math.ceil(num_envs / (2 * threads)))
        self._most_stages = 2 * threads
        self._stages: list[_Stage] = []
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="rig-render") if threads > 1 else None

    @cached_property
    def _scene(self) -> tuple[mujoco.MjModel, Backdrop]:
        return split(self._model, self._size)

    def draw(self, worlds: Iterable[mujoco.MjData], n: int) -> np.ndarray:
        """u8[n, size, size, 3] of n worlds with fresh kinematics; each world is read before the next is asked for."""
        movers, backdrop = self._scene
        frames = np.empty((n, self._size, self._size, 3), dtype=np.uint8)
        remaining = iter(worlds)
        busy: deque[Future[None]] = deque()
        for number, first in enumerate(range(0, n, self._share)):
            if len(busy) == self._most_stages:
                busy.popleft().result()
            turn = number % self._most_stages
            if turn == len(self._stages):
                self._stages.append(_Stage(movers, self._size, self._share))
            stage, part = self._stages[turn], frames[first : first + self._share]
            stage.pose(islice(remaining, len(part)))
            if self._pool is None or n <= self._share:
                stage.draw(part, backdrop)
            else:
                busy.append(self._pool.submit(stage.draw, part, backdrop))
        for drawn in busy:
            drawn.result()
        return frames

    def close(self) -> None:
        """Free threads and stages."""
        if self._pool is not None:
            self._pool.shutdown()
        self._stages.clear()


class _Stage:
    """Warp's arrays for a fixed number of worlds, with numpy views of them."""

    def __init__(self, model: mujoco.MjModel, size: int, capacity: int) -> None:
        warp, mjw = libraries()
        with warp.ScopedDevice("cpu"):
            scene, poses = put(model), mjw.make_data(model, nworld=capacity, nconmax=1, njmax=1)
            context = film(model, size, capacity)

            def render() -> None:
                mjw.refit_bvh(scene, poses, context)
                mjw.render(scene, poses, context)

            # Replaying the recorded launches spares half the time of one world: Warp packs 100 arguments in Python otherwise.
            self._replay = recorded(render)
        self._geom_xpos = poses.geom_xpos.numpy()
        self._geom_xmat = poses.geom_xmat.numpy().reshape(capacity, model.ngeom, 9)
        self._cam_xpos = poses.cam_xpos.numpy()
        self._cam_xmat = poses.cam_xmat.numpy().reshape(capacity, model.ncam, 9)
        self._pixels, self._depth = context.rgb_data.numpy(), context.depth_data.numpy()
        self._kept = scene, poses, context  # whose memory the views look into

    def pose(self, worlds: Iterable[mujoco.MjData]) -> None:
        """Take over the poses of worlds, at most the stage's capacity."""
        for i, data in enumerate(worlds):
            self._geom_xpos[i] = data.geom_xpos
            self._geom_xmat[i] = data.geom_xmat
            self._cam_xpos[i] = data.cam_xpos
            self._cam_xmat[i] = data.cam_xmat

    def draw(self, frames: np.ndarray, backdrop: Backdrop) -> None:
        """Draw every world of the stage; the first ones become frames u8[n, size, size, 3]."""
        self._replay()
        compose(self._pixels, self._depth, backdrop, frames)


def split(model: mujoco.MjModel, size: int) -> tuple[mujoco.MjModel, Backdrop]:
    """A copy of the model whose renders show only what moves, and a picture of the rest.

    Most rays then meet nothing, and a frame costs half of what it did. The camera must stand still.
    """
    warp, mjw = libraries()
    moves = np.zeros(model.nbody, dtype=bool)
    for body in range(1, model.nbody):
        moves[body] = moves[model.body_parentid[body]] or model.body_jntnum[body] > 0 or model.body_mocapid[body] >= 0
    hidden = moves[model.geom_bodyid]
    still, movers = copy.copy(model), copy.copy(model)
    still.geom_group[hidden] = movers.geom_group[~hidden] = HIDDEN
    if not np.isin(still.geom_group, SHOWN).any():
        return movers, Backdrop(np.full(size**2, 0xFF000000, np.uint32), np.full(size**2, np.inf, np.float32))
    with warp.ScopedDevice("cpu"):
        scene, poses = put(still), mjw.make_data(still, nconmax=1, njmax=1)
        mjw.kinematics(scene, poses)
        mjw.camlight(scene, poses)
        context = film(still, size, 1)
        mjw.refit_bvh(scene, poses, context)
        mjw.render(scene, poses, context)
        depth = context.depth_data.numpy()[0].copy()
        return movers, Backdrop(context.rgb_data.numpy()[0].copy(), np.where(depth > 0, depth, np.inf).astype(np.float32))


def compose(pixels: np.ndarray, depth: np.ndarray, backdrop: Backdrop, frames: np.ndarray) -> None:
    """Write frames u8[n, H, W, 3] from what moves, pixels u32[>= n, H * W] and depth f32 (0: nothing), before the backdrop."""
    pixels, depth = pixels[: len(frames)], depth[: len(frames)]
    seen = np.where((depth > 0) & (depth <= backdrop.depth), pixels, backdrop.pixels)
    # A pixel is 0xAARRGGBB, which lies in memory as B, G, R, A.
    frames[:] = seen.view(np.uint8).reshape(*frames.shape[:3], 4)[..., 2::-1]


def put(model: mujoco.MjModel) -> Any:
    """MuJoCo Warp's model of a scene, on the device in scope."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "MULTICCD is enabled")  # 3.11 says so of cylinders, which touch in one point
        return libraries()[1].put_model(model)


def film(model: mujoco.MjModel, size: int, num_envs: int) -> Any:
    """MuJoCo Warp's context for pictures and depths of so many worlds, on the device in scope."""
    return libraries()[1].create_render_context(
        model,
        nworld=num_envs,
        cam_res=(size, size),
        render_rgb=True,
        render_depth=True,
        render_seg=False,
        use_textures=False,
        use_shadows=False,
        use_fast_math=False,
        enabled_geom_groups=list(SHOWN),
        enable_specular=False,
        enable_emission=False,
        enable_per_light_ambient=False,
    )


def cuda() -> bool:
    """Whether Warp finds a CUDA device."""
    return libraries()[0].get_cuda_device_count() > 0


def recorded(work: Callable[[], None], loading: Callable[[], None] | None = None) -> Callable[[], None]:
    """`work`, recorded: what comes back replays the launches on the device in scope.

    `loading` is done once before, so that all kernels are loaded: a shorter piece of work with the same ones; by default `work`.
    """
    warp, _ = libraries()
    (loading or work)()
    with warp.ScopedCapture() as recording:
        work()
    return lambda: warp.capture_launch(recording.graph)


def libraries() -> tuple[Any, Any]:
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
