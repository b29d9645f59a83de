"""N worlds in MuJoCo Warp, physics and pictures, on CUDA or, slowly, on the CPU."""

from __future__ import annotations

import hashlib
import sys
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from .batch import Observation, checked
from .camera import PLAIN, Look
from .engine import Engine
from .task import Worlds
from .warp_render import MOST, Backdrop, film, libraries, put, recorded, split

if TYPE_CHECKING:
    from collections.abc import Generator

    import mujoco

    from .task import Task

STATE = ("time", "qpos", "qvel", "act", "qacc_warmstart", "ctrl", "mocap_pos", "mocap_quat")
"""All that decides the next step: what MuJoCo's integration state holds, less what no task touches."""
CONTACTS, CONSTRAINTS = 48, 96
"""Room for contacts and constraint rows a world; a step that needs more is an error. Most seen: 2 and 14, in MultiPush."""


@final
class WarpBatch(Engine):
    """MuJoCo Warp, all worlds in each launch; numbers are float32. A step and its pictures are recorded once and replayed.

    With `arrays` other than numpy, a step leaves nothing on the host: actions come and observations go as that library's arrays
    on Warp's device, handed over by DLPack without a copy.

    The first use on a machine compiles Warp's kernels (a minute), which it then keeps in its cache on disk; one line on stderr
    says so before.
    """

    def __init__(
        self,
        task: Task,
        num_envs: int,
        *,
        seed: int,
        size: int = 48,
        render: str = "warp",
        look: Look = PLAIN,
        device: str = "cpu",
        arrays: Any = np,
    ) -> None:
        """Make the worlds at the task's start, on Warp's `device`: cpu or cuda. `size` is the side of a frame in pixels.

        `arrays` is the library whose arrays `step` takes and observations hold: numpy, or one with from_dlpack, such as torch.
        Raises ValueError for a renderer other than warp and none, an unknown camera, and no worlds or pixels at all.
        """
        super().__init__(task, num_envs, seed=seed, size=size, render=render)
        if render not in ("warp", "none"):
            raise ValueError(f"render={render} with engine=warp: expected warp or none; engine=c draws with render={render}")
        self._warp, self._mjw = libraries()
        self._model, self._device, self.arrays = task.model(look), device, arrays
        with self._warp.ScopedDevice(device), announced(self._model, device):
            self._scene = put(self._model)
            self._scene.opt.warn_overflow = 0  # an overflow raises instead
            self._samples, across = look.samples, size * look.samples
            self._movers, self._backdrop = split(self._model, across) if render == "warp" else (self._model, None)
            self._data = self._mjw.make_data(self._model, nworld=num_envs, nconmax=CONTACTS, njmax=CONSTRAINTS)
            self._renderer = self._camera(self._data, num_envs)
            self._replay = recorded(partial(self._step, task.substeps), loading=partial(self._step, 1))
        self.physics_shape = (num_envs, sum(self._get(name)[0].size for name in STATE))
        self._stage: tuple[Any, _Camera] | None = None
        self._place(np.arange(num_envs), task.start_states(self._rng, num_envs))

    def close(self) -> None:
        """See BatchEnv."""
        self._stage = None

    def _get(self, name: str, data: Any = None) -> np.ndarray:
        """An array of all worlds, [N, ...]: on the CPU Warp's own memory, elsewhere a copy."""
        return getattr(data or self._data, name).numpy()

    def _set(self, data: Any, name: str, value: np.ndarray) -> None:
        """Write what `_get` gave back; on the CPU it is there already."""
        array = getattr(data, name)
        if not array.device.is_cpu:
            array.assign(value)

    def _camera(self, data: Any, num_envs: int) -> _Camera:
        return _Camera(self._scene, data, self._movers, self._backdrop, (num_envs, *self.frame_shape), self._samples)

    def _place(self, rows: np.ndarray, state: np.ndarray) -> None:
        self._put(self._data, rows, state)
        overflow = self._get("overflow")
        overflow[rows] = 0
        self._set(self._data, "overflow", overflow)
        with self._warp.ScopedDevice(self._device):
            self._renderer.draw()

    def _put(self, data: Any, rows: np.ndarray, state: np.ndarray) -> None:
        worlds = self._at_rest(len(rows))
        self.task.write_state(worlds, state)
        for name in STATE:
            array = self._get(name, data)
            array[rows] = getattr(worlds, name, 0.0)
            self._set(data, name, array)

    def _at_rest(self, n: int) -> Worlds:
        """n worlds as the model describes them."""
        model = self._model
        bodies = [int(np.flatnonzero(model.body_mocapid == i)[0]) for i in range(model.nmocap)]
        known = {"qpos": model.qpos0, "mocap_pos": model.body_pos[bodies], "mocap_quat": model.body_quat[bodies]}
        rest = {name: known.get(name, np.zeros(self._get(name).shape[1:])) for name in Worlds._fields}
        return Worlds(**{name: np.repeat(value[None], n, axis=0).astype(np.float32) for name, value in rest.items()})

    def _checked_action(self, action: Any) -> Any:
        if self.arrays is np:
            return super()._checked_action(action)
        expected = (self.num_envs, self.action_dim)
        if self._device == "cpu":
            checked("action", action, expected)
        elif tuple(action.shape) != expected:  # whether all are finite is not asked there: it would wait for the device
            raise ValueError(f"action has shape {tuple(action.shape)}: expected {expected}")
        return action.clip(-1.0, 1.0)

    def _advance(self, action: Any) -> None:
        worlds = self._lend_worlds()
        self.task.apply_action(worlds, action)
        for name, value in zip(Worlds._fields, worlds, strict=True):
            if self.arrays is np:
                self._set(self._data, name, value)
            else:
                self._warp.from_dlpack(value)  # Warp's stream now waits for what the library does in its own
        with self._warp.ScopedDevice(self._device):
            self._replay()
        if self._data.overflow.device.is_cpu:
            self._check_room()

    def _step(self, substeps: int) -> None:
        for _ in range(substeps):
            self._mjw.step(self._scene, self._data)
        self._renderer.look()

    def _check_room(self) -> None:
        """Raise RuntimeError where a step since the last reset had more contacts or constraints than there is room for."""
        overflow = int(np.bitwise_or.reduce(self._get("overflow")))
        if overflow:
            room, what = f"{CONTACTS} contacts and {CONSTRAINTS} constraints", repr(self._mjw.OverflowType(overflow))
            raise RuntimeError(
                f"{self.task.name} needs more than the {room} a world that engine=warp has room for ({what}): "
                f"raise CONTACTS and CONSTRAINTS in {__file__}, or type engine=c"
            )

    def _observe(self) -> Observation:
        with self._warp.ScopedDevice(self._device):
            frame = self._warp.clone(self._renderer.frames)
            state = self._lend(self._warp.zeros((self.num_envs, self.state_dim), dtype=self._warp.float32))
        self.task.read_state(self._lend_worlds(), state)
        return Observation(self._lend(frame), state)

    def _lend(self, array: Any) -> Any:
        """Warp's memory as an array of the library; numpy gets a copy of what lies elsewhere than on the CPU."""
        return array.numpy() if self.arrays is np else self.arrays.from_dlpack(array)

    def _lend_worlds(self) -> Worlds:
        return Worlds(*(self._lend(getattr(self._data, name)) for name in Worlds._fields))

    def _film(self, state: np.ndarray) -> np.ndarray:
        frames = np.zeros((len(state), *self.frame_shape), dtype=np.uint8)
        if self._backdrop is None:
            return frames
        room = min(MOST, self.num_envs)
        with self._warp.ScopedDevice(self._device):
            if self._stage is None:
                data = self._mjw.make_data(self._model, nworld=room, nconmax=1, njmax=1)
                self._stage = data, self._camera(data, room)
            data, camera = self._stage
            for first in range(0, len(state), room):
                part = state[first : first + room]
                self._put(data, np.arange(len(part)), part)
                camera.draw()
                frames[first : first + room] = camera.frames.numpy()[: len(part)]
        return frames

    def _pack_physics(self) -> np.ndarray:
        self._check_room()
        parts = [self._get(name).reshape(self.num_envs, -1) for name in STATE]
        return np.concatenate(parts, axis=1)

    def _unpack_physics(self, physics: np.ndarray) -> None:
        first = 0
        for name in STATE:
            array = self._get(name)
            end = first + array[0].size
            array[...] = physics[:, first:end].reshape(array.shape)
            self._set(self._data, name, array)
            first = end


