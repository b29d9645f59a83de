"""What `rig doctor` tries in processes of their own: `python -m rig.doctor_probes NAME` prints one line of JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from rig.config import RunConfig

SECONDS = 0.5
"""How long a speed is measured."""


def rate(action: Callable[[], object]) -> float:
    """How often a second `action` can be done."""
    action()
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < SECONDS:
        action()
        count += 1
    return count / elapsed


def draw(render: str) -> dict[str, Any]:
    """Frames a second of 16 worlds of Push at the default size."""
    from rig.envs import make_batch
    from rig.envs.gl_render import REMEDY

    try:
        env = make_batch("push", 16, seed=0, size=RunConfig().task.size, render=render)
    except ValueError as error:
        return {"error": str(error).replace(REMEDY, "").rstrip(": ")}
    states = env.random_states(16)
    frames = env.show(states)
    if frames.std() < 1 or (frames[0] == frames[1]).all():
        return {"error": "draws empty pictures"}
    return {"per_s": 16 * rate(lambda: env.show(states))}


def step() -> dict[str, Any]:
    """Env steps a second of one world of Push."""
    import mujoco

    from rig.envs import TASKS

    task = TASKS["push"]()
    model = task.model()
    data = mujoco.MjData(model)
    return {"per_s": rate(lambda: mujoco.mj_step(model, data, task.substeps))}


def learn() -> dict[str, Any]:
    """Updates a second of the default TD3 on the device that `device=auto` takes."""
    import torch

    from rig.learners.td3 import TD3
    from rig.types import Batch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    generator = torch.Generator(device).manual_seed(0)
    learner = TD3(TD3.Config(), 8, 2, torch.Generator().manual_seed(0)).to(device)
    size = learner.config.batch
    zeros, each = torch.zeros(size, 8, device=device), torch.zeros(size, device=device)
    batch = Batch(zeros, zeros, torch.zeros(size, 2, device=device), each, zeros, each + 1)

    def update() -> None:
        learner.update(batch, generator)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return {
        "per_s": rate(update),
        "device": device.type,
        "name": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def remember() -> dict[str, Any]:
    """Bytes that one transition takes in the replay memory, for Reach with the codes of beta_vae."""
    import torch

    from rig.encoders.beta_vae import BetaVAE
    from rig.envs import TASKS
    from rig.replay.ring import Ring

    config = RunConfig()
    shape = (config.task.size, config.task.size, 3)
    device = torch.device("cpu")
    ring = Ring(1, config.task.horizon, 1, shape, torch.uint8, BetaVAE.Config().latent_dim, TASKS["reach"]().action_dim, device)
    return {"bytes": ring.bytes_per_transition}


PROBES: dict[str, Callable[[], dict[str, Any]]] = {
    "warp": lambda: draw("warp"),
    "gl": lambda: draw("gl"),
    "physics": step,
    "learner": learn,
    "buffer": remember,
}

if __name__ == "__main__":
    print(json.dumps(PROBES[sys.argv[1]]()))
