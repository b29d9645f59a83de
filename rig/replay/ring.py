"""The replay memory: an append-only ring of episodes, one uint8 frame a step, codes cached with the version that made them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from rig.replay.memory import MEMORIES, prefetched
from rig.replay.relabel import RelabelConfig, counts, relabel

BLOCK = 512
"""Observations that are re-encoded at once, or a whole episode's where that has more."""
ARRAYS = ("observed", "latent", "action", "goal")
"""What a ring holds of each episode, and "state" where it is to."""


class Sample(NamedTuple):
    """Batches of transitions with their goals, before the reward. U batches, D code coordinates, A actions; f32 all."""

    latent: Tensor
    """[U, B, D]"""
    goal: Tensor
    """[U, B, D]; rows from `keep` to `keep + imagined` of each batch are for the caller to fill with imagined goals."""
    action: Tensor
    """[U, B, A]"""
    reached: Tensor
    """[U, B, n_step, D], one, two, … `steps` env steps after `latent`, and that last one from there on."""
    steps: Tensor
    """[U, B], n_step, or as many as are left of the episode."""
    states: tuple[Tensor, Tensor] | None
    """Where the ring holds simulator states, those of `reached`, [U, B, n_step, S], and of goals that were achieved in some
    episode, [U, B, S], NaN for all others."""

    @property
    def next_latent(self) -> Tensor:
        """[U, B, D], `steps` env steps after `latent`."""
        return self.reached[..., -1, :]


