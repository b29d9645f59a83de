"""Relabelling: which goal each sampled transition is learnt with. Index arithmetic only; storage is never written."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rig.types import Indices

KEEP = -1
IMAGINE = -2


@dataclass(frozen=True)
class RelabelConfig:
    """Shares of a batch by where its goals come from. Source: Nair et al. 2018, section 4.4; Andrychowicz et al. 2017."""

    name: str = "rig"
    keep: float = 0.2  # share that keeps the goal of its rollout
    imagined: float = 0.5  # share whose goal is drawn anew from the prior
    future: float = 0.3  # share whose goal is achieved later in the same episode
    exchange: float = 0.0  # share in which a thing that rests, and its goal, are those of another transition [Pitis et al. 2020]


def counts(batch: int, config: RelabelConfig) -> tuple[int, int, int]:
    """How many of a batch keep their goal, get an imagined one, get a future one: whole numbers that add up to `batch`.

    Rounded by largest remainder. Raises ValueError where the shares are negative or do not add to 1.
    """
    shares = (config.keep, config.imagined, config.future)
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"relabel shares keep + imagined + future must be >= 0 and add to 1, got {sum(shares):g}")
    whole = [int(batch * share + 1e-9) for share in shares]
    by_remainder = sorted(range(3), key=lambda i: whole[i] - batch * shares[i])
    for i in by_remainder[: batch - sum(whole)]:
        whole[i] += 1
    return whole[0], whole[1], whole[2]


def relabel(
    episode: Tensor, step: Tensor, length: Tensor, config: RelabelConfig, generator: torch.Generator
) -> Indices:
    """Choose a goal for transitions `step` i64[…, B] of `episode` i64[…, B], whose episodes have `length` i64[…, B] steps so far.

    The transitions of a batch are drawn independently, so the first `keep` of them keep their goal, the next are imagined, and
    the rest are given the frame after a step drawn uniformly from the transition's own to the episode's last ("future",
    Andrychowicz et al. 2017, section 4.5).
    """
    keep, imagined, _ = counts(step.shape[-1], config)
    goal_step = torch.empty_like(step)
    goal_step[..., :keep] = KEEP
    goal_step[..., keep : keep + imagined] = IMAGINE
    now, last = step[..., keep + imagined :], length[..., keep + imagined :]
    chance = torch.rand(now.shape, generator=generator, device=step.device, dtype=torch.float64)
    goal_step[..., keep + imagined :] = now + 1 + (chance * (last - now)).long()
    return Indices(episode, step, goal_step)


RELABELS: dict[str, type[RelabelConfig]] = {"rig": RelabelConfig}
