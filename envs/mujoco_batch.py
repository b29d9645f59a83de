"""N worlds in MuJoCo's C engine, stepped by a few threads and filmed together."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, final

import mujoco
import numpy as np

from .batch import BatchEnv, Observation, checked, pack_generator, unpack_generator
from .gl_render import GLRenderer
from .task import Worlds
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


RENDERERS: dict[str, Callable[[mujoco.MjModel, int, int], Renderer]] = {
    "warp": WarpRenderer,
    "gl": GLRenderer,
    "none": NoRenderer,
}


@final
class MujocoBatch(BatchEnv):
    """The CPU's BatchEnv. mj_step releases the interpreter's lock, so the threads run side by side."""

    def __init__(self, task: Task, num_envs: int, *, seed: int, size: int = 48, render: str = "warp") -> None:
        """Make the worlds at the task's start. `size` is the side of a frame in pixels.

        Raises ValueError for an unknown renderer, no worlds or pixels at all, and where `render=gl` finds no OpenGL.
        """
        if num_envs < 1:
            raise ValueError(f"num_envs={num_envs}: expected at least 1")
        if size < 1:
            raise ValueError(f"size={size}: expected at least 1 pixel")
        if render not in RENDERERS:
            raise ValueError(f"unknown renderer {render!r}: expected one of {', '.join(RENDERERS)}")
        self.task, self.num_envs, self.renderer = task, num_envs, render
        self.frame_shape = (size, size, 3)
        self.action_dim, self.state_dim = task.action_dim, task.state_dim
        self._model = task.model()
        self._worlds = [mujoco.MjData(self._model) for _ in range(num_envs)]
        self._stage = mujoco.MjData(self._model)
        self._views = [_views(data) for data in self._worlds]
        self._state = np.zeros((num_envs, task.state_dim), dtype=np.float32)
        self._rng = np.random.Generator(np.random.PCG64(seed))
        self._renderer: Renderer = RENDERERS[render](self._model, size, num_envs)
        threads = min(num_envs, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
        self._shares = np.array_split(np.arange(num_envs), threads)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="rig-physics") if threads > 1 else None
        self._place(np.arange(num_envs), task.start_states(self._rng, num_envs))

    def reset(self, mask: np.ndarray | None = None, state: np.ndarray | None = None) -> Observation:
        """See BatchEnv."""
        rows = np.arange(self.num_envs)
        if mask is not None:
            mask = np.asarray(mask)
            if mask.shape != (self.num_envs,) or mask.dtype != np.bool_:
                raise ValueError(f"mask is {mask.dtype}{list(mask.shape)}: expected bool[{self.num_envs}]")
            rows = rows[mask]
        if state is None:
            chosen = self.task.start_states(self._rng, len(rows))
        else:
            if np.shape(state) != (self.num_envs, self.state_dim):
                raise ValueError(f"state has shape {np.shape(state)}: expected ({self.num_envs}, {self.state_dim})")
            chosen = checked("state", np.asarray(state)[rows], (len(rows), self.state_dim))
        self._place(rows, chosen)
        return self._observe()

    def step(self, action: np.ndarray) -> Observation:
        """See BatchEnv."""
        action = np.clip(checked("action", action, (self.num_envs, self.action_dim)), -1.0, 1.0).astype(np.float64)
        if self._pool is None:
            self._advance(self._shares[0], action)
        else:
            for done in [self._pool.submit(self._advance, rows, action) for rows in self._shares]:
                done.result()
        return self._observe()

    def sample_goals(self, n: int) -> np.ndarray:
        """See BatchEnv."""
        return self.task.goal_states(self._rng, n)

    def random_states(self, n: int) -> np.ndarray:
        """See BatchEnv."""
        return self.task.random_states(self._rng, n)

    def show(self, state: np.ndarray) -> np.ndarray:
        """See BatchEnv."""
        state = checked("state", state, (len(state) if np.ndim(state) else 1, self.state_dim))

        def posed() -> Iterator[mujoco.MjData]:
            for row in state:
                self._pose(self._stage, row)
                yield self._stage

        return self._renderer.draw(posed(), len(state))

    def snapshot(self) -> dict[str, np.ndarray]:
        """See BatchEnv. `physics` is f64[N, P], MuJoCo's integration state; `generator` is u64[6], PCG64's."""
        physics = np.empty((self.num_envs, mujoco.mj_stateSize(self._model, STATE)))
        for data, row in zip(self._worlds, physics, strict=True):
            mujoco.mj_getState(self._model, data, row, STATE)
        return {"physics": physics, "generator": pack_generator(self._rng)}

    def restore(self, snapshot: dict[str, np.ndarray]) -> None:
        """See BatchEnv."""
        shape = (self.num_envs, mujoco.mj_stateSize(self._model, STATE))
        physics, generator = snapshot.get("physics"), snapshot.get("generator")
        if physics is None or generator is None or physics.shape != shape or generator.shape != (6,):
            found = {key: value.shape for key, value in snapshot.items()}
            raise ValueError(f"snapshot of another task or num_envs: it holds {found}, expected physics {shape}, generator (6,)")
        unpack_generator(self._rng, generator)
        for data, row in zip(self._worlds, physics, strict=True):
            mujoco.mj_setState(self._model, data, row, STATE)
        self._refresh(np.arange(self.num_envs))

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

    def _advance(self, rows: np.ndarray, action: np.ndarray) -> None:
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


def _views(data: mujoco.MjData) -> Worlds:
    """One world's arrays with a first axis of 1."""
    return Worlds(data.qpos[None], data.mocap_pos[None], data.mocap_quat[None], data.ctrl[None])
