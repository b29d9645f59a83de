"""One world made by others, as a worker process holds it: a Gymnasium environment, filmed as squares."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.util
import io
import os
from typing import TYPE_CHECKING, Any, cast, final

import numpy as np

from .batch import pack_generator, unpack_generator
from .foreign_spec import Description, RefusedError, Spec, checked_low, checked_space, has_goals, unfilmed
from .gl_render import backend

if TYPE_CHECKING:
    from collections.abc import Mapping

    import mujoco

EXTRAS: dict[str, tuple[str, tuple[str, ...]]] = {
    "robotics": (
        "gymnasium_robotics",
        ("Fetch", "Hand", "Adroit", "FrankaKitchen", "PointMaze", "AntMaze"),
    ),
    "box2d": ("Box2D", ("CarRacing", "LunarLander", "BipedalWalker")),
    "metaworld": ("metaworld", ("metaworld/", "Meta-World/")),
    "ogbench": ("ogbench", ("visual-",)),
}
"""Extra of this project -> the package that registers its ids when imported, and what those ids begin with."""
ADAPTERS = {
    "metaworld/": "meta_world", "visual-cube-": "manipulation", "visual-scene-": "manipulation",
    "visual-puzzle-": "manipulation", "visual-antmaze-": "maze", "visual-humanoidmaze-": "maze",
}  # fmt: skip
"""What ids begin with whose environments have no goals as they are -> what makes them have some, in `foreign_adapters`."""
TOO_NEW = {"robotics": (3, 12), "metaworld": (3, 17)}
"""Extra -> the first MuJoCo with which its package fails."""

MARKS = ("target", "goal")
"""What is in the names of things that only show where the world's own goal is."""
EXAMINED = 12
"""Env steps of each half of the examination that every first world of a batch undergoes."""


