"""Environments of Meta-World and OGBench, which have tasks but no dictionary of goals, as environments with goals."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, final

import gymnasium
import mujoco
import numpy as np
from gymnasium.envs.mujoco.mujoco_rendering import MujocoRenderer
from gymnasium.utils import seeding

from .foreign_spec import KEYS
from .task import Factor

REACH = 0.05
"""Metres: Meta-World's reach counts a hand as there."""
OBJECTS: dict[str, tuple[str, float]] = {
    "push-v3": ("", 0.05),
    "pick-place-v3": ("", 0.07),
    "door-open-v3": ("door", 0.08),
    "door-close-v3": ("door", 0.08),
    "drawer-open-v3": ("drawer", 0.03),
    "drawer-close-v3": ("drawer", 0.065),
    "window-open-v3": ("window", 0.05),
    "window-close-v3": ("window", 0.05),
}
"""Task of Meta-World -> what its object hangs on and is measured from, as that stands elsewhere in each episode; and the metres
that are success there (`evaluate_state` of each)."""
TABLE = {"type": 0, "lookat": np.array([0.0, 0.65, 0.1]), "distance": 0.95, "azimuth": 160.0, "elevation": -40.0}
"""How Meta-World is looked at: most of its own cameras are upside down and too far for pictures of 48 x 48."""

NEAR = 0.04
"""Metres: OGBench counts a cube, a drawer and a window as there."""
CHANGED = ("body_pos", "geom_rgba", "mat_rgba", "dof_damping")
"""What these environments write into their MuJoCo model, at a reset or when a button is pressed."""


