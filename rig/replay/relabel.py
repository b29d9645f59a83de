"""Relabelling: which goal each sampled transition is learnt with. Index arithmetic only; storage is never written."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class RelabelConfig:
    """Shares of a batch by where its goals come from. Source: Nair et al. 2018, section 4.4; Andrychowicz et al. 2017."""

    name: str = "rig"
    keep: float = 0.2  # share that keeps the goal of its rollout
    imagined: float = 0.5  # share whose goal is drawn anew from the prior
    future: float = 0.3  # share whose goal is achieved later in the same episode
    visited: float = 0.0  # share whose goal is achieved anywhere in the replay, in any episode
    exchange: float = 0.0  # share in which a thing that rests, and its goal, are those of another transition [Pitis et al. 2020]


class Counts(NamedTuple):
    """How many of a batch get their goal from where, in this order."""

    keep: int
    imagined: int
    future: int
    visited: int

    @property
    def imagine(self) -> slice:
        """Rows of a batch whose goals are to be imagined."""
        return slice(self.keep, self.keep + self.imagined)

    @property
    def achieved(self) -> slice:
        """Rows of a batch whose goals were achieved: future ones, then visited ones."""
        return slice(self.keep + self.imagined, sum(self))


@cache
def counts(batch: int, config: RelabelConfig) -> Counts:
    """The shares of a batch as whole numbers that add up to `batch`, rounded by largest remainder.

    Raises ValueError where the shares are negative or do not add to 1.
    """
    shares = (config.keep, config.imagined, config.future, config.visited)
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"relabel shares keep + imagined + future + visited must be >= 0 and add to 1, got {sum(shares):g}")
    whole = [int(batch * share + 1e-9) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda i: whole[i] - batch * shares[i])
    for i in by_remainder[: batch - sum(whole)]:
        whole[i] += 1
    return Counts(*whole)


def relabel(now: Tensor, left: Tensor, count: Counts, generator: torch.Generator) -> Tensor:
    """Where the goals lie that rows `count.achieved` of a batch are given: i64[…, future + visited].

    Of transitions drawn independently, from observations `now` i64[…, B + visited] with `left` i64[…, B + visited] >= 1 more in
    their episodes, whose numbers follow: B make the batch, the others say which are visited. The first goals are frames after a
    step drawn uniformly from the transition's own to the episode's last ("future", Andrychowicz et al. 2017, section 4.5), then
    come those after a step of the whole replay ("random", ibid.). A batch's own rows before them keep their goals, or have them
    imagined.
    """
    future = slice(count.achieved.start, count.achieved.start + count.future)
    soon, limit = now[..., future], left[..., future]
    chance = torch.rand(soon.shape, generator=generator, device=now.device, dtype=torch.float64)
    return torch.cat((soon + (chance * limit).long(), now[..., sum(count) :]), -1) + 1


RELABELS: dict[str, type[RelabelConfig]] = {"rig": RelabelConfig}