@final
class World:
    """A Gymnasium environment that renders rgb_array and takes continuous actions.

    Where its observation is a dictionary of observation, achieved_goal and desired_goal, the achieved goal is its state; any
    other is a world without goals, and its state is empty. Its own goals play no part, so what marks them in a MuJoCo scene is
    not drawn, and its time limit is taken off. An episode that it ends by itself stays as it ended until the next reset.
    """

    def __init__(self, spec: Spec) -> None:
        """Make it, with a first episode. Raises RefusedError where it is no such environment or cannot be filmed."""
        self._spec = spec
        os.environ.setdefault("MUJOCO_GL", backend())  # MuJoCo's own choice without a display would be GLFW, which needs one
        self._env: Any = _make(spec.id)
        space = checked_space(spec.id, self._env)
        self._bounds = np.where(np.isfinite(space.low), space.low, -1), np.where(np.isfinite(space.high), space.high, 1)
        self._low = checked_low(spec, *self._bounds)
        self._ended = False
        self._viewer: Any = None
        self._goals = has_goals(self._env.observation_space)
        self._physics = _physics(self._env.unwrapped)
        if self._physics is None and spec.view:
            raise RefusedError(f"task.view: {spec.id} has no MuJoCo model whose cameras could be chosen; leave it out")
        if self._physics is not None:
            self._viewer = _prepare(spec, self._env.unwrapped, self._physics[0])
        self.renderer = f"MuJoCo's OpenGL, MUJOCO_GL={os.environ['MUJOCO_GL']}" if self._viewer else "its own render()"
        self.state = self.reset(0)
        self._first_frame()

    def reset(self, seed: int) -> np.ndarray:
        """Begin an episode; returns its state, the achieved goal f32[S]."""
        observation, _ = self._env.reset(seed=seed)
        self._ended = False
        self._read(observation)
        for _ in range(self._spec.skip):
            self._apply(np.zeros_like(self._low))
        return self.state

    def step(self, action: np.ndarray) -> np.ndarray:
        """Apply action f32[A] in [-1, 1], scaled to the environment's own bounds; returns the state f32[S]."""
        self._apply(self._low + (action.reshape(self._low.shape) + 1) / 2 * (self._bounds[1] - self._low))
        return self.state

    def _apply(self, action: np.ndarray) -> None:
        """Apply an action in the environment's own terms, cut off at its bounds."""
        if not self._ended:
            within = np.clip(action, *self._bounds).astype(self._env.action_space.dtype)
            observation, _, terminated, truncated, _ = self._env.step(within)
            self._ended = bool(terminated or truncated)
            self._read(observation)

    def film(self) -> np.ndarray:
        """u8[size, size, 3]: what render() shows, averaged over the area of each pixel."""
        from PIL import Image

        if self._viewer is not None and self._viewer.viewer is not None:
            self._viewer.viewer.make_context_current()  # several worlds of one process have an OpenGL context each
        frame = np.asarray(self._env.render())
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise RefusedError(f"{self._spec.id} renders {frame.dtype}{list(frame.shape)}: expected u8[H, W, 3]")
        size = (self._spec.size, self._spec.size)
        return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BOX))

    def snapshot(self) -> dict[str, np.ndarray]:
        """What decides how a MuJoCo world goes on; empty for any other world."""
        if self._physics is None:
            return {}
        import mujoco

        model, data = self._physics
        kind = mujoco.mjtState.mjSTATE_INTEGRATION.value
        physics = np.empty(mujoco.mj_stateSize(model, kind))
        mujoco.mj_getState(model, data, physics, kind)
        kept = {"physics": physics, "state": self.state.copy(), "ended": np.array([self._ended])}
        goal = getattr(self._env.unwrapped, "goal", None)
        if isinstance(goal, np.ndarray):
            kept["goal"] = goal.copy()
        if hasattr(self._env, "kept"):
            kept |= {f"own.{name}": value for name, value in self._env.kept().items()}
        return {**kept, "random": pack_generator(self._env.unwrapped.np_random)}

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Go back to a snapshot."""
        import mujoco

        model, data = cast("tuple[mujoco.MjModel, mujoco.MjData]", self._physics)
        kind = mujoco.mjtState.mjSTATE_INTEGRATION.value
        if "goal" in snapshot:
            self._env.unwrapped.goal = snapshot["goal"].copy()
        if hasattr(self._env, "keep"):
            self._env.keep({name[4:]: value for name, value in snapshot.items() if name.startswith("own.")})
        mujoco.mj_setState(model, data, snapshot["physics"], kind)
        mujoco.mj_forward(model, data)  # poses of bodies and sites, which controllers and cameras read
        self.film()
        mujoco.mj_setState(model, data, snapshot["physics"], kind)  # the two calls above move the solver's warm start
        unpack_generator(self._env.unwrapped.np_random, snapshot["random"])
        self.state, self._ended = snapshot["state"].copy(), bool(snapshot["ended"][0])

    def describe(self) -> Description:
        """Try the world out: its frames must change as it moves, and a snapshot may prove to be exact or not.

        Raises RefusedError where the picture stays the same while the state does not.
        """
        rng = np.random.default_rng(0)
        dim = int(self._low.size)
        actions = rng.uniform(-1, 1, (2, 1, dim)).repeat(EXAMINED, 1).astype(np.float32)
        self.reset(0)
        seen = self._follow(actions[0])
        snapshot = self.snapshot()
        after = self._follow(actions[1])
        states, frames = (np.stack([*a, *b]) for a, b in zip(seen, after, strict=True))
        if (frames == frames[0]).all() and (not states.size or (states != states[0]).any()):
            raise RefusedError(
                f"{self._spec.id} gives the same picture whatever moves ({self.renderer}): nothing could be learnt from it; "
                "look at it, and where it has a MuJoCo model try another task.view="
            )
        exact = bool(snapshot)
        if exact:
            self.reset(1)
            self.restore(snapshot)
            exact = np.array_equal(self.film(), seen[1][-1])
            again = self._follow(actions[1])
            exact = exact and all(np.array_equal(a, b) for a, b in zip(after, again, strict=True))
        threshold = getattr(self._env.unwrapped, "distance_threshold", None)
        known = float(threshold) if isinstance(threshold, int | float) and threshold > 0 else None
        factors, judged = getattr(self._env, "factors", {}), getattr(self._env, "judged", ())
        return Description(dim, len(self.state), known, self.renderer, exact, factors, judged)

    def _follow(self, actions: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        states, frames = [], []
        for action in actions:
            states.append(self.step(action).copy())
            frames.append(self.film())
        return states, frames

    def _read(self, observation: Any) -> None:
        self.state = np.array(observation["achieved_goal"] if self._goals else (), dtype=np.float32).ravel()
        if not np.isfinite(self.state).all():
            raise ValueError(f"{self._spec.id}: achieved_goal holds NaN or infinity: {self.state}")

    def _first_frame(self) -> None:
        """Film once. Raises RefusedError where that fails or shows one colour only."""
        try:
            frame = self.film()
        except RefusedError:
            raise
        except Exception as error:  # every back end fails in a way of its own
            raise RefusedError(self._blind(f"no picture: {' '.join(str(error).split()) or type(error).__name__}")) from error
        if (frame == frame[0, 0]).all():
            what = "black pictures" if not frame.any() else "pictures of one colour"
            raise RefusedError(self._blind(what))

    def _blind(self, what: str) -> str:
        remedy = "try MUJOCO_GL=egl or MUJOCO_GL=osmesa (apt-get install libegl1 libosmesa6)" if self._viewer else "look at it"
        return f"{self._spec.id} gives {what} ({self.renderer}): nothing could be learnt from them; {remedy}"


def _make(name: str) -> Any:
    """The environment of a Gymnasium id or of module:Class, without its time limit. Raises RefusedError."""
    import gymnasium

    gymnasium.logger.min_level = gymnasium.logger.ERROR  # each worker would repeat each warning
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # and pygame's greeting
    extra = next((extra for extra, (_, prefixes) in EXTRAS.items() if name.startswith(prefixes)), "")
    for package, _ in [EXTRAS[extra]] if extra else EXTRAS.values():
        if importlib.util.find_spec(package):
            with contextlib.redirect_stderr(io.StringIO()):  # notices that each worker would repeat
                importlib.import_module(package)
    if extra and not importlib.util.find_spec(EXTRAS[extra][0]):
        raise RefusedError(f"task.id={name} needs {EXTRAS[extra][0]}, which is not installed; type pip install 'rig-rl[{extra}]'")
    if extra in TOO_NEW:
        _check_mujoco(extra)
    options: dict[str, Any] = {"render_mode": "rgb_array", "max_episode_steps": -1, "disable_env_checker": True}
    module, _, attribute = name.partition(":")
    try:
        if attribute and hasattr(importlib.import_module(module), attribute):
            return getattr(importlib.import_module(module), attribute)(render_mode="rgb_array")
        if adapter := next((adapter for start, adapter in ADAPTERS.items() if name.startswith(start)), ""):
            return getattr(importlib.import_module(f"{__package__}.foreign_adapters"), adapter)(name, **options)
        return gymnasium.make(name, **options)
    except ModuleNotFoundError as error:
        raise RefusedError(f"task.id={name}: no module '{error.name}'; expected a Gymnasium id or module:Class") from error
    except gymnasium.error.DependencyNotInstalled as error:
        raise RefusedError(f"task.id={name}: {' '.join(str(error).split())}") from error
    except (gymnasium.error.UnregisteredEnv, gymnasium.error.DeprecatedEnv, gymnasium.error.Error) as error:
        like = difflib.get_close_matches(name, gymnasium.registry, 1, 0.4)
        hint = f"; try task.id={like[0]}" if like else "; expected a Gymnasium id or module:Class"
        raise RefusedError(f"unknown task.id '{name}'{hint}") from error
    except TypeError as error:
        if "render_mode" not in str(error):
            raise
        raise RefusedError(unfilmed(name)) from error


def _check_mujoco(extra: str) -> None:
    import mujoco

    major, minor = TOO_NEW[extra]
    if tuple(int(part) for part in mujoco.__version__.split(".")[:2]) >= (major, minor):
        raise RefusedError(
            f"{EXTRAS[extra][0]} does not work with MuJoCo {mujoco.__version__}: expected one below {major}.{minor}; "
            f"type pip install 'rig-rl[{extra}]'"
        )


def _physics(env: Any) -> tuple[mujoco.MjModel, mujoco.MjData] | None:
    """The MuJoCo model and data of an environment that has them."""
    model, data = getattr(env, "model", None), getattr(env, "data", None)
    if (type(model).__name__, type(data).__name__) != ("MjModel", "MjData"):  # without importing MuJoCo where nothing needs it
        return None
    return cast("mujoco.MjModel", model), cast("mujoco.MjData", data)


def _hide_marks(model: mujoco.MjModel) -> None:
    """Make transparent what marks the world's own goal: sites, and geoms that touch nothing, named so or of a body named so."""
    for kind, count, touches in (("site", model.nsite, False), ("geom", model.ngeom, True)):
        for i in range(count):
            item = getattr(model, kind)(i)
            named = f"{item.name} {model.body(int(item.bodyid[0])).name}".lower()
            solid = touches and bool(item.contype[0] or item.conaffinity[0])
            if any(word in named for word in MARKS) and not solid:
                item.rgba[3] = 0
                item.matid[:] = -1  # a material's colour would win