@final
class Judged(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment whose achieved goal, f32[S], is the state that `read` gives, in `factors`. Its own goal plays no part."""

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        factors: dict[str, Factor],
        read: Callable[[], np.ndarray],
        begin: Callable[[int | None], object],
        *,
        judged: tuple[str, ...],
        own: Callable[[], dict[str, np.ndarray]] = dict,
    ) -> None:
        """`begin` resets it by a seed; `own` gives the live arrays outside MuJoCo that decide how an episode goes on."""
        super().__init__(env)
        self.factors, self.judged = factors, judged
        self._base: Any = env.unwrapped
        self._read, self._begin, self._own = read, begin, own
        box = gymnasium.spaces.Box(-np.inf, np.inf, (1 + max(max(factor.indices) for factor in factors.values()),), np.float32)
        self.observation_space = gymnasium.spaces.Dict(dict.fromkeys(KEYS, box))
        self.metadata = {"render_modes": ["rgb_array"]}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode, drawn from the seed."""
        self._begin(seed)
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """As the environment's own, with another observation."""
        _, *rest = self.env.step(action)
        return self._observe(), *rest  # type: ignore[return-value]

    def render(self) -> Any:
        """u8[H, W, 3], by Gymnasium's renderer."""
        return self._base.mujoco_renderer.render("rgb_array")

    def kept(self) -> dict[str, np.ndarray]:
        """What besides the physics decides how the episode goes on."""
        return {name: value.copy() for name, value in self._live().items()}

    def keep(self, kept: Mapping[str, np.ndarray]) -> None:
        """Go back to what `kept` gave."""
        for name, value in self._live().items():
            value[:] = kept[name]

    def _live(self) -> dict[str, np.ndarray]:
        return {name: getattr(self._base.model, name) for name in CHANGED} | self._own()

    def _observe(self) -> dict[str, np.ndarray]:
        mujoco.mj_forward(self._base.model, self._base.data)  # after a step, poses are those of one physics step before
        state = self._read().astype(np.float32)
        return {"observation": state, "achieved_goal": state, "desired_goal": np.zeros_like(state)}


def factors_of(*parts: tuple[str, int, str, float]) -> dict[str, Factor]:
    """Factors, each of name, dimensions, unit and threshold, that follow each other in a state."""
    factors: dict[str, Factor] = {}
    first = 0
    for name, dim, unit, threshold in parts:
        factors[name] = Factor(tuple(range(first, first + dim)), unit, threshold)
        first += dim
    return factors


def meta_world(name: str, **options: Any) -> Judged:
    """A task of Meta-World, its scene drawn anew each episode: metaworld/reach-v3 and the like.

    Reach is judged by the midpoint of the fingers, any other task by its object, whose threshold is 0 where `OBJECTS` has
    none. Raises what gymnasium.make does.
    """
    for task, kind in importlib.import_module("metaworld").ALL_V3_ENVIRONMENTS.items():
        if f"metaworld/{task}" not in gymnasium.registry:
            gymnasium.register(f"metaworld/{task}", entry_point=kind)
    base: Any = gymnasium.make(name, **options).unwrapped
    # What set_task does, but for a scene that stays the same; drawn from the generator of its own.
    base._set_task_called, base._freeze_rand_vec, base.seeded_rand_vec = True, False, True
    base.max_path_length = np.inf
    base.mujoco_renderer.camera_id, base.mujoco_renderer.default_cam_config = -1, dict(TABLE)
    base.model.mat_reflectance[:] = 0  # a mirrored arm, and half of the time that a picture takes
    _turn_upright(base.model, base.data)
    task = name.partition("/")[2]

    def begin(seed: int | None) -> None:
        base.np_random, _ = seeding.np_random(seed)  # its own reset does not take a seed
        base.reset()

    if task.startswith("reach"):
        return Judged(base, factors_of(("hand", 3, "m", REACH)), lambda: base.tcp_center, begin, judged=("hand",))
    frame, threshold = OBJECTS.get(task, ("", 0.0))

    def read() -> np.ndarray:
        origin = base.model.body(frame).pos if frame else 0.0
        return np.concatenate([base.tcp_center, base._get_pos_objects()[:3] - origin])

    factors = factors_of(("hand", 3, "m", REACH), ("object", 3, "m", threshold))
    return Judged(base, factors, read, begin, judged=("object",))


def _turn_upright(model: mujoco.MjModel, data: mujoco.MjData) -> None:
    """Turn the fixed cameras whose pictures are upside down."""
    for camera in range(model.ncam):
        if model.cam_bodyid[camera] == 0 and data.cam_xmat[camera].reshape(3, 3)[2, 1] < 0:
            half_turn = np.array([0.0, 0.0, 0.0, 1.0])
            mujoco.mju_mulQuat(model.cam_quat[camera], model.cam_quat[camera].copy(), half_turn)


def manipulation(name: str, **options: Any) -> Judged:
    """OGBench's cubes, scene or puzzle, in scenes drawn as those of its data are: all of it moved about.

    The hand is a factor that is not judged; buttons are 0 or 1, and right only where all are. Raises what gymnasium.make does.
    """
    base: Any = gymnasium.make(name, mode="data_collection", terminate_at_goal=False, **options).unwrapped
    base.render = lambda: np.zeros((1, 1, 3), np.uint8)  # each observation would be a picture of its own, which takes long
    base.reset(seed=0)
    base.mujoco_renderer = MujocoRenderer(base.model, base.data, camera_name="front_pixels")
    cubes, buttons = getattr(base, "_num_cubes", 0), getattr(base, "_num_buttons", 0)
    slides = ("drawer", "window") if "scene" in name else ()
    parts = [("hand", 3, "m", NEAR), *((f"cube_{i}" if cubes > 1 else "cube", 3, "m", NEAR) for i in range(cubes))]
    parts += [("buttons", buttons, "", 0.5)] * bool(buttons) + [(slide, 1, "m", NEAR) for slide in slides]

    def read() -> np.ndarray:
        joints = [*(f"object_joint_{i}" for i in range(cubes)), *(f"{slide}_slide" for slide in slides)]
        places = [base.data.joint(joint).qpos[:3] for joint in joints]
        hand, pressed = base.data.site("ur5e/robotiq/pinch").xpos, base._cur_button_states if buttons else ()
        return np.concatenate([hand, *places[:cubes], pressed, *places[cubes:]])

    def own() -> dict[str, np.ndarray]:
        return {"buttons": base._cur_button_states} if buttons else {}

    factors = factors_of(*parts)
    return Judged(base, factors, read, lambda seed: base.reset(seed=seed), judged=tuple(factors)[1:], own=own)


def maze(name: str, **options: Any) -> Judged:
    """OGBench's visual mazes, begun in any free cell: the place of the ant or humanoid. Raises what gymnasium.make does."""
    base: Any = gymnasium.make(name, terminate_at_goal=False, **options).unwrapped
    base.render = lambda: np.zeros((1, 1, 3), np.uint8)  # as above
    base.custom_renderer.close()
    cells = np.argwhere(base.maze_map == 0).tolist()
    base._noise, reach = 0, base._maze_unit / 4  # its own noise is drawn from everyone's generator

    def begin(seed: int | None) -> None:
        cell = tuple(cells[0])
        base.reset(seed=seed, options={"task_info": {"init_ij": cell, "goal_ij": cell}})
        cell = cells[base.np_random.integers(len(cells))]
        base.set_xy(np.array(base.ij_to_xy(cell)) + base.np_random.uniform(-reach, reach, 2))

    factors = factors_of(("place", 2, "m", float(base._goal_tol)))
    return Judged(base, factors, base.get_xy, begin, judged=("place",))
