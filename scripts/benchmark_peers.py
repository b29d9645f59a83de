"""The peers of scripts/benchmark.py: what people use instead, with the settings that its documentation recommends."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv
from stable_baselines3 import SAC, TD3, HerReplayBuffer
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from rig.algorithm import act_on, observe
from rig.encoders.base import Encoder
from rig.encoders.vae import VAE
from rig.envs import TASKS
from rig.envs.task import Worlds
from rig.nets import ConvTranspose2d

ACTION = 2
os.environ.setdefault("MUJOCO_GL", "egl")  # MuJoCo reads it when it is first imported


class Filmed(gymnasium.Env[np.ndarray, np.ndarray]):
    """One world of a task of ours as people write it: mj_step and mujoco.Renderer; observations u8[size, size, 3]."""

    def __init__(self, task: str, size: int = 48) -> None:
        import mujoco

        self.mujoco, self.task, self.size = mujoco, TASKS[task](), size
        self.model = self.task.model()
        self.data = mujoco.MjData(self.model)
        self.views = Worlds(*(array[None] for array in (getattr(self.data, name) for name in Worlds._fields)))
        self.observation_space = spaces.Box(0, 255, (size, size, 3), np.uint8)
        self.action_space = spaces.Box(-1, 1, (self.task.action_dim,), np.float32)
        self.renderer: Any = None

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin at the task's start. The first one opens the OpenGL context, in the process that will draw."""
        super().reset(seed=seed)
        if self.renderer is None:
            self.renderer = self.mujoco.Renderer(self.model, self.size, self.size)
        self.mujoco.mj_resetData(self.model, self.data)
        self.task.write_state(self.views, self.task.start_states(self.np_random, 1))
        self.mujoco.mj_forward(self.model, self.data)
        return self._seen(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Apply action f32[A] for one env step."""
        self.task.apply_action(self.views, action[None])
        self.mujoco.mj_step(self.model, self.data, nstep=self.task.substeps)
        return self._seen(), 0.0, False, False, {}

    def _seen(self) -> np.ndarray:
        self.renderer.update_scene(self.data, camera=0)
        return self.renderer.render()

    def close(self) -> None:
        """Free the context."""
        if self.renderer is not None:
            self.renderer.close()


def filmed_worlds(task: str, n: int) -> AsyncVectorEnv:
    """n of them in processes, frames through shared memory, after a reset; forked, so that none imports anything again."""
    worlds = AsyncVectorEnv([partial(Filmed, task)] * n, shared_memory=True, context="fork")
    worlds.reset()
    return worlds


class Codes(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """Spaces and the batched reward of a goal environment over codes f32[dim] or pictures u8[size, size, 3]; never stepped."""

    def __init__(self, shape: tuple[int, ...], dtype: Any = np.float32) -> None:
        self.pixels = np.issubdtype(dtype, np.integer)
        box = spaces.Box(0 if self.pixels else -np.inf, 255 if self.pixels else np.inf, shape, dtype)
        self.observation_space = spaces.Dict({k: box for k in ("observation", "achieved_goal", "desired_goal")})  # pyright: ignore[reportAttributeAccessIssue, reportIncompatibleVariableOverride]
        self.action_space = spaces.Box(-1, 1, (ACTION,), np.float32)

    def compute_reward(self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: Any) -> np.ndarray:
        """Minus the Euclidean distance of codes, f32[B]; of pictures 0, which costs nothing: none is computed of ours either."""
        if self.pixels:
            return np.zeros(len(achieved_goal), np.float32)
        return -np.linalg.norm(achieved_goal - desired_goal, axis=-1).astype(np.float32)


class EncodedWorlds(VecEnv):
    """N worlds stepped together, their pictures as an encoder's codes, encoded together, with imagined goals.

    It is what people write, as well as it can be written: SB3's own interface for many worlds, without a wrapper around it.
    """

    def __init__(
        self, worlds: Any, encoder: Encoder, imagine: Callable[[int], Tensor], horizon: int, device: torch.device
    ) -> None:
        dim = encoder.latent_dim
        self.spaces = Codes((dim,))
        super().__init__(worlds.num_envs, self.spaces.observation_space, self.spaces.action_space)
        self.worlds, self.encoder, self.imagine, self.horizon, self.device = worlds, encoder, imagine, horizon, device
        self.goal = np.zeros((self.num_envs, dim), np.float32)
        self.steps = 0
        self.action = np.zeros((self.num_envs, ACTION), np.float32)

    def reset(self) -> dict[str, np.ndarray]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Begin an episode in every world, towards imagined goals."""
        self.steps, self.goal = 0, self.imagine(self.num_envs).cpu().numpy()
        return self._seen(self.worlds.reset())

    def step_async(self, actions: np.ndarray) -> None:
        """Take actions f32[N, A]."""
        self.action = actions

    def step_wait(self) -> Any:
        """Apply them for one env step; all episodes end together, at the horizon."""
        seen = self._seen(act_on(self.worlds, torch.from_numpy(self.action)))
        reward = self.spaces.compute_reward(seen["achieved_goal"], seen["desired_goal"], None)
        self.steps += 1
        over = self.steps == self.horizon
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if over:
            for world, info in enumerate(infos):
                info["terminal_observation"] = {name: value[world] for name, value in seen.items()}
                info["TimeLimit.truncated"] = True
            seen = self.reset()
        return seen, reward, np.full(self.num_envs, over), infos

    def _seen(self, observation: Any) -> dict[str, np.ndarray]:
        code = self.encoder.encode(observe(self.encoder, observation, self.device)).cpu().numpy()
        return {"observation": code, "achieved_goal": code.copy(), "desired_goal": self.goal.copy()}

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """What HerReplayBuffer asks for: the batched reward."""
        return [getattr(self.spaces, method_name)(*method_args, **method_kwargs)]

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """No world is."""
        return [False] * self.num_envs

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """`render_mode`, which is none."""
        return [getattr(self.spaces, attr_name)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Nothing can be set."""
        raise AttributeError(attr_name)

    def close(self) -> None:
        """Close the worlds."""
        self.worlds.close()


def learner(
    kind: type[TD3] | type[SAC], env: gymnasium.Env[Any, Any] | VecEnv, capacity: int, device: torch.device, **settings: Any
) -> TD3 | SAC:
    """SB3's learner over its HerReplayBuffer ("future", four of five goals relabelled: its documentation's settings)."""
    noise = {"action_noise": NormalActionNoise(np.zeros(ACTION), np.full(ACTION, 0.2))} if kind is TD3 else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it counts the memory of untouched pages
        model = kind(
            "MultiInputPolicy", env, buffer_size=capacity, replay_buffer_class=HerReplayBuffer,
            replay_buffer_kwargs={"n_sampled_goal": 4, "goal_selection_strategy": "future"},
            policy_kwargs={"net_arch": [256, 256]}, device=device, **noise, **settings,
        )  # fmt: skip
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model


def fill(buffer: HerReplayBuffer, episode: int, draw: Callable[[np.ndarray], None] | None) -> None:
    """Make a buffer full of episodes of one length; `draw` fills an array, None leaves the arrays as they are."""
    steps = np.arange(buffer.buffer_size)
    start = steps - steps % episode
    buffer.ep_start[:, 0] = start
    buffer.ep_length[:, 0] = np.minimum(episode, buffer.buffer_size - start)
    buffer.pos, buffer.full = 0, True
    if draw is not None:
        for array in (*buffer.observations.values(), *buffer.next_observations.values(), buffer.actions):
            draw(array)


def her_buffer(capacity: int, env: Codes, device: torch.device) -> HerReplayBuffer:
    """A HerReplayBuffer alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        space: Any = env.observation_space
        return HerReplayBuffer(capacity, space, env.action_space, DummyVecEnv([lambda: env]), device=device)


def buffer_bytes(buffer: HerReplayBuffer) -> float:
    """Memory of one transition: every array of the buffer over its capacity."""
    arrays = (*buffer.observations.values(), *buffer.next_observations.values())
    arrays += (buffer.actions, buffer.rewards, buffer.dones, buffer.timeouts, buffer.ep_start, buffer.ep_length)
    return sum(a.nbytes for a in arrays) / buffer.buffer_size


def as_it_comes(encoder: Any, memory_format: torch.memory_format) -> None:
    """Give an encoder PyTorch's own transposed convolutions, and its weights this layout, which convolutions follow."""
    for layer in encoder.modules():
        if layer.__class__ is ConvTranspose2d:
            layer.__class__ = nn.ConvTranspose2d
    encoder.to(memory_format=memory_format)


def vae_epochs(encoder: VAE, frames: Tensor, beta: float, batch: int, steps: int, workers: int) -> None:
    """The plain loop: a shuffling DataLoader over u8 frames of the host, pinned for a GPU, float32, Adam as it comes."""
    device = next(encoder.parameters()).device
    pinned = device.type == "cuda"
    loader = DataLoader(TensorDataset(frames), batch, shuffle=True, drop_last=True, num_workers=workers, pin_memory=pinned)
    parameters: list[nn.Parameter] = [p for p in encoder.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(parameters, lr=1e-3)
    done = 0
    while done < steps:
        for (chunk,) in loader:
            x = encoder.standardise(chunk.to(device, non_blocking=True))
            posterior = encoder.posterior(x)
            sample = posterior.sample(torch.randn_like(posterior.mean))
            error = (encoder.reconstruct(sample) - x).square().sum() / len(x)
            loss = error + beta * posterior.kl().sum() / len(x)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            done += 1
            if done == steps:
                return
