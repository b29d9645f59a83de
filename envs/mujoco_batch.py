"""N worlds in MuJoCo's C engine, stepped by a few threads and filmed together."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, final

import mujoco
import numpy as np

from .batch import Observation
from .camera import PLAIN, Look
from .engine import Engine
from .gl_render import GLRenderer
from .task import Worlds
from .threads import usable_cores
from .warp_render import WarpRenderer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .task import Task

STATE = mujoco.mjtState.mjSTATE_INTEGRATION.value
"""All that decides MuJoCo's next step: positions, velocities, mocap poses and the solver's warm start."""


class Renderer(Protocol):
    """Draws worlds of one model; the frames are the caller's own."""

    name: str

    def draw(self, worlds: Iterable[mujoco.MjData], n: int) -> np.ndarray:
        """u8[n, H, W, 3] of n worlds with fresh kinematics; each world is read before the next is asked for."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


@final
class NoRenderer:
    """Black frames, for those who look at states only."""

    name = "none"

    def __init__(self, model: mujoco.MjModel, size: int, num_envs: int) -> None:
        """Note the size of a frame in pixels."""
        del model, num_envs
        self._size = size

    def draw(self, worlds: Iterable[mujoco.MjData], n: int) -> np.ndarray:
        """u8[n, size, size, 3] of zeros."""
        del worlds
        return np.zeros((n, self._size, self._size, 3), dtype=np.uint8)

    def close(self) -> None:
        """Nothing to give back."""


@final
class Averaging:
    """Another renderer's larger pictures, samples × samples of their pixels averaged to one, which tells finer places apart.

    A small step moves an edge over some of a pixel's samples only; of one sample it changes nothing, or everything.
    """

    def __init__(self, renderer: Renderer, samples: int) -> None:
        """Take what draws pictures `samples` times as large either way."""
        self.name = renderer.name
        self._renderer, self._samples = renderer, samples

    def draw(self, worlds: Iterable[mujoco.MjData], n: int) -> np.ndarray:
        """See Renderer."""
        fine, step = self._renderer.draw(worlds, n), self._samples
        total = np.full((n, fine.shape[1] // step, fine.shape[2] // step, 3), step**2 // 2, dtype=np.uint32)
        for row in range(step):
            for column in range(step):
                total += fine[:, row::step, column::step]
        return (total // step**2).astype(np.uint8)

    def close(self) -> None:
        """See Renderer."""
        self._renderer.close()


RENDERERS: dict[str, Callable[[mujoco.MjModel, int, int], Renderer]] = {
    "warp": WarpRenderer,
    "gl": GLRenderer,
    "none": NoRenderer,
}


@final
class MujocoBatch(Engine):
    """MuJoCo's C engine, for the CPU. mj_step releases the interpreter's lock, so the threads run side by side."""

    def __init__(
        self, task: Task, num_envs: int, *, seed: int, size: int = 48, render: str = "warp", look: Look = PLAIN
    ) -> None:
        """Make the worlds at the task's start. `size` is the side of a frame in pixels.

        Raises ValueError for an unknown renderer or camera, no worlds or pixels at all, and where `render=gl` finds no OpenGL.
        """
        super().__init__(task, num_envs, seed=seed, size=size, render=render)
        if render not in RENDERERS:
            raise ValueError(f"unknown renderer {render!r}: expected one of {', '.join(RENDERERS)}")
        self._model = task.model(look)
        self.physics_shape = (num_envs, mujoco.mj_stateSize(self._model, STATE))
        self._worlds = [mujoco.MjData(self._model) for _ in range(num_envs)]
        self._stage = mujoco.MjData(self._model)
        self._views = [_views(data) for data in self._worlds]
        self._state = np.zeros((num_envs, task.state_dim), dtype=np.float32)
        renderer = RENDERERS[render](self._model, size * look.samples, num_envs)
        self._renderer = renderer if look.samples == 1 else Averaging(renderer, look.samples)
        threads = min(num_envs, usable_cores())
        # Two shares a thread: a thread that other programs hold up leaves its second one to the others.
        self._shares = np.array_split(np.arange(num_envs), min(num_envs, 2 * threads))
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="rig-physics") if threads > 1 else None
        self._place(np.arange(num_envs), task.start_states(self._rng, num_envs))

    def close(self) -> None:
        """See BatchEnv."""
        if self._pool is not None:
            self._pool.shutdown()
        self._renderer.close()

    def _place(self, rows: np.ndarray, state: np.ndarray) -> None:
        for row, chosen in zip(rows, state, strict=True):
            self._pose(self._worlds[row], chosen)
            self.task.read_state(self._views[row], self._state[row : row + 1])

    def _pose(self, data: mujoco.MjData, state: np.ndarray) -> None:
        mujoco.mj_resetData(self._model, data)
        self.task.write_state(_views(data), state[None])
        mujoco.mj_kinematics(self._model, data)
        mujoco.mj_camlight(self._model, data)

    def _advance(self, action: np.ndarray) -> None:
        action = action.astype(np.float64)
        if self._pool is None:
            self._advance_rows(np.arange(self.num_envs), action)
        else:
            for done in [self._pool.submit(self._advance_rows, rows, action) for rows in self._shares]:
                done.result()

    def _advance_rows(self, rows: np.ndarray, action: np.ndarray) -> None:
        for row in rows:
            self.task.apply_action(self._views[row], action[row : row + 1])
            mujoco.mj_step(self._model, self._worlds[row], nstep=self.task.substeps)
        self._refresh(rows)

    def _refresh(self, rows: np.ndarray) -> None:
        # mj_step leaves the poses of the step's beginning behind: without this a frame would lag its state by one substep.
        for row in rows:
            mujoco.mj_kinematics(self._model, self._worlds[row])
            mujoco.mj_camlight(self._model, self._worlds[row])
            self.task.read_state(self._views[row], self._state[row : row + 1])

    def _observe(self) -> Observation:
        return Observation(self._renderer.draw(self._worlds, self.num_envs), self._state.copy())

    def _film(self, state: np.ndarray) -> np.ndarray:
        def posed() -> Iterator[mujoco.MjData]:
            for row in state:
                self._pose(self._stage, row)
                yield self._stage

        return self._renderer.draw(posed(), len(state))

    def _pack_physics(self) -> np.ndarray:
        physics = np.empty(self.physics_shape)
        for data, row in zip(self._worlds, physics, strict=True):
            mujoco.mj_getState(self._model, data, row, STATE)
        return physics

    def _unpack_physics(self, physics: np.ndarray) -> None:
        for data, row in zip(self._worlds, physics, strict=True):
            mujoco.mj_setState(self._model, data, row, STATE)
        self._refresh(np.arange(self.num_envs))


def _views(data: mujoco.MjData) -> Worlds:
    """One world's arrays with a first axis of 1."""
    return Worlds(data.qpos[None], data.mocap_pos[None], data.mocap_quat[None], data.ctrl[None])