class _Camera:
    """Films all worlds of a `Data`, with poses fresh from its positions."""

    def __init__(
        self, scene: Any, data: Any, movers: mujoco.MjModel, backdrop: Backdrop | None, shape: tuple[int, int, int, int],
        samples: int,
    ) -> None:  # fmt: skip
        warp, _ = libraries()
        n, height, width, channels = shape
        self._scene, self._data, self._backdrop = scene, data, backdrop
        self.frames = warp.zeros(shape, dtype=warp.uint8)
        """u8[N, H, W, 3]: what was drawn last; black without a backdrop."""
        if backdrop is not None:
            self._context = film(movers, height * samples, n)
            fine = n, height * samples, width * samples, channels
            self._fine = self.frames if samples == 1 else warp.zeros(fine, dtype=warp.uint8)
            self._pixels, self._depth = warp.array(backdrop.pixels), warp.array(backdrop.depth)
        self.draw = recorded(self.look)
        """`look`, replayed."""

    def look(self) -> None:
        """Launch what films the worlds as they are."""
        if self._backdrop is None:
            return
        from .warp_kernels import average, compose

        warp, mjw = libraries()
        mjw.kinematics(self._scene, self._data)
        mjw.camlight(self._scene, self._data)
        mjw.refit_bvh(self._scene, self._data, self._context)
        mjw.render(self._scene, self._data, self._context)
        pixels, depth = self._context.rgb_data, self._context.depth_data
        flat = self._fine.reshape((*pixels.shape, 3))
        warp.launch(compose, pixels.shape, [pixels, depth, self._pixels, self._depth], [flat])
        if self._fine is not self.frames:
            warp.launch(average, self.frames.shape, [self._fine, self._fine.shape[1] // self.frames.shape[1]], [self.frames])


@contextmanager
def announced(model: mujoco.MjModel, device: str) -> Generator[None, None, None]:
    """Say on stderr that kernels are about to be compiled, unless they once were; a mark in Warp's cache remembers.

    The mark is a folder named as Warp's own are, so that `warp.clear_kernel_cache()` takes it along with the kernels.
    """
    warp, _ = libraries()
    touching = model.geom_type[(model.geom_contype | model.geom_conaffinity) != 0]
    sizes = (model.nq, model.nv, model.nu, model.neq, model.ntendon, *np.unique(touching))
    key = repr((metadata.version("mujoco-warp"), device, *map(int, sizes)))
    mark = Path(warp.config.kernel_cache_dir) / f"wp_rig_{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    if not mark.exists():
        said = f"compiling Warp's physics kernels for {device}, once on this machine: a minute or two"
        print(said, file=sys.stderr, flush=True)
    yield
    mark.mkdir(parents=True, exist_ok=True)
