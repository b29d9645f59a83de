"""What Meta-World and OGBench have in common to be tried for, and a training small enough for their slow pictures."""

from __future__ import annotations

import numpy as np

from rig.envs import ForeignBatch
from tests.run.runs import TINY

FEW = (
    *TINY, "task=gym", "encoder=beta_vae", "encoder.training.steps=4", "steps=45", "random_steps=20", "evaluation.every=0",
    "evaluation.final_episodes=1", "collect.frames=40", "collect.num_envs=2", "task.horizon=6", "collect.length=6",
)  # fmt: skip


def looks_and_moves(env: ForeignBatch) -> None:
    """Pictures show something, change as the world moves, and are exactly those of the goals; the states move, in bounds."""
    first = env.reset()
    assert first.frame.std(axis=(1, 2)).max() > 10 and np.isfinite(first.state).all()
    for action in np.random.default_rng(0).uniform(-1, 1, (6, env.num_envs, env.action_dim)).repeat(2, 0):
        now = env.step(action)
    assert (now.frame != first.frame).any() and np.ptp([now.state, first.state], axis=0).max() > 0.005
    assert np.abs(now.state).max() < 100
    goals = env.sample_goals(2)
    assert env.show(goals).shape == (2, 48, 48, 3) and len(np.unique(goals, axis=0)) == 2
    assert env._workers.description.exact


def row_of(frame: np.ndarray, strong: tuple[int, int], weak: int) -> float:
    """The mean row of the pixels in which two channels stand out against the third."""
    colours = frame.astype(int)
    rows = np.nonzero(colours[..., strong].min(-1) - colours[..., weak] > 40)[0]
    assert len(rows) > 3, "no such colour in the picture"
    return float(rows.mean())
