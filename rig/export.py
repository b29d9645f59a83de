"""A trained policy for other libraries.

A file for stable-baselines3 holds the actor over agent coordinates; what turns a picture into those stays in the run:

    from pathlib import Path
    import torch
    from stable_baselines3 import TD3
    from rig.commands import load_config, load_policy

    run = Path("runs/my_run")
    _, policy, _ = load_policy(run, load_config(run), None)

    def code(picture):  # u8[H, W, 3] as the run's camera films (f32[S] simulator state where encoder=oracle) -> f32[1, K]
        return policy.frame(policy.encoder.encode(torch.from_numpy(picture)[None].to(policy.device)))

    observation = policy.learner.inputs(code(now), code(goal)).cpu().numpy()  # f32[1, 2K] with the default learner.goal_input
    action, _ = TD3.load("policy.zip").predict(observation, deterministic=True)  # f32[1, A] in [-1, 1]
"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from rig import files
from rig.commands import load_config, load_policy
from rig.errors import UserError
from rig.learners import TD3
from rig.learners.sb3 import make_td3, need
from rig.nets import Ensemble

if TYPE_CHECKING:
    from stable_baselines3 import TD3 as SB3TD3


def export_sb3(run: Path, out: Path) -> int:
    """Write the policy of a run's newest valid checkpoint as a file for plain `stable_baselines3.TD3.load`.

    Its `predict` gives the actor's actions for what the learner's `inputs` makes of the agent coordinates of what is seen and
    of the goal (see the module's docstring): the run's own with learner.candidates=1, else those from which its critics begin to
    choose. The settings of TD3 go along; the optimisers' moments and the replay memory do not.

    Raises UserError where stable-baselines3 is missing, the learner is not TD3 (or DDPG) with a tanh, or `out` cannot be written.
    """
    config = replace(load_config(run), device="auto")
    _, policy, loaded = load_policy(run, config, None)
    learner = policy.learner
    if not isinstance(learner, TD3):
        raise UserError(f"{run} was trained by learner {config.learner.name}; --to sb3 takes runs of learner=td3 or ddpg")
    if learner.trunk is not None:
        raise UserError(f"{run} has an actor with convolutions over pixels; --to sb3 takes actors over the codes of an encoder")
    if learner.config.action != "tanh":
        raise UserError(
            f"{run} was trained with learner.action={learner.config.action}; --to sb3 takes learner.action=tanh, "
            "which stable-baselines3's actors end in"
        )
    model = to_sb3(learner, config.replay.capacity)
    file = io.BytesIO()
    model.save(file)
    files.write(out, file.getvalue())
    print(f"policy after {loaded.step} env steps, for stable_baselines3.TD3.load: {out}")
    if learner.config.candidates > 1:
        print(
            f"it acts by the actor alone, where this run's critics choose among {learner.config.candidates} actions "
            f"(learner.candidates); rig evaluate {run} learner.candidates=1 shows what that is worth"
        )
    if not plain_critics(learner):
        print(
            "critics left untrained in it: stable-baselines3 has neither LayerNorm nor classification for them; "
            "only training on would miss them"
        )
    return 0


def to_sb3(learner: TD3, buffer_size: int) -> SB3TD3:
    """A stable-baselines3 TD3 with the learner's settings, actor and target actor, and critics where they are `plain_critics`.

    Observations are what `learner.inputs` gives; `buffer_size` is in transitions. Left out: the share of uniform behaviour
    actions, returns of several steps, a learning rate that falls, and how often it learns. Raises UserError where
    stable-baselines3 is not installed.
    """
    need("exporting")
    from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise

    config = learner.config
    mean, spread = np.zeros(learner.action_dim), np.full(learner.action_dim, config.noise)
    if config.noise_kind == "ou":
        theta = config.noise_reversion
        noise = OrnsteinUhlenbeckActionNoise(mean, spread * (1 - (1 - theta) ** 2) ** 0.5, theta, dt=1.0)
    else:
        noise = NormalActionNoise(mean, spread)
    model = make_td3(
        config, learner.actor.weights[0].shape[1], learner.action_dim, buffer_size=buffer_size, action_noise=noise
    )
    model.actor.mu.load_state_dict(mlp_state(learner.actor, 0))
    model.actor_target.mu.load_state_dict(mlp_state(learner.target_actor, 0))
    if plain_critics(learner):
        for theirs, ours in ((model.critic, learner.critics), (model.critic_target, learner.target_critics)):
            for member, network in enumerate(theirs.q_networks):
                network.load_state_dict(mlp_state(ours, member))
    return model


def plain_critics(learner: TD3) -> bool:
    """Whether stable-baselines3 has such critics."""
    return not learner.config.layer_norm and learner.config.critic == "mse"


def mlp_state(ensemble: Ensemble, member: int) -> dict[str, Tensor]:
    """One member without LayerNorm as the state of `nn.Sequential(Linear, ReLU, Linear, ReLU, …, Linear)`."""
    state: dict[str, Tensor] = {}
    for layer, (weight, bias) in enumerate(zip(ensemble.weights, ensemble.biases, strict=True)):
        state |= {f"{2 * layer}.weight": weight[member].T, f"{2 * layer}.bias": bias[member, 0]}
    return state
