"""DDPG: deep deterministic policy gradient, as settings of TD3."""

from __future__ import annotations

from dataclasses import dataclass

from rig.learners.td3 import TD3, TD3Config


@dataclass(frozen=True)
class DDPGConfig(TD3Config):
    """Settings of DDPG: TD3's, of which these stand otherwise."""

    name: str = "ddpg"
    critics: int = 1  # critics, whose least value counts; 1: no double Q
    polyak: float = 0.005  # share of the online weights taken into the targets at each update: TD3's pace [Lillicrap: 0.001]
    actor_every: int = 1  # critic updates an actor update
    candidates: int = 1  # actions of which the critics choose one to act by: the actor's and others about it; 1: the actor's
    target_noise: float = 0.0  # std of the target policy's smoothing noise, action units
    noise_kind: str = "ou"  # behaviour noise: gaussian | ou: Ornstein-Uhlenbeck, which leans the same way for a while
    noise: float = 0.38  # std of the behaviour noise, action units [Lillicrap et al. 2015: σ = .2, θ = .15, whose std is .38]
    uniform: float = 0.0  # share of behaviour actions drawn uniformly instead


class DDPG(TD3):
    """TD3 with one critic, an actor update at every update, no smoothing, and noise that leans the same way for a while.

    What both have in common (sizes, LayerNorm, learning rates, discount) has TD3's defaults, so that the two can be compared.
    Source: Lillicrap et al. 2015 (arXiv:1509.02971), Algorithm 1.
    """

    Config = DDPGConfig
