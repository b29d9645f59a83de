"""What a task is: a scene, a state with names and units, and the distributions of starts and goals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from .camera import PLAIN, Look, load_model

if TYPE_CHECKING:
    from collections.abc import Callable

    import mujoco

ASSETS = Path(__file__).parent / "assets"


class Worlds(NamedTuple):
    """Views of what a task reads and writes in N worlds, one row each, in MuJoCo's terms and units.

    numpy f64 where MuJoCo's C engine steps them. The hooks of a task use nothing but indexing, arithmetic and `clip`, so that
    arrays of other libraries do as well.
    """

    qpos: Any
    """[N, nq], joint positions."""
    mocap_pos: Any
    """[N, M, 3], metres."""
    mocap_quat: Any
    """[N, M, 4]."""
    ctrl: Any
    """[N, U], of the actuators."""


class Factor(NamedTuple):
    """One thing of the state that has a place, and how near its place is near enough."""

    indices: tuple[int, ...]
    """Which entries of the state belong to it."""
    unit: str
    """Unit of those entries and of the threshold: m or rad."""
    threshold: float
    """Success is a distance below this [multiworld]."""


class Measures:
    """What the numbers of a state are, and how far two states are apart."""

    name: ClassVar[str]
    """Key in `rig.envs.TASKS`, or the id of a foreign world."""
    state_names: ClassVar[tuple[str, ...]]
    state_units: ClassVar[tuple[str, ...]]
    factors: ClassVar[dict[str, Factor]]
    judged: ClassVar[tuple[str, ...]]
    """The factors whose thresholds decide the task's success."""

    @property
    def state_dim(self) -> int:
        """Numbers in a state."""
        return len(self.state_names)

    def distances(self, state: np.ndarray, goal: np.ndarray) -> dict[str, np.ndarray]:
        """Euclidean distance of each factor between states f32[n, S] and goals f32[n, S]: f32[n] each, in the factor's unit."""
        difference = np.asarray(state) - np.asarray(goal)
        return {name: np.linalg.norm(difference[..., list(factor.indices)], axis=-1) for name, factor in self.factors.items()}

    def success(self, state: np.ndarray, goal: np.ndarray) -> np.ndarray:
        """bool[n]: whether every judged factor of states f32[n, S] is nearer to its goal f32[n, S] than its threshold."""
        distances = self.distances(state, goal)
        return np.all([distances[name] < self.factors[name].threshold for name in self.judged], axis=0)


class Task(Measures, ABC):
    """Stateless description of a task. It holds no physics data: one instance serves any number of worlds.

    Subclasses are final: they fill in the class attributes and the hooks, and nothing else.
    """

    gym_id: ClassVar[str]
    """Gymnasium id."""
    horizon: ClassVar[int]
    """Env steps an episode: a default for the agent, since a world itself never ends."""
    camera: ClassVar[str]
    """Key in `rig.envs.camera.CAMERAS`: what looks at it unless another is asked for."""
    scene: ClassVar[str]
    """MJCF file in `assets/`."""
    action_dim: ClassVar[int]
    state_low: ClassVar[tuple[float, ...]]
    state_high: ClassVar[tuple[float, ...]]
    """The kept region: physics holds every state between these two, up to the give of a contact."""
    substeps: ClassVar[int] = 20
    """Physics steps of 2 ms an action."""

    def model(self, look: Look = PLAIN) -> mujoco.MjModel:
        """A fresh compiled model of the scene, seen through one camera. Raises ValueError for a look that cannot be."""
        return load_model(ASSETS / self.scene, look.through(self.camera))

    @abstractmethod
    def start_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """f32[n, S]: where episodes begin."""

    @abstractmethod
    def goal_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """f32[n, S]: the task's own goals, which evaluation uses and training never sees."""

    @abstractmethod
    def random_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """f32[n, S]: states spread evenly over the kept region."""

    @abstractmethod
    def write_state(self, worlds: Worlds, state: Any) -> None:
        """Put freshly reset worlds into states [N, S], at rest. The caller refreshes the kinematics."""

    @abstractmethod
    def read_state(self, worlds: Worlds, out: Any) -> None:
        """Write the worlds' states to out f32[N, S]."""

    @abstractmethod
    def apply_action(self, worlds: Worlds, action: Any) -> None:
        """Set the controls for one env step from actions f64[N, A] in [-1, 1]. The caller steps the physics."""


def uniform(rng: np.random.Generator, n: int, low: tuple[float, ...], high: tuple[float, ...]) -> np.ndarray:
    """f32[n, S] drawn evenly between two corners."""
    return rng.uniform(low, high, size=(n, len(low))).astype(np.float32)


def uniform_but(
    rng: np.random.Generator, n: int, low: tuple[float, ...], high: tuple[float, ...], refused: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """f32[n, S] drawn evenly between two corners, among the states for which `refused` f32[m, S] -> bool[m] is false."""
    states = uniform(rng, n, low, high)
    while (again := refused(states)).any():
        states[again] = uniform(rng, int(again.sum()), low, high)
    return states
