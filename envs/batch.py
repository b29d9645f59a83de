"""What the agent sees of the worlds: N of them, stepped and filmed together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np


class Observation(NamedTuple):
    """What N worlds look like now. The arrays are the caller's own: later steps never change them."""

    frame: np.ndarray
    """u8[N, H, W, 3], RGB, row 0 at the top."""
    state: np.ndarray
    """f32[N, S], the task's state, for metrics and the oracle encoder only."""


class EpisodeLostError(Exception):
    """The open episodes of all worlds are lost: drop them whole and begin anew with `reset()`."""


class WorldsError(ValueError):
    """The worlds cannot go on at all. The message is one line: what happened, and what to do."""


class BatchEnv(ABC):
    """N worlds of one task. It knows no reward, no horizon and no "done": goals and time limits are the agent's.

    One generator, seeded at construction, makes everything that is drawn.
    """

    task: Any
    """What the numbers of a state mean: `Measures`, which for the worlds of this package is a `Task`.

    One without factors is that of worlds without goals, which can be stepped and filmed, and no more."""
    num_envs: int
    frame_shape: tuple[int, int, int]
    """(H, W, 3)."""
    action_dim: int
    state_dim: int
    renderer: str
    """What draws the frames: warp, gl, none, or a foreign world's own words."""
    arrays: Any = np
    """The library whose arrays `step` takes and observations hold: numpy, or that which the worlds were made with."""
    goal_source: str = ""
    """Where goals come from, in a line for people, where that is not the task's own distribution."""

    @abstractmethod
    def reset(self, mask: np.ndarray | None = None, state: np.ndarray | None = None) -> Observation:
        """Begin again in the worlds of mask bool[N] (all by default), at state f32[N, S] or at the task's start.

        Rows of `state` outside the mask are ignored, and those worlds are left as they are. Raises ValueError on a wrong
        shape and on a value that is not finite.
        """

    @abstractmethod
    def step(self, action: np.ndarray) -> Observation:
        """Apply action f32[N, A], clipped to [-1, 1], for one env step, 40 ms in the worlds of this package.

        Raises ValueError on a wrong shape and on a value that is not finite, EpisodeLostError where a world failed.
        """

    @abstractmethod
    def sample_goals(self, n: int) -> np.ndarray:
        """f32[n, S]: goals of the task's own distribution."""

    @abstractmethod
    def random_states(self, n: int) -> np.ndarray:
        """f32[n, S]: states spread evenly over the kept region."""

    @abstractmethod
    def show(self, state: np.ndarray) -> np.ndarray:
        """u8[n, H, W, 3]: what states f32[n, S] look like at rest, for any n. The worlds are not disturbed.

        Raises ValueError on a wrong shape and on a value that is not finite.
        """

    def random_frames(self, n: int) -> np.ndarray:
        """u8[n, H, W, 3]: what random states look like."""
        return self.show(self.random_states(n))

    @abstractmethod
    def snapshot(self) -> dict[str, np.ndarray]:
        """Everything that decides what comes next: the physics of every world and the generator's state."""

    @abstractmethod
    def restore(self, snapshot: dict[str, np.ndarray]) -> None:
        """Go back to a snapshot of the same task and number of worlds, bit for bit. Raises ValueError on any other.

        Worlds that cannot say what goes on in them come back without an open episode: the next `step` loses it.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back threads and renderers. A closed env must not be used again; closing twice is harmless."""


def checked(name: str, value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The value as f32 of that shape. Raises ValueError where it has another, or a number that is not finite."""
    array = np.asarray(value, dtype=np.float32)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}: expected {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity: expected finite numbers only")
    return array


def checked_mask(mask: np.ndarray | None, num_envs: int) -> np.ndarray:
    """The mask as bool[num_envs], all of them for None. Raises ValueError where it is another array."""
    mask = np.ones(num_envs, dtype=bool) if mask is None else np.asarray(mask)
    if mask.shape != (num_envs,) or mask.dtype != np.bool_:
        raise ValueError(f"mask is {mask.dtype}{list(mask.shape)}: expected bool[{num_envs}]")
    return mask


def pack_generator(rng: np.random.Generator) -> np.ndarray:
    """u64[6]: PCG64's two 128-bit numbers, high word first, and its half-used draw."""
    state = rng.bit_generator.state
    words = [word for key in ("state", "inc") for word in divmod(int(state["state"][key]), 2**64)]
    return np.array([*words, state["has_uint32"], state["uinteger"]], dtype=np.uint64)


def unpack_generator(rng: np.random.Generator, packed: np.ndarray) -> None:
    """Put a PCG64 back into the state that `pack_generator` returned."""
    state_high, state_low, inc_high, inc_low, has_uint32, uinteger = (int(word) for word in packed)
    rng.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": state_high << 64 | state_low, "inc": inc_high << 64 | inc_low},
        "has_uint32": has_uint32,
        "uinteger": uinteger,
    }
