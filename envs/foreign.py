"""N worlds made by others: any Gymnasium environment with pictures behind BatchEnv."""

from __future__ import annotations

import contextlib
import sys
from typing import final

import numpy as np

from .batch import BatchEnv, EpisodeLostError, Observation, WorldsError, checked, checked_mask, pack_generator, unpack_generator
from .foreign_spec import Description, Spec
from .task import Factor, Measures
from .workers import Workers

HOLD = 6
"""Env steps that a random action is held on average, where goals come from."""
FEW = 16
"""Frames of a rollout among random ones."""


def measures(name: str, found: Description, threshold: float, unit: str) -> Measures:
    """The achieved goal is the state. Each factor is judged by its Euclidean distance, in the environment's own unit.

    A `threshold` above 0 takes the place of those of the judged factors, and a `unit` that of theirs. A world without goals,
    whose state is empty, has no factors. Raises ValueError where a threshold is not known.
    """
    goal = {"goal": Factor(tuple(range(found.goal_dim)), "", found.threshold or 0.0)} if found.goal_dim else {}
    factors, judged = found.factors or goal, found.judged or tuple(goal)
    factors = factors | {
        part: factors[part]._replace(unit=unit or factors[part].unit, threshold=threshold or factors[part].threshold)
        for part in judged
    }
    if not all(factor.threshold for factor in factors.values()):
        raise ValueError(f"{name} has no distance_threshold of its own; type task.threshold=0.05, in its own unit")
    attributes = {
        "name": name,
        "state_names": tuple(f"{part}_{i}" for part, factor in factors.items() for i in range(len(factor.indices))),
        "state_units": tuple(factor.unit for factor in factors.values() for _ in factor.indices),
        "factors": factors,
        "judged": judged,
    }
    return type("ForeignMeasures", (Measures,), attributes)()