class Ring:
    """Episodes of `horizon` steps from `num_envs` worlds at once; a step is stored once, as the encoder reads it.

    An episode has horizon + 1 observations and horizon actions. The oldest episodes are overwritten when the ring is full.
    Observations lie in one of `MEMORIES` (for "disk", in a file in `folder`); codes, actions and goals, all that sampling
    reads, lie on `device`. With a `state_dim` it holds simulator states too, for a reward that reads them.
    All counters are host integers that depend on nothing but how often `begin` and `append` were called.
    """

    def __init__(
        self,
        capacity: int,
        horizon: int,
        num_envs: int,
        observed_shape: tuple[int, ...],
        observed_dtype: torch.dtype,
        latent_dim: int,
        action_dim: int,
        device: torch.device,
        memory: str = "device",
        folder: Path | None = None,
        state_dim: int = 0,
    ) -> None:
        rounds = max(2, -(-capacity // (horizon * num_envs)))
        self.rows, self.horizon, self.num_envs = rounds * num_envs, horizon, num_envs
        self.observed = MEMORIES[memory]((self.rows, horizon + 1, *observed_shape), observed_dtype, device, folder)
        self.latent = torch.empty((self.rows, horizon + 1, latent_dim), device=device)
        self.action = torch.empty((self.rows, horizon, action_dim), device=device)
        self.goal = torch.empty((self.rows, latent_dim), device=device)
        self.state = torch.empty((self.rows, horizon + 1, state_dim), device=device)
        self.arrays = (*ARRAYS, *["state"] * (state_dim > 0))
        self.begun = 0  # episodes begun since the start, over all worlds
        self.step = horizon  # steps of the open episodes
        self.version = -1  # of the encoder whose codes are cached

    @property
    def bytes_per_transition(self) -> float:
        """Memory of one transition: all arrays of the whole ring over its transitions."""
        arrays = [getattr(self, name) for name in self.arrays]
        return sum(a.numel() * a.element_size() for a in arrays) / (self.rows * self.horizon)

    @property
    def open_row(self) -> int:
        """First of the `num_envs` rows that are being written."""
        return (self.begun - self.num_envs) % self.rows

    @property
    def open_rows(self) -> slice:
        """The rows that are being written, one a world."""
        return slice(self.open_row, self.open_row + self.num_envs)

    @property
    def closed(self) -> int:
        """Complete episodes in the ring, oldest first from row `oldest`."""
        return max(0, min(self.begun, self.rows) - self.num_envs)

    @property
    def oldest(self) -> int:
        """Row of the oldest episode."""
        return (self.open_row - self.closed) % self.rows

    def __len__(self) -> int:
        """Transitions in the ring."""
        return self.closed * self.horizon + (self.num_envs * self.step if self.begun else 0)

    def begin(
        self, observed: Tensor, latent: Tensor, goal: Tensor, version: int, state: Tensor | None = None, *, again: bool = False
    ) -> None:
        """Open an episode a world: first observations [N, …], their codes f32[N, D], goals f32[N, D], and states f32[N, S].

        With `again` they take the place of the open ones, whatever those have: nothing of them is sampled any more.
        """
        self._check(version, fresh=self.begun == 0)
        if not again:
            if self.step != self.horizon:
                raise ValueError(f"the open episodes have {self.step} of {self.horizon} steps")
            self.begun += self.num_envs
        self.step = 0
        rows = self.open_rows
        self.observed[rows, 0] = observed
        self.latent[rows, 0] = latent
        self.goal[rows] = goal
        if state is not None:
            self.state[rows, 0] = state

    def append(self, action: Tensor, observed: Tensor, latent: Tensor, version: int, state: Tensor | None = None) -> None:
        """Add actions f32[N, A] and the observations [N, …] they led to, with their codes f32[N, D], and states f32[N, S]."""
        self._check(version)
        if self.step >= self.horizon:
            raise ValueError("the open episodes are complete: begin new ones")
        rows = self.open_rows
        self.action[rows, self.step] = action
        self.step += 1
        self.observed[rows, self.step] = observed
        self.latent[rows, self.step] = latent
        if state is not None:
            self.state[rows, self.step] = state

    def sample(
        self, batches: int, batch: int, config: RelabelConfig, version: int, generator: torch.Generator, n_step: int = 1
    ) -> tuple[Sample, slice]:
        """Draw batches of transitions uniformly and relabel them; returns them and the rows whose goals are to be imagined."""
        self._check(version)
        count = counts(batch, config)
        row, step, left = self._transitions((batches, batch + count.visited), generator)
        now = row * (self.horizon + 1) + step  # observations numbered through, so that an episode's next one is one more
        achieved = relabel(now, left, count, generator)
        row, now, left = row[:, :batch], now[:, :batch], left[:, :batch]
        codes, after = self.latent.flatten(0, 1), torch.arange(n_step + 1, device=now.device)[:, None, None]
        goal = _rows(self.goal, row)
        goal[:, count.achieved] = _rows(codes, achieved)
        action = _rows(self.action.flatten(0, 1), now - row)  # an episode has one action less
        places = now + after.minimum(left)  # [n_step + 1, U, B]
        latent, reached = _rows(codes, places).split((1, n_step))
        states = self._states(places[1:], achieved, count.achieved) if "state" in self.arrays else None
        steps = left.clamp(max=n_step).float()
        return Sample(latent[0], goal, action, reached.movedim(0, 2), steps, states), count.imagine

    def _transitions(self, shape: tuple[int, int], generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Transitions drawn uniformly, of open episodes too: rows, steps, and their episodes' steps from there on, >= 1; i64."""
        before = self.closed * self.horizon  # in closed episodes, which lie before the open ones, round the ring
        number = torch.randint(-before, len(self) - before, shape, generator=generator, device=self.latent.device)
        length = torch.where(number < 0, self.horizon, self.step)
        step = number % length
        return (self.open_row + number // length) % self.rows, step, length - step

    def _states(self, after: Tensor, achieved: Tensor, where: slice) -> tuple[Tensor, Tensor]:
        """See Sample: of places i64[n_step, U, B] and of achieved goals at places i64[U, G], rows `where` of a batch."""
        states = self.state.flatten(0, 1)
        reached = _rows(states, after).movedim(0, 2)
        goal = torch.full_like(reached[:, :, 0], torch.nan)
        goal[:, where] = _rows(states, achieved)
        return reached, goal

    def refresh(self, encode: Callable[[Tensor], Tensor], version: int) -> None:
        """Re-encode every stored observation after the encoder changed; `encode` maps [B, …] to codes f32[B, D]."""
        blocks = (self.observed[rows, :written].flatten(0, 1) for rows, written in self._written())
        if self.observed.device != self.latent.device:
            blocks = prefetched(blocks, self.latent.device)
        for (rows, written), observed in zip(self._written(), blocks, strict=True):
            self.latent[rows, :written] = encode(observed).unflatten(0, (-1, written))
        self.version = version

    def observations(self, count: int, generator: torch.Generator) -> Tensor:
        """At most `count` observations [M, …] of the episodes held, drawn uniformly, none twice, on the device of the codes.

        Raises ValueError between the beginning and the end of episodes.
        """
        if self.step != self.horizon:
            raise ValueError(f"the open episodes have {self.step} of {self.horizon} steps")
        held = min(self.begun, self.rows) * (self.horizon + 1)
        chosen = torch.randperm(held, generator=generator, device=self.latent.device)[:count]
        return self.observed.flatten(0, 1)[chosen.to(self.observed.device)].to(self.latent.device)

    def visited(self, count: int, generator: torch.Generator) -> Tensor:
        """Codes f32[count, D] of the closed episodes, drawn uniformly, with repeats. Raises ValueError where there are none."""
        if not self.closed:
            raise ValueError("no episode is complete yet")
        length = self.horizon + 1
        index = torch.randint(self.closed * length, (count,), generator=generator, device=self.latent.device)
        row = (self.oldest + index // length) % self.rows
        return self.latent[row, index % length]

    def largest_code(self) -> float:
        """The largest magnitude among the codes held; waits for the device. Raises ValueError where there are none."""
        return max(float(self.latent[rows, :written].abs().max()) for rows, written in self._written())

    def lived(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Codes f32[E, horizon + 1, D] and actions f32[E, horizon, A] of closed episodes, about `count` transitions at most."""
        episodes = max(1, min(self.closed, count // self.horizon))
        row = (self.oldest + torch.randperm(self.closed, generator=generator, device=self.latent.device)[:episodes]) % self.rows
        return self.latent[row], self.action[row]

    def _written(self) -> Iterator[tuple[slice, int]]:
        """Rows, about `BLOCK` observations of them at a time, and how many observations of each are written."""
        held, length = min(self.begun, self.rows), self.horizon + 1
        first, after = self.open_row, self.open_row + self.num_envs
        for start, stop, written in ((0, first, length), (first, after, self.step + 1), (after, held, length)):
            count = max(1, BLOCK // written)
            for row in range(start, min(stop, held), count):
                yield slice(row, min(row + count, stop)), written

    def _check(self, version: int, fresh: bool = False) -> None:
        if fresh:
            self.version = version
        if version != self.version:
            raise ValueError(f"stale codes: the ring holds encoder version {self.version}, the encoder is at {version}")

    def episodes(self, first: int, last: int, names: Sequence[str] = ()) -> dict[str, Tensor]:
        """Copies of the episodes begun as number `first` up to before `last` (all in the ring), to be written to disk.

        All arrays, or those of `names`.
        """
        if not max(0, self.begun - self.rows) <= first <= last <= self.begun:
            raise ValueError(f"episodes {first}…{last} are not in the ring, which holds the last {self.rows} of {self.begun}")
        rows = torch.arange(first, last) % self.rows
        arrays = {name: getattr(self, name) for name in names or self.arrays}
        return {name: array[rows.to(array.device)] for name, array in arrays.items()}

    def adopt(self, observed: Tensor, action: Tensor, goal: Tensor) -> None:
        """Hold whole episodes from elsewhere as if they had been lived through here; `refresh` then gives them codes.

        Observations [E, horizon + 1, …], actions f32[E, horizon, A] and goals f32[E, D]. Raises ValueError where the ring is not
        empty, or they are more than fit or no multiple of `num_envs`.
        """
        count = len(action)
        if self.begun or count > self.rows or count % self.num_envs:
            raise ValueError(f"{count} episodes cannot begin a ring of {self.rows}, by {self.num_envs}, with {self.begun}")
        self.begun, self.step = count, self.horizon
        self.put(0, {"observed": observed, "action": action, "goal": goal})

    def put(self, first: int, tensors: Mapping[str, Tensor]) -> None:
        """Put back episodes from number `first` on, as `episodes` returned them."""
        rows = torch.arange(first, first + len(next(iter(tensors.values())))) % self.rows
        for name, value in tensors.items():
            array = getattr(self, name)
            array[rows.to(array.device)] = value.to(array.device)


def _rows(table: Tensor, index: Tensor) -> Tensor:
    """Rows f32[…, D] of a table at i64[…]; by far faster than indexing it with two."""
    return table.index_select(0, index.flatten()).unflatten(0, index.shape)
