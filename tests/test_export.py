"""Exported policies: plain stable-baselines3 does with them what the run does."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import TD3 as SB3TD3
from torch import Tensor

from rig import build, commands, export
from rig.commands import load_config, load_policy
from rig.config import RunConfig
from rig.config_io import from_mapping
from rig.errors import UserError
from rig.evaluate import Policy
from rig.learners import DDPG, TD3, Learner
from rig.learners.ddpg import DDPGConfig
from rig.learners.td3 import TD3Config
from rig.types import Batch

ANY_RUN: dict[str, Any] = {
    "task": {"name": "reach", "horizon": 10},
    "goals": {"name": "gaussian"},
    "reward": {"name": "latent_distance"},
    "relabel": {"name": "rig"},
    "learner": {"name": "td3", "candidates": 1, "batch": 16, "noise": 0.3, "discount": 0.9},
    "collect": {"frames": 64, "num_envs": 2},
    "evaluation": {"every": 0, "episodes": 2, "final_episodes": 2, "probe_states": 0},
    "checkpoint": {"every": 30},
    "replay": {"capacity": 500},
    "num_envs": 1,
    "steps": 60,
    "random_steps": 20,
    "device": "cpu",
}
PIXELS: dict[str, Any] = {
    "encoder": {"name": "beta_vae", "training": {"steps": 3, "batch": 16}},
    "frame": {"name": "whitened"},
}
ORACLE: dict[str, Any] = {"encoder": {"name": "oracle"}, "frame": {"name": "identity"}}


def configured(folder: Path, **changes: Any) -> RunConfig:
    return from_mapping({**ANY_RUN, **changes, "run_dir": str(folder)})


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run from pixels, with the default LayerNorm critics."""
    folder = tmp_path_factory.mktemp("runs") / "seeing"
    assert commands.train(configured(folder, **PIXELS)) == 0
    return folder


@pytest.fixture(scope="module")
def knowing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run from simulator state, critics without LayerNorm, other hidden sizes."""
    folder = tmp_path_factory.mktemp("runs") / "knowing"
    learner = {**ANY_RUN["learner"], "goal_input": "logarithmic", "layer_norm": False, "hidden": [48, 32, 24]}
    assert commands.train(configured(folder, **ORACLE, learner=learner)) == 0
    return folder


def policy_of(run: Path) -> Policy:
    return load_policy(run, load_config(run), None)[1]


def observations(policy: Policy, count: int) -> tuple[Tensor, Tensor]:
    """Codes and goals near the middle, where the hardly trained policy's tanh does not saturate."""
    latent, goal = 0.3 * torch.randn(2, count, policy.frame.dim, generator=torch.Generator().manual_seed(0))
    return latent, goal