@final
class ForeignBatch(BatchEnv):
    """Any Gymnasium environment with pictures, named by task.id, in worker processes; one without goals trains an encoder alone.

    What happens to one that fails: see `Workers`. They cannot be put into a state, so that goals are frames of rollouts of their
    own, made in worlds apart under random actions; each is kept with the state it shows. `show` knows the states that
    `sample_goals` and `random_states` gave. Where the environment has no goals, these three raise WorldsError.
    """

    goal_source = "goals are frames of the worlds' own rollouts under random actions, since they cannot be put into a goal state"

    def __init__(
        self,
        spec: Spec,
        num_envs: int,
        *,
        seed: int,
        length: int = 50,
        threshold: float = 0.0,
        unit: str = "",
        time_limit: float = 60.0,
    ) -> None:
        """Make the worlds, each in a first episode.

        `length` is env steps of a rollout for goals and random frames; `threshold` is in the environment's unit, 0 for its own
        distance_threshold; `time_limit` is in seconds, for one step or reset of one world. Raises RefusedError (a ValueError) for
        an environment that cannot be used, WorldsError for one that fails at its start.
        """
        if num_envs < 1:
            raise ValueError(f"num_envs={num_envs}: expected at least 1")
        self._spec, self._length, self._time_limit = spec, length, time_limit
        self._stage: Workers | None = None
        self._workers = Workers(spec, num_envs, time_limit)
        found = self._workers.description
        try:
            self.task = measures(spec.id, found, threshold, unit)
        except ValueError:
            self.close()
            raise
        self.num_envs, self.frame_shape = num_envs, (spec.size, spec.size, 3)
        self.action_dim, self.state_dim, self.renderer = found.action_dim, found.goal_dim, found.renderer
        self._rng = np.random.Generator(np.random.PCG64(seed))
        self._album: dict[bytes, np.ndarray] = {}
        self._open = np.zeros(num_envs, dtype=bool)
        self.reset()

    def reset(self, mask: np.ndarray | None = None, state: np.ndarray | None = None) -> Observation:
        """See BatchEnv. Raises WorldsError for a `state`, which these worlds cannot be put into."""
        if state is not None:
            raise WorldsError(f"{self._spec.id} cannot be put into a given state; type collect.reset=start")
        mask = checked_mask(mask, self.num_envs)
        while mask.any():
            try:
                self._reset(self._workers, np.flatnonzero(mask))
                self._open |= mask
                break
            except EpisodeLostError:
                self._open[:] = False
                if not mask.all():
                    raise
        return self._observe()

    def step(self, action: np.ndarray) -> Observation:
        """See BatchEnv. Raises EpisodeLostError where a world failed, and where an episode could not be restored."""
        action = np.clip(checked("action", action, (self.num_envs, self.action_dim)), -1.0, 1.0)
        if not self._open.all():
            line = f"{self._spec.id} has no open episode to go on with: a new one begins"
            print(f"rig: {line}", file=sys.stderr, flush=True)
            raise EpisodeLostError(line)
        try:
            self._step(self._workers, action)
        except EpisodeLostError:
            self._open[:] = False
            raise
        return self._observe()

    def sample_goals(self, n: int) -> np.ndarray:
        """f32[n, S]: one of each rollout, from its second half."""
        self._need_goals()
        states: list[np.ndarray] = []
        while len(states) < n:
            seen = self._rollout()
            for world, step in enumerate(self._rng.integers(self._length // 2, self._length + 1, len(seen.state[0]))):
                states.append(self._keep(seen.state[step, world], seen.frame[step, world]))
        return np.array(states[:n], dtype=np.float32).reshape(n, self.state_dim)

    def random_states(self, n: int) -> np.ndarray:
        """f32[n, S]: what rollouts pass through, in their order."""
        self._need_goals()
        states: list[np.ndarray] = []
        while len(states) < n:
            seen = self._rollout()
            states += [self._keep(*pair) for pair in zip(np.concatenate(seen.state), np.concatenate(seen.frame), strict=True)]
        return np.array(states[:n], dtype=np.float32).reshape(n, self.state_dim)

    def show(self, state: np.ndarray) -> np.ndarray:
        """See BatchEnv. Raises ValueError for a state that no rollout for goals passed through."""
        self._need_goals()
        state = checked("state", state, (len(state) if np.ndim(state) else 1, self.state_dim))
        try:
            frames = [self._album[row.tobytes()] for row in state]
        except KeyError:
            raise ValueError("state is not one of those that sample_goals or random_states gave: it cannot be shown") from None
        return np.array(frames, dtype=np.uint8).reshape(-1, *self.frame_shape)

    def random_frames(self, n: int) -> np.ndarray:
        """u8[n, H, W, 3]: of each rollout a few, at random moments."""
        frames = np.empty((0, *self.frame_shape), np.uint8)
        while len(frames) < n:
            seen = np.concatenate(self._rollout().frame)
            frames = np.concatenate((frames, self._rng.permutation(seen)[:FEW]))
        return frames[:n]

    def snapshot(self) -> dict[str, np.ndarray]:
        """See BatchEnv. `generator` is u64[6], PCG64's; the open episodes, where they go on exactly, are `world<i>.<part>`."""
        kept = {"generator": pack_generator(self._rng), "num_envs": np.array([self.num_envs])}
        if self._workers.description.exact and self._open.all():
            try:
                found = self._workers.call("snapshot", {worker: () for worker in range(len(self._workers.rows))})
            except EpisodeLostError:
                self._open[:] = False  # the next step says so
                return kept
            for worlds in found.values():
                kept |= {f"world{row}.{name}": value for row, world in worlds.items() for name, value in world.items()}
        return kept

    def restore(self, snapshot: dict[str, np.ndarray]) -> None:
        """See BatchEnv. Without the open episodes in it, the next `step` raises EpisodeLostError."""
        if snapshot.get("num_envs", np.zeros(1)).tolist() != [self.num_envs]:
            raise ValueError("snapshot of another task or num_envs: expected one that this batch made")
        unpack_generator(self._rng, snapshot["generator"])
        self._open[:] = False
        if "world0.physics" in snapshot:
            parts = [name.removeprefix("world0.") for name in snapshot if name.startswith("world0.")]
            worlds = {row: {part: snapshot[f"world{row}.{part}"] for part in parts} for row in range(self.num_envs)}
            share = {worker: ({int(row): worlds[int(row)] for row in rows},) for worker, rows in enumerate(self._workers.rows)}
            with contextlib.suppress(EpisodeLostError):  # the next step says so
                self._workers.call("restore", share)
                self._open[:] = True

    def close(self) -> None:
        """See BatchEnv."""
        self._workers.close()
        if self._stage is not None:
            self._stage.close()

    def _need_goals(self) -> None:
        if not self.task.factors:
            raise WorldsError(f"{self._spec.id} has no goals, so that nothing but an encoder can be trained; type steps=0")

    def _observe(self) -> Observation:
        return Observation(self._workers.shared.frame.copy(), self._workers.shared.state.copy())

    def _reset(self, workers: Workers, rows: np.ndarray) -> None:
        """Begin episodes, each with a seed of its own: where they begin follows from this batch's generator alone."""
        seeds = dict(zip(rows.tolist(), self._rng.integers(2**31, size=len(rows)).tolist(), strict=True))
        share = {w: ({row: seeds[row] for row in owned.tolist() if row in seeds},) for w, owned in enumerate(workers.rows)}
        workers.call("reset", {worker: given for worker, given in share.items() if given[0]})

    def _step(self, workers: Workers, action: np.ndarray) -> None:
        workers.shared.action[:] = action
        workers.call("step", {worker: () for worker in range(len(workers.rows))})

    def _rollout(self) -> Observation:
        """An episode of random actions in each world of the stage: frames u8[T + 1, M, …] and states f32[T + 1, M, S]."""
        if self._stage is None:
            self._stage = Workers(self._spec, len(self._workers.rows), self._time_limit)
        stage = self._stage
        worlds = len(stage.shared.state)
        while True:
            try:
                self._reset(stage, np.arange(worlds))
                frames, states = [stage.shared.frame.copy()], [stage.shared.state.copy()]
                action = self._rng.uniform(-1, 1, (worlds, self.action_dim))
                for _ in range(self._length):
                    redraw = self._rng.uniform(size=(worlds, 1)) < 1 / HOLD
                    action = np.where(redraw, self._rng.uniform(-1, 1, action.shape), action)
                    self._step(stage, action)
                    frames.append(stage.shared.frame.copy())
                    states.append(stage.shared.state.copy())
                return Observation(np.array(frames), np.array(states))
            except EpisodeLostError:
                continue  # a world that fails again and again raises WorldsError

    def _keep(self, state: np.ndarray, frame: np.ndarray) -> np.ndarray:
        self._album[state.tobytes()] = frame
        return state
