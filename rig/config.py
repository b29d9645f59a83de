"""The schema of a run: frozen dataclasses, one comment a field, and the only place where a default lives.

The parts that are chosen by name (encoder, goals, frame, reward, relabel, learner) carry the `Config` of the class that the
name stands for; that dataclass lives beside the class.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rig.frontier import ExploreConfig
from rig.online import OnlineConfig
from rig.skew import SkewConfig


@dataclass(frozen=True)
class TaskConfig:
    """Which of our own worlds, and how it is looked at."""

    name: str = "reach"  # id in rig.envs.TASKS
    size: int = 48  # pixels, side of the square camera image
    camera: str = "own"  # own: the task's | the name of another, as in rig.envs.camera.CAMERAS
    samples: int = 1  # a pixel is the mean of samples × samples rays: more tell finer places apart, and take longer to draw
    distractors: int = 0  # discs of random colours on the ground, which nothing touches, for studies of robustness
    distractor_seed: int = 0  # of their places, sizes and colours
    horizon: int = 50  # env steps an episode, by default the task's own [multiworld: 50 reach, 100 push; our trials: 50]

    @property
    def label(self) -> str:
        """What people call it."""
        return self.name


@dataclass(frozen=True)
class GymTaskConfig:
    """A world made by others."""

    name: str = "gym"  # its own entry among the tasks
    size: int = 48  # pixels, side of the square camera image
    horizon: int = 50  # env steps an episode
    id: str = "FetchReach-v4"  # a Gymnasium id, or module:Class: an environment that renders rgb_array; without goals, steps=0
    view: str | tuple[float, ...] = ""  # MuJoCo: a camera's name, or [x,y,z,distance,azimuth,elevation]; empty: its own
    threshold: float = 0.0  # distance that is success, in its own unit; 0: its distance_threshold
    unit: str = ""  # that unit, for people
    low: tuple[float, ...] = ()  # what an action of -1 stands for, before its own bounds cut it off; empty: its lower bounds
    skip: int = 0  # env steps of doing nothing at an episode's start that are not seen [CarRacing-v3 zooms in for 50]
    time_limit: float = 60.0  # seconds that a step or a reset may take before its worker is started again

    @property
    def label(self) -> str:
        """What people call it."""
        return self.id


@dataclass(frozen=True)
class CollectConfig:
    """The frames that the encoder is trained on (RIG Algorithm 1, line 1: an exploration policy's)."""

    frames: int = 32_000  # frames in all
    reset: str = "start"  # start: episodes begin where the task begins | random: at random states, as the published RIG code
    length: int = 0  # env steps an episode; 0: from the start one unbroken episode a world, from random states 10
    hold: float = 6.0  # env steps a random action is held on average
    num_envs: int = 64  # worlds stepped together


@dataclass(frozen=True)
class ReplayConfig:
    """The replay memory."""

    capacity: int = 1_000_000  # transitions; never more is allocated than `steps` needs [Nair et al. 2018: 1e6]
    memory: str = "device"  # where its frames lie: device | host: CPU memory | disk: a nameless file in the run folder


@dataclass(frozen=True)
class ReuseConfig:
    """What is taken from other runs instead of being learnt or lived through once more."""

    encoder: str = ""  # typed encoder.from=RUN: a run whose encoder is taken as it is; prior and frame are fitted anew
    replay: str = ""  # typed replay.from=RUN: a run whose replay memory is learnt from, without a step in the worlds


@dataclass(frozen=True)
class LoopConfig:
    """The order of a training step."""

    overlap: bool = False  # act and learn at once: updates see what was stored before the step, not the step itself


@dataclass(frozen=True)
class CheckpointConfig:
    """What survives a crash."""

    every: int = 1000  # env steps between checkpoints
    keep: int = 5  # newest checkpoints kept; 0 keeps all


@dataclass(frozen=True)
class EvaluationConfig:
    """How the run measures itself."""

    every: int = 2000  # env steps between evaluations on the way; 0: only at the beginning and the end
    episodes: int = 25  # goals an evaluation on the way
    final_episodes: int = 50  # goals at the end of training
    probe_states: int = 4000  # random states on which the encoder is probed and measured; 0: neither


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run. `Any` fields hold the `Config` dataclass of the chosen entry."""

    task: TaskConfig = field(default_factory=TaskConfig)
    encoder: Any = None
    goals: Any = None
    frame: Any = None
    reward: Any = None
    relabel: Any = None
    learner: Any = None
    collect: CollectConfig = field(default_factory=CollectConfig)
    explore: ExploreConfig = field(default_factory=ExploreConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    reuse: ReuseConfig = field(default_factory=ReuseConfig)
    skew: SkewConfig = field(default_factory=SkewConfig)
    online: OnlineConfig = field(default_factory=OnlineConfig)
    run: LoopConfig = field(default_factory=LoopConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    seed: int = 0  # makes every generator of the run
    steps: int = 12_000  # env steps of policy training; 0: the encoder alone
    random_steps: int = 1000  # env steps of the exploration policy before the first update
    updates_per_step: float = 2.0  # gradient updates an env step; 0.25 with num_envs=64: 16 after a step of them all
    n_step: int = 1  # env steps whose rewards are summed before the learner's own value of what follows counts
    num_envs: int = 8  # worlds stepped together while the policy trains
    device: str = "auto"  # auto | cpu | cuda
    engine: str = "auto"  # physics: auto | c: MuJoCo on the CPU | warp: MuJoCo Warp, pictures too; auto: warp on CUDA, else c
    render: str = "warp"  # warp: MuJoCo Warp, needs no OpenGL | gl: mujoco.Renderer
    run_dir: str = ""  # folder of the run; empty: runs/<time>_<task>_<encoder>_<learner>_s<seed>