@pytest.mark.parametrize("fixture", ["seeing", "knowing"])
def test_plain_td3_acts_as_the_run_does(fixture: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    run, out = request.getfixturevalue(fixture), tmp_path / "new" / "policy.zip"
    assert export.export_sb3(run, out) == 0
    assert list(out.parent.iterdir()) == [out]
    model, policy = SB3TD3.load(out, device="cpu"), policy_of(run)
    latent, goal = observations(policy, 200)
    observation = policy.learner.inputs(latent, goal).numpy()
    assert model.observation_space.shape == observation.shape[1:] and model.observation_space.contains(observation[0])
    assert np.isinf(model.observation_space.low).all() and np.isinf(model.observation_space.high).all()
    acted, _ = model.predict(observation, deterministic=True)
    expected = policy.learner.act(latent, goal).numpy()
    assert acted.dtype == np.float32 and expected.std() > 0.01
    np.testing.assert_allclose(acted, expected, rtol=0, atol=1e-6)


def test_the_documented_way_from_frames_to_actions(seeing: Path, tmp_path: Path) -> None:
    """What the module's docstring tells people to type, line by line."""
    export.export_sb3(seeing, tmp_path / "policy.zip")
    assert export.__doc__ is not None
    code = "\n".join(line[4:] for line in export.__doc__.splitlines() if line.startswith("    "))
    code = code.replace("runs/my_run", str(seeing)).replace("policy.zip", str(tmp_path / "policy.zip"))
    env = build.make_env(load_config(seeing), 3, "evaluate", 1)
    now, goal = env.show(env.random_states(2))
    names: dict[str, Any] = {"now": now, "goal": goal}
    exec(code, names)
    policy = policy_of(seeing)
    latent = policy.frame(policy.encoder.encode(torch.from_numpy(np.stack((now, goal)))))
    np.testing.assert_allclose(names["action"], policy.learner.act(latent[:1], latent[1:]).numpy(), rtol=0, atol=1e-5)


def test_critics_without_layer_norm_go_along(knowing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export.export_sb3(knowing, tmp_path / "policy.zip")
    printed = capsys.readouterr().out
    assert printed == f"policy after 60 env steps, for stable_baselines3.TD3.load: {tmp_path / 'policy.zip'}\n"
    model, policy = SB3TD3.load(tmp_path / "policy.zip", device="cpu"), policy_of(knowing)
    learner = policy.learner
    assert isinstance(learner, TD3)
    latent, goal = observations(policy, 50)
    observation, action = learner.inputs(latent, goal), learner.act(latent, goal)
    pairs = ((model.critic, learner.critics), (model.critic_target, learner.target_critics))
    for theirs, ours in pairs:
        expected = ours(torch.cat((observation, action), 1))
        torch.testing.assert_close(torch.stack(theirs(observation, action)), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(model.actor_target(observation), learner.target_actor(observation)[0].tanh(), rtol=0, atol=1e-6)


def test_critics_that_cannot_go_along_are_named(seeing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export.export_sb3(seeing, tmp_path / "policy.zip")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and "critics left untrained" in lines[1] and "LayerNorm" in lines[1]


def test_an_export_acts_by_the_actor_alone_and_says_so(
    knowing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    representation, policy, loaded = load_policy(knowing, load_config(knowing), None)
    learner = policy.learner
    assert isinstance(learner, TD3)
    choosing = TD3(replace(learner.config, candidates=16), learner.latent_dim, learner.action_dim, torch.Generator())
    choosing.load_state_dict(learner.state_dict())
    monkeypatch.setattr(export, "load_policy", lambda *_: (representation, policy._replace(learner=choosing), loaded))
    export.export_sb3(knowing, tmp_path / "policy.zip")
    assert "critics choose among 16 actions" in capsys.readouterr().out
    latent, goal = observations(policy, 50)
    model = SB3TD3.load(tmp_path / "policy.zip", device="cpu")
    acted, _ = model.predict(choosing.inputs(latent, goal).numpy(), deterministic=True)
    np.testing.assert_allclose(acted, learner.act(latent, goal).numpy(), rtol=0, atol=1e-6)
    assert not np.allclose(acted, choosing.act(latent, goal).numpy(), atol=1e-3)


def test_critics_that_classify_stay_behind() -> None:
    learner = TD3(TD3Config(layer_norm=False, critic="hl_gauss"), 2, 2, torch.Generator().manual_seed(0))
    model = export.to_sb3(learner, 1)
    observation = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(model.actor(observation), learner.actor(observation)[0].tanh(), rtol=0, atol=1e-6)


def test_the_settings_go_along(knowing: Path, tmp_path: Path) -> None:
    export.export_sb3(knowing, tmp_path / "policy.zip")
    model, config = SB3TD3.load(tmp_path / "policy.zip", device="cpu"), load_config(knowing).learner
    theirs = (model.learning_rate, model.batch_size, model.gamma, model.tau, model.policy_delay)
    assert theirs == (config.learning_rate, 16, 0.9, config.polyak, config.actor_every)
    assert (model.target_policy_noise, model.target_noise_clip) == (config.target_noise, config.target_clip)
    assert model.action_noise is not None and model.buffer_size == 500
    assert np.std([model.action_noise() for _ in range(2000)]) == pytest.approx(0.3, rel=0.1)


def test_ddpg_goes_along_with_its_one_critic_and_its_drifting_noise() -> None:
    model = export.to_sb3(DDPG(DDPGConfig(noise=0.3), 2, 2, torch.Generator().manual_seed(0)), 1)
    assert (len(model.critic.q_networks), model.policy_delay, model.target_policy_noise) == (1, 1, 0.0)
    assert model.action_noise is not None
    noise = np.array([model.action_noise() for _ in range(20_000)])
    assert noise.std() == pytest.approx(0.3, rel=0.1)
    assert (noise[1:] * noise[:-1]).mean() / np.square(noise).mean() == pytest.approx(0.85, abs=0.02)


def test_an_actor_without_a_tanh_is_refused(knowing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    representation, policy, loaded = load_policy(knowing, load_config(knowing), None)
    cut = policy._replace(learner=TD3(TD3Config(action="clip"), policy.frame.dim, 2, torch.Generator()))
    monkeypatch.setattr(export, "load_policy", lambda *_: (representation, cut, loaded))
    with pytest.raises(UserError, match=r"learner\.action=clip; --to sb3 takes learner\.action=tanh"):
        export.export_sb3(knowing, tmp_path / "policy.zip")
    assert not (tmp_path / "policy.zip").exists()


def test_a_file_that_cannot_be_written(knowing: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write .*policy\.zip"):
        export.export_sb3(knowing, tmp_path / "file" / "policy.zip")
    (tmp_path / "folder.zip").mkdir()
    with pytest.raises(UserError, match=r"cannot write .*folder\.zip: Is a directory"):
        export.export_sb3(knowing, tmp_path / "folder.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.zip"]


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no run folder"):
        export.export_sb3(tmp_path, tmp_path / "policy.zip")


@dataclass(frozen=True)
class StillConfig:
    """Settings of Still."""

    name: str = "still"
    batch: int = 16


class Still(Learner):
    """A learner that does nothing."""

    Config = StillConfig

    def __init__(self, config: StillConfig, latent_dim: int, action_dim: int, generator: torch.Generator) -> None:
        super().__init__()
        self.action_dim = action_dim

    def act(self, latent: Tensor, goal: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return torch.zeros(len(latent), self.action_dim)

    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        return {}


def test_another_learner_is_refused(knowing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    representation, policy, loaded = load_policy(knowing, load_config(knowing), None)
    still = policy._replace(learner=Still(StillConfig(), policy.frame.dim, 2, torch.Generator()))
    other = replace(load_config(knowing), learner=StillConfig())
    monkeypatch.setattr(export, "load_config", lambda _: other)
    monkeypatch.setattr(export, "load_policy", lambda *_: (representation, still, loaded))
    with pytest.raises(UserError, match="learner still; --to sb3 takes runs of learner=td3"):
        export.export_sb3(knowing, tmp_path / "policy.zip")
    assert not (tmp_path / "policy.zip").exists()


def test_without_stable_baselines3_the_message_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(UserError, match=r"pip install 'rig-rl\[sb3\]'"):
        export.to_sb3(TD3(TD3Config(), 2, 2, torch.Generator()), 1)
