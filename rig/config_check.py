"""The one place that says which values a setting may have."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from rig.config import GymTaskConfig, RunConfig
from rig.envs.camera import CAMERAS
from rig.errors import UserError
from rig.learners.actions import BOUNDS, NOISES
from rig.learners.inputs import WIDTHS
from rig.learners.sb3 import need
from rig.learners.values import VALUES
from rig.rewards.distances import COVARIANCES, NORMS


class Range(NamedTuple):
    """Bounds of a number, inclusive."""

    low: float
    high: float = math.inf


POSITIVE = Range(1e-12)
COUNT = Range(1)
COUNT_OR_NONE = Range(0)
SHARE = Range(0, 1)

RANGES: dict[str, Range] = {
    "seed": Range(0, 2**32 - 1),
    "steps": COUNT_OR_NONE,
    "random_steps": COUNT_OR_NONE,
    "updates_per_step": POSITIVE,
    "n_step": COUNT,
    "num_envs": COUNT,
    "task.size": Range(32, 256),
    "task.horizon": Range(2),
    "task.samples": Range(1, 8),
    "task.distractors": COUNT_OR_NONE,
    "task.distractor_seed": COUNT_OR_NONE,
    "task.threshold": Range(0),
    "task.time_limit": POSITIVE,
    "task.low": Range(-1e6, 1e6),
    "task.skip": COUNT_OR_NONE,
    "collect.frames": COUNT,
    "collect.length": COUNT_OR_NONE,
    "collect.hold": Range(1),
    "collect.num_envs": COUNT,
    "replay.capacity": COUNT,
    "skew.power": Range(-1, 0),
    "skew.samples": COUNT,
    "skew.share": Range(0.001, 1),
    "online.every": COUNT_OR_NONE,
    "online.steps": COUNT,
    "online.frames": Range(2),
    "online.explored": COUNT_OR_NONE,
    "goals.codes": COUNT,
    "goals.components": COUNT,
    "goals.layers": COUNT,
    "goals.width": COUNT,
    "goals.steps": COUNT,
    "goals.batch": COUNT,
    "goals.learning_rate": POSITIVE,
    "checkpoint.every": COUNT,
    "checkpoint.keep": COUNT_OR_NONE,
    "evaluation.every": COUNT_OR_NONE,
    "evaluation.episodes": Range(1, 1e6),
    "evaluation.final_episodes": Range(1, 1e6),
    "evaluation.probe_states": Range(0, 1e6),
    "encoder.latent_dim": COUNT,
    "encoder.width": COUNT,
    "encoder.hidden": COUNT,
    "encoder.features": COUNT,
    "encoder.shift": COUNT_OR_NONE,
    "encoder.points": COUNT,
    "encoder.spread": POSITIVE,
    "encoder.samples": COUNT,
    "encoder.beta": Range(0),
    "encoder.ahead": COUNT,
    "encoder.window": COUNT,
    "encoder.span": COUNT,
    "encoder.scale": POSITIVE,
    "encoder.size": Range(0, 2048),
    "encoder.codes": Range(2),
    "encoder.code_dim": COUNT,
    "encoder.commitment": Range(0),
    "encoder.decay": Range(0, 0.9999),
    "encoder.revive": COUNT_OR_NONE,
    "encoder.training.steps": COUNT,
    "encoder.training.batch": Range(2),
    "encoder.training.learning_rate": POSITIVE,
    "encoder.training.beta": Range(0),
    "encoder.training.anneal": COUNT_OR_NONE,
    "encoder.training.kl_tolerance": Range(0),
    "frame.weight_power": SHARE,
    "frame.keep": COUNT_OR_NONE,
    "frame.ridge": POSITIVE,
    "explore.after": COUNT_OR_NONE,
    "relabel.keep": SHARE,
    "relabel.imagined": SHARE,
    "relabel.future": SHARE,
    "relabel.visited": SHARE,
    "relabel.exchange": SHARE,
    "reward.scale": POSITIVE,
    "reward.quantile": SHARE,
    "reward.width": COUNT,
    "reward.steps": COUNT,
    "reward.learning_rate": POSITIVE,
    "learner.hidden": COUNT,
    "learner.learning_rate": POSITIVE,
    "learner.anneal": COUNT_OR_NONE,
    "learner.reset_every": COUNT_OR_NONE,
    "learner.batch": COUNT,
    "learner.discount": SHARE,
    "learner.polyak": SHARE,
    "learner.actor_every": COUNT,
    "learner.critics": COUNT,
    "learner.candidates": Range(1, 4096),
    "learner.target_noise": Range(0),
    "learner.target_clip": Range(0),
    "learner.noise": Range(0),
    "learner.noise_reversion": SHARE,
    "learner.uniform": SHARE,
    "learner.uniform_hold": Range(1),
    "learner.temperature": POSITIVE,
    "learner.target_entropy": Range(-20, 0.69),
}

EXCEPTIONS = {("pretrained", "encoder.latent_dim"): COUNT_OR_NONE}
"""(encoder, setting) -> the range that it has there."""

OPTIONS: dict[str, tuple[str, ...]] = {
    "task.camera": ("own", *CAMERAS),
    "collect.reset": ("start", "random"),
    "explore.start": ("random", "goals"),
    "explore.goals": ("imagined", "frontier"),
    "skew.density": ("frame", "coordinates"),
    "encoder.posterior": ("diagonal", "full"),
    "encoder.likelihood": ("gaussian", "bernoulli"),
    "encoder.training.precision": ("auto", "float32", "bfloat16"),
    "reward.norm": NORMS,
    "reward.covariance": COVARIANCES,
    "learner.goal_input": tuple(WIDTHS),
    "learner.action": BOUNDS,
    "learner.critic": tuple(VALUES),
    "learner.noise_kind": NOISES,
    "learner.precision": ("float32", "bfloat16", "auto"),
    "learner.compile": ("auto", "on", "off"),
    "replay.memory": ("device", "host", "disk"),
    "device": ("auto", "cpu", "cuda"),
    "engine": ("auto", "c", "warp"),
    "render": ("warp", "gl"),
}

HALVINGS = {"spatial_vae": 2}
"""Encoder -> what the side of a picture must be a multiple of, because it is halved so often; said before anything is made."""

SIDES = {"world_models": 64}
"""Encoder -> the only side of a picture that its layers fit; likewise."""


OF_COMPONENTS = ("random_conv", "pretrained")
"""Encoders whose codes are principal components of frames."""


def check(config: RunConfig) -> RunConfig:
    """`config` itself, where every value may be what it is.

    Raises UserError for a value out of its range, and for values that do not fit each other.
    """
    for path, bounds in RANGES.items():
        value, bounds = _get(config, path), EXCEPTIONS.get((config.encoder.name, path), bounds)
        numbers = value if isinstance(value, tuple) else (value,)
        for number in numbers:
            if number is not None and not bounds.low <= number <= bounds.high:
                near = ",".join(_clipped(each, bounds) for each in numbers)
                near = f"[{near}]" if isinstance(value, tuple) else near
                raise UserError(f"{path} must be {_words(bounds)}, got {number}; try {path}={near}")
    for path, options in OPTIONS.items():
        value = _get(config, path)
        if value is not None and value not in options:
            raise UserError(f"{path} must be {', '.join(options[:-1])} or {options[-1]}, got '{value}'; try {path}={options[0]}")
    _check_fit(config)
    return config


def _check_fit(config: RunConfig) -> None:
    """Values that are fine alone and wrong together."""
    size, random_steps = config.task.size, config.random_steps
    if isinstance(config.task, GymTaskConfig):
        _check_gym(config.task, config.collect.reset)
    side, unit = SIDES.get(config.encoder.name, size), HALVINGS.get(config.encoder.name, 1)
    if size != side:
        raise UserError(f"task.size must be {side} for encoder={config.encoder.name}, got {size}; try task.size={side}")
    if size % unit:
        wanted, near = f"a multiple of {unit} for encoder={config.encoder.name}", max(32, round(size / unit) * unit)
        raise UserError(f"task.size must be {wanted}, got {size}; try task.size={near}")
    if config.learner.name.startswith("sb3_"):
        need(f"learner={config.learner.name}")  # said before the encoder is trained
    if 0 < config.steps <= random_steps and not config.reuse.replay:  # which has no such steps
        raise UserError(
            f"random_steps={random_steps} leaves none of steps={config.steps} to learn in; "
            f"try steps={12 * random_steps}, or of a new run random_steps={config.steps // 10}"
        )
    if config.engine == "warp" and config.render == "gl":
        raise UserError("engine=warp draws its own pictures, got render=gl; try render=warp, or engine=c")
    if config.reuse.replay and config.online.every:
        raise UserError(
            f"replay.from takes no new steps to refit an encoder to, got online.every={config.online.every}; try online.every=0"
        )
    states = config.evaluation.probe_states
    if 0 < states < 10:  # a fifth of them is what a probe is judged on
        raise UserError(f"evaluation.probe_states must be 0 or at least 10, got {states}; try evaluation.probe_states=4000")
    updates = config.updates_per_step * config.num_envs
    if updates < 1 or abs(updates - round(updates)) > 1e-6:
        raise UserError(
            f"updates_per_step times num_envs={config.num_envs} must be a whole number of updates, at least 1, got {updates:g}; "
            f"try updates_per_step={max(1, round(updates)) / config.num_envs:g}"
        )
    needed = config.task.horizon * config.num_envs
    if config.replay.capacity < needed:
        raise UserError(
            f"replay.capacity must hold an episode of every world, task.horizon times num_envs = {needed}, "
            f"got {config.replay.capacity}; try replay.capacity={needed * 10}"
        )
    components = _get(config, "encoder.latent_dim") if config.encoder.name in OF_COMPONENTS else 0
    if components >= config.collect.frames:
        raise UserError(
            f"encoder.latent_dim={components} components need more frames than that, got collect.frames={config.collect.frames}; "
            f"try collect.frames={10 * components}"
        )
    if config.goals.name == "skewed" and not config.skew.power:
        raise UserError("goals=skewed weighs frames by a power of their density, got skew.power=0; try skew.power=-1")
    _check_shares(config.relabel)
    if config.relabel.exchange and config.n_step > 1:
        raise UserError(f"relabel.exchange is of single steps, got n_step={config.n_step}; try n_step=1")


def _check_gym(task: GymTaskConfig, collect_reset: str) -> None:
    """A world made by others needs its id, and cannot be put into a state."""
    if not task.id:
        raise UserError("task=gym needs task.id, a Gymnasium id or module:Class; try task.id=FetchReach-v4")
    if collect_reset == "random":
        raise UserError("collect.reset=random: worlds of task=gym cannot be put into random states; try collect.reset=start")
    if isinstance(task.view, tuple) and len(task.view) != 6:
        raise UserError(
            f"task.view must be a name or six numbers, x, y, z, distance, azimuth, elevation, got {len(task.view)}; "
            "try task.view=[1.3,0.75,0.55,1.5,132,-30]"
        )


def _check_shares(relabel: Any) -> None:
    """The shares of relabelled goals must add to one."""
    keep, total = relabel.keep, relabel.keep + relabel.imagined + relabel.future + relabel.visited
    if abs(total - 1) > 1e-6:
        rest = round(1 - total + keep, 9)
        hint = f"; try relabel.keep={rest:g}" if 0 <= rest <= 1 else "; try 0.2, 0.5 and 0.3"
        raise UserError(f"relabel shares keep + imagined + future + visited must add to 1, got {total:g}{hint}")


def _get(config: Any, path: str) -> Any:
    """The value at a dotted path, or None where the chosen entries have no such setting."""
    for name in path.split("."):
        config = getattr(config, name, None)
    return config


def _words(bounds: Range) -> str:
    if bounds == POSITIVE:
        return "above 0"
    return f"at least {bounds.low:g}" if bounds.high == math.inf else f"from {bounds.low:g} to {bounds.high:.10g}"


def _clipped(number: float, bounds: Range) -> str:
    """The nearest value that would do."""
    return "0.001" if bounds == POSITIVE else f"{min(max(number, bounds.low), bounds.high):.10g}"
