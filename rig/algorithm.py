"""RIG, Algorithm 1 of Nair et al. 2018 (arXiv:1807.04742), from top to bottom; "l. n" is a line of that listing."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from rig.encoders.base import Encoder
from rig.envs import EpisodeLostError
from rig.frontier import PLAIN, ExploreConfig, frontier_goals
from rig.goals.base import GoalSampler
from rig.goals.frame import LatentFrame
from rig.learners.base import Learner
from rig.online import Online
from rig.probe import active_units
from rig.replay.exchange import LEARNT, Exchange
from rig.replay.relabel import RelabelConfig
from rig.replay.ring import Ring, Sample
from rig.rewards import Reward
from rig.skew import ALIKE, SkewConfig, effective_share, frame_weights
from rig.types import Batch, Report, silent

T = TypeVar("T")


def whole(episode: Callable[[], T]) -> T:
    """What `episode` returns; where the worlds lose it, it is begun anew, and nothing of the half one is kept."""
    while True:
        try:
            return episode()
        except EpisodeLostError:
            continue  # worlds that fail again and again raise another error


def observe(encoder: Encoder, observation: Any, device: torch.device) -> Tensor:
    """The one array of an observation that the encoder reads, on its device: u8[N, H, W, 3] or f32[N, S]."""
    return torch.as_tensor(getattr(observation, encoder.observes), device=device)


def states(observation: Any, replay: Ring) -> Tensor | None:
    """Simulator states f32[N, S] where the replay memory holds them, for a reward that reads them; the agent sees none."""
    return torch.as_tensor(observation.state, device=replay.latent.device) if "state" in replay.arrays else None


def act_on(env: Any, action: Tensor) -> Any:
    """What the worlds show after actions f32[N, A]."""
    return env.step(action if env.arrays is torch else action.cpu().numpy())


def explore(last: Tensor | None, like: Tensor, hold: float, generator: torch.Generator) -> Tensor:
    """The exploration policy: uniform actions f32[N, A] in [-1, 1], each held for `hold` steps on average.

    `last` is what it did a step ago, None at an episode's start. Actions drawn anew each step would hardly leave the start.
    """
    uniform = torch.rand(like.shape, generator=generator, device=like.device) * 2 - 1
    if last is None:
        return uniform
    redraw = torch.rand((len(like), 1), generator=generator, device=like.device) < 1 / hold
    return torch.where(redraw, uniform, last)


def collect(
    env: Any, encoder: Encoder, frames: int, length: int, hold: float, random_reset: bool,
    generator: torch.Generator, report: Report,
) -> Tensor:  # fmt: skip
    """l. 1: observations [E, length + 1, …] of episodes under the exploration policy, at least `frames` of them in all.

    Episodes begin where the task begins, or at random states (as the published code does) where `random_reset`.
    """
    device = generator.device
    rounds = -(-frames // (env.num_envs * (length + 1)))
    episodes: list[Tensor] = []
    done, total = 0, rounds * env.num_envs * (length + 1)

    def episode() -> Tensor:
        observation = env.reset(state=env.random_states(env.num_envs) if random_reset else None)
        steps = [observe(encoder, observation, device)]
        action = None
        for _ in range(length):
            action = explore(action, torch.empty((env.num_envs, env.action_dim), device=device), hold, generator)
            steps.append(observe(encoder, act_on(env, action), device))
            report(done + len(steps) * env.num_envs, total, {})
        return torch.stack(steps, 1)

    for _ in range(rounds):
        episodes.append(whole(episode))
        done += (length + 1) * env.num_envs
    return torch.cat(episodes)


class Represented(NamedTuple):
    """What is known once l. 1-3 are done, beside the parts that were fitted."""

    metrics: dict[str, float]
    """How the fits ended."""
    latent: Tensor
    """f32[M, D], the codes that the prior was fitted to."""
    weight: Tensor | None
    """f64[M], what each counted; None: all alike."""


def represent(
    encoder: Encoder, goals: GoalSampler, frame: LatentFrame, reward: Reward, observed: Tensor, generator: torch.Generator,
    report: Report, skew: SkewConfig = ALIKE, *, known: bool = False, prior_report: Report = silent,
) -> Represented:  # fmt: skip
    """l. 2-3: train the encoder on observations [E, T, …], fit the prior p(z), the latent frame and the reward to its means.

    The prior counts frames as `skew` weighs them (Skew-Fit): all alike by default. An encoder that is `known` stays as it is.
    """
    metrics = {} if known else encoder.fit(observed, generator, report)
    every = observed.flatten(0, 1)
    latent = encoder.encode(every)
    frame.fit(latent.unflatten(0, observed.shape[:2]), generator)
    coordinates = frame(latent)
    weight = frame_weights(skew, encoder, every, coordinates, generator)
    goals.fit(latent, weight, prior_report)
    reward.fit(observed, coordinates.unflatten(0, observed.shape[:2]), frame.weight, generator)
    metrics = {**metrics, "active_units": active_units(latent), **goals.metrics()}
    if weight is not None:
        metrics["skew_effective_share"] = float(effective_share(weight))
    return Represented(metrics, latent, weight)


class RIG:
    """l. 4 on: act towards imagined goals, store, relabel, learn.

    Its whole state is in `env`, `replay`, `learner`, `generator`, `steps`, `refitted` and `exchange`, with `online` in encoder,
    prior and frame too: the codes and goals that it acts on are read back from the replay's open episodes. With `overlap` the
    worlds step, are filmed and encoded while the learner updates, from all that was stored before: the same ratio of updates to
    steps, in the same order every time. `offline`: the worlds are never stepped, and a step is its updates alone, from what the
    replay holds.
    """

    def __init__(
        self,
        env: Any,
        encoder: Encoder,
        goals: GoalSampler,
        frame: LatentFrame,
        reward: Reward,
        learner: Learner,
        replay: Ring,
        relabel: RelabelConfig,
        generator: torch.Generator,
        *,
        batch: int,
        random_steps: int,
        hold: float,
        updates_per_step: float,
        n_step: int = 1,
        overlap: bool = False,
        online: Online | None = None,
        exchange: Exchange | None = None,
        exploration: ExploreConfig = PLAIN,
        offline: bool = False,
    ) -> None:
        self.env, self.encoder, self.goals, self.frame = env, encoder, goals, frame
        self.reward, self.learner, self.replay, self.relabel = reward, learner, replay, relabel
        self.generator, self.batch, self.hold = generator, batch, hold
        self.random_steps, self.updates_per_step, self.n_step = random_steps, updates_per_step, n_step
        self.worker = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) if overlap else None
        self.online, self.exchange, self.exploration, self.offline = online, exchange, exploration, offline
        self.steps = 0
        self.refitted = 0  # `steps` at the last refit

    @property
    def updates(self) -> int:
        """After a step of every world."""
        return round(self.updates_per_step * self.env.num_envs)

    def code(self, observed: Tensor) -> Tensor:
        """Agent coordinates f32[N, K] of observations."""
        return self.frame(self.encoder.encode(observed))

    def imagine(self, count: int) -> Tensor:
        """l. 5: goals f32[count, K] drawn from the prior."""
        return self.frame(self.goals.sample(count, self.generator))

    def aim(self) -> Tensor:
        """l. 5: goals f32[N, K] of the episodes that begin: imagined ones, or such as few visited codes are near."""
        if self.exploration.goals == "frontier" and self.replay.closed:
            return frontier_goals(self.replay, self.env.num_envs, self.generator)
        return self.imagine(self.env.num_envs)

    def step(self) -> dict[str, Tensor]:
        """One step of every world, then `updates` updates; returns the metrics of the last ones.

        Where the worlds lose their open episodes, these are dropped whole and others begun; nothing is counted but, with
        `overlap`, the updates made meanwhile.
        """
        if self.offline:
            self.steps += self.env.num_envs
            return self.learn(self.updates)
        refitted: dict[str, Tensor] = {}
        if self.replay.step == self.replay.horizon:
            refitted = self.refit()
            self.begin()
        try:
            return refitted | self.advance()
        except EpisodeLostError:
            self.begin(again=True)
            return {}

    def remember(self, observed: Tensor, action: Tensor) -> None:
        """Hold episodes [E, T + 1, …] and actions f32[E, T, A] that another agent lived through, each with an imagined goal."""
        self.replay.adopt(observed, action, self.imagine(len(action)))
        self.replay.refresh(self.code, self.encoder.version)

    def begin(self, *, again: bool = False) -> None:
        """l. 5-6: an episode a world, each with a goal; `again`, in the place of the open ones."""
        observation = self.env.reset()
        observed, state = observe(self.encoder, observation, self.generator.device), states(observation, self.replay)
        self.replay.begin(observed, self.code(observed), self.aim(), self.encoder.version, state, again=again)

    def advance(self) -> dict[str, Tensor]:
        """l. 7-14 for one step of the open episodes."""
        action = self.act()
        if self.worker is None or self.steps < self.random_steps or not len(self.replay):
            learning = self.steps >= self.random_steps
            self.store(action, *self.follow(action))
            return self.learn(self.updates) if learning else {}
        following = self.worker.submit(self.follow, action)
        metrics = self.learn(self.updates)  # from what was stored before this step
        self.store(action, *following.result())
        return metrics

    def refit(self) -> dict[str, Tensor]:
        """l. 15-16: between episodes and where it is due, fit encoder and prior to the replay, whose codes are made anew."""
        if self.online is None or not self.online.due(self.steps - self.refitted):
            return {}
        self.refitted = self.steps
        return self.online.refit(self.generator)

    def act(self) -> Tensor:
        """l. 7: actions f32[N, A] with exploration noise; by the exploration policy at first, and late in episodes if so set."""
        rows, step, after = self.replay.open_rows, self.replay.step, self.exploration.after
        starting = self.steps < self.random_steps and self.exploration.start == "random"
        if starting or 0 < after <= step:
            last = None if step in (0, after) else self.replay.action[rows, step - 1]
            return explore(last, self.replay.action[rows, 0], self.hold, self.generator)
        return self.learner.act(self.replay.latent[rows, step], self.replay.goal[rows], self.generator)

    def follow(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """l. 8: what the worlds show after actions f32[N, A], and its codes f32[N, K], encoded once; states, where needed."""
        observation = act_on(self.env, action)
        observed = observe(self.encoder, observation, self.generator.device)
        return observed, self.code(observed), states(observation, self.replay)

    def store(self, action: Tensor, observed: Tensor, code: Tensor, state: Tensor | None) -> None:
        """l. 9: keep a step of every world."""
        self.replay.append(action, observed, code, self.encoder.version, state)
        self.steps += self.env.num_envs

    def learn(self, updates: int) -> dict[str, Tensor]:
        """l. 10-14: sample transitions, relabel their goals, recompute their rewards, update the learner; `updates` times."""
        version = self.encoder.version
        sample, imagined = self.replay.sample(updates, self.batch, self.relabel, version, self.generator, self.n_step)
        count = imagined.stop - imagined.start
        sample.goal[:, imagined] = self.imagine(updates * count).unflatten(0, (updates, count))
        if self.exchange is not None:
            if self.exchange.due(self.replay.closed):
                self.exchange.fit(*self.replay.lived(LEARNT, self.generator), self.replay.closed, self.generator)
            sample = self.exchange(sample, self.generator)
        batches = Batch(sample.latent, sample.goal, sample.action, self.rewards(sample), sample.next_latent, sample.steps)
        return self.learner.learn([Batch(*batch) for batch in zip(*batches, strict=True)], self.generator)

    def rewards(self, sample: Sample) -> Tensor:
        """Rewards f32[U, B] of a sample's goals, discounted and summed over the `steps` from `latent` to `next_latent`.

        Source: Sutton & Barto 2018, equation 7.1, without a correction for what has since become of the policy; with relabelled
        goals, Yang et al. 2021 (arXiv:2102.12962), section 3.
        """
        reached, goal = sample.states or (sample.reached, sample.goal)
        goal = goal[:, :, None].expand_as(reached)
        rewards = self.reward(reached.flatten(0, 2), goal.flatten(0, 2), self.frame.weight).unflatten(0, reached.shape[:3])
        total = rewards[:, :, -1]
        for step in range(rewards.shape[2] - 1, 0, -1):
            sooner = rewards[:, :, step - 1] + self.learner.config.discount * total
            total = torch.where(step < sample.steps, sooner, total)
        return total

    def last_return(self) -> Tensor | None:
        """Undiscounted returns f32[N] of the open episodes so far, towards the goals that they were given.

        None with a reward that reads the state, which those goals have not.
        """
        if self.reward.reads == "state":
            return None
        rows = self.replay.open_rows
        reached = self.replay.latent[rows, 1 : self.replay.step + 1]
        goal = self.replay.goal[rows, None].expand_as(reached)
        rewards = self.reward(reached.flatten(0, 1), goal.flatten(0, 1), self.frame.weight)
        return rewards.unflatten(0, reached.shape[:2]).sum(1)