def _prepare(spec: Spec, env: Any, model: mujoco.MjModel) -> Any:
    """Set up what a MuJoCo world draws, before its first picture; returns its renderer, where it is Gymnasium's.

    Twice the size, averaged afterwards, instead of multisampling; no shadow map, which alone takes 64 MB a world.
    """
    _hide_marks(model)
    # Mazes hold the robot, with model, data and renderer, as an environment of its own.
    inner = [env, *vars(env).values()]
    viewer = next((item.mujoco_renderer for item in inner if hasattr(item, "mujoco_renderer")), None)
    if viewer is None:
        if spec.view:
            raise RefusedError(f"task.view: {spec.id} does not film with Gymnasium's MujocoRenderer; leave it out")
        return None
    model.vis.quality.shadowsize = model.vis.quality.offsamples = 0
    model.vis.global_.offwidth = model.vis.global_.offheight = viewer.width = viewer.height = 2 * spec.size
    if isinstance(spec.view, tuple):
        if len(spec.view) != 6:
            raise RefusedError("task.view needs a name or [x,y,z,distance,azimuth,elevation]")
        lookat, (distance, azimuth, elevation) = np.array(spec.view[:3]), spec.view[3:]
        viewer.camera_id = -1
        viewer.default_cam_config = {
            "type": 0, "lookat": lookat, "distance": distance, "azimuth": azimuth, "elevation": elevation,
        }  # fmt: skip
    elif spec.view:
        names = [model.camera(i).name for i in range(model.ncam)]
        if spec.view not in names:
            raise RefusedError(f"task.view: {spec.id} has no camera '{spec.view}'; valid: {', '.join(names)}")
        viewer.camera_id = names.index(spec.view)
    return viewer
