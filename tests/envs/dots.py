"""Goal environments of other people, as small as they can be: a dot on a square, and what can be wrong with it."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np

from rig.envs import Factor

SPEED = 0.1
"""What an action of 1 adds to a coordinate in [0, 1]."""


def place(frame: np.ndarray) -> np.ndarray:
    """Where the dot is, f64[2], read off a frame u8[H, W, 3]."""
    light = frame[..., 0].astype(float)
    rows, columns = (np.arange(side) for side in light.shape)
    return np.array([(light.sum(0) * columns).sum(), (light.sum(1) * rows).sum()]) / light.sum() / (len(rows) - 1)


class Dot(gymnasium.Env):
    """A white dot at its state (x, y) on black, in pictures of 64 x 64. Fails as DOT_FAILS tells it to.

    DOT_FAILS is "raise|die|linger|floats|hang STEP TIMES FILE": in every episode at that step, until the file has so many bytes.
    The examination at the start, whose seeds are 0 and 1, is spared.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    distance_threshold = 0.05
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    pixels: type = np.uint8

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode, self.at, self.taken = render_mode, np.full(2, 0.5), 0
        self.spared = False
        box = gymnasium.spaces.Box(0, 1, (2,), np.float64)
        self.observation_space = gymnasium.spaces.Dict(dict.fromkeys(("observation", "achieved_goal", "desired_goal"), box))

    def observe(self) -> dict[str, np.ndarray]:
        return {"observation": self.at.copy(), "achieved_goal": self.at.copy(), "desired_goal": np.zeros(2)}

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.spared = seed in (0, 1)
        self.at, self.taken = self.np_random.uniform(0.2, 0.8, 2), 0
        return self.observe(), {}

    def step(self, action: np.ndarray) -> Any:
        self.taken += 1
        kind, step, times, file = os.environ.get("DOT_FAILS", "no 0 0 /dev/null").split()
        if not self.spared and self.taken == int(step) and len(Path(file).read_bytes()) < int(times):
            with Path(file).open("ab") as stream:
                stream.write(b"x")
            self.fail(kind)
        self.at = np.clip(self.at + SPEED * action.astype(np.float64), 0, 1)
        return self.observe(), 0.0, False, False, {}

    def render(self) -> np.ndarray:
        x, y = self.at * 59 + 2
        near = np.maximum(abs(np.arange(64) - x), abs(np.arange(64)[:, None] - y)) < 2.5
        return np.repeat((near * 255).astype(self.pixels)[..., None], 3, axis=2)

    def fail(self, kind: str) -> None:
        """What bad environments do."""
        if kind == "raise":
            raise ArithmeticError("the dot fell off")
        if kind == "die":
            os._exit(7)
        if kind == "linger":  # it ends, but for a thread of its own
            threading.Thread(target=time.sleep, args=(1000,)).start()
            sys.exit(1)
        if kind == "floats":
            self.pixels = np.float32
        else:
            time.sleep(1000)


class Wide(Dot):
    """Its actions go from 0 to 4."""

    action_space = gymnasium.spaces.Box(0, 4, (2,), np.float32)


class Ends(Dot):
    """Its episodes end after three steps."""

    def step(self, action: np.ndarray) -> Any:
        observation, reward, _, _, info = super().step(action)
        return observation, reward, self.taken >= 3, False, info


class Black(Dot):
    def render(self) -> np.ndarray:
        return np.zeros((64, 64, 3), np.uint8)


class Frozen(Dot):
    def render(self) -> np.ndarray:
        frame = np.zeros((64, 64, 3), np.uint8)
        frame[:32] = 255
        return frame


class Floats(Dot):
    def render(self) -> np.ndarray:
        return super().render() / 255


class Blind(Dot):
    metadata = {"render_modes": ["human"]}  # noqa: RUF012


class Discrete(Dot):
    action_space = gymnasium.spaces.Discrete(4)


class Goalless(Dot):
    """A dot without goals: it observes nothing but where it is."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.observation_space = gymnasium.spaces.Box(0, 1, (2,), np.float64)

    def observe(self) -> Any:
        return self.at.copy()


class GoallessFrozen(Goalless):
    def render(self) -> np.ndarray:
        return np.eye(64, dtype=np.uint8)[..., None].repeat(3, 2)


class Opening(Dot):
    """In the first four steps of an episode a curtain, which an action of 0 does not lift, is before the dot."""

    def render(self) -> np.ndarray:
        return np.where(np.arange(64)[:, None, None] < 32 * (self.taken < 4), np.uint8(90), super().render())


class Thresholdless(Dot):
    distance_threshold = None


class Broken(Dot):
    def __init__(self, render_mode: str | None = None) -> None:
        raise ArithmeticError("no dot today")


class Ball(Dot):
    """The dot is a MuJoCo body on two slide joints with inertia; noise of its own generator pushes it."""

    MODEL = """<mujoco><worldbody><body>
    <joint type="slide" axis="1 0 0" damping="1"/><joint type="slide" axis="0 1 0" damping="1"/>
    <geom size=".1" mass="1" contype="0"/>
    </body></worldbody></mujoco>"""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.model = mujoco.MjModel.from_xml_string(self.MODEL)
        self.data = mujoco.MjData(self.model)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = self.at
        return self.observe(), {}

    def step(self, action: np.ndarray) -> Any:
        self.data.qfrc_applied[:] = 5 * action + self.np_random.normal(size=2)
        mujoco.mj_step(self.model, self.data, nstep=20)
        self.at = np.clip(self.data.qpos, 0, 1)
        return self.observe(), 0.0, False, False, {}

    def render(self) -> np.ndarray:
        self.at = np.clip(self.data.qpos, 0, 1)
        return super().render()


class Forgetful(Ball):
    """What decides its next step is not all in MuJoCo's state."""

    momentum = 0.0

    def step(self, action: np.ndarray) -> Any:
        self.momentum += 0.01
        return super().step(action + self.momentum)


class Remembers(Forgetful):
    """It says what else decides its next step, and that its two places are two things, one of them judged."""

    factors = {"across": Factor((0,), "m", 0.05), "down": Factor((1,), "", 0.5)}  # noqa: RUF012
    judged = ("across",)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.momentum = 0.0
        return super().reset(seed=seed)

    def kept(self) -> dict[str, np.ndarray]:
        return {"momentum": np.array([self.momentum])}

    def keep(self, kept: dict[str, np.ndarray]) -> None:
        self.momentum = float(kept["momentum"][0])
