"""What a run shows when asked: the evaluation table and JSON, rollout films, imagined goals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from rig.encoders.base import Encoder
from rig.evaluate import Rollouts
from rig.goals.frame import widest_gap
from rig.video import GAP, Frames, beside, enlarge, grid

FILMED = 6
"""Episodes in a rollout film."""
SHOWN = 24
"""Most numbers of a latent frame's spectrum that are printed."""
BETWEEN = 8
"""Decoded pictures between two real ones."""


def rollout_film(rollouts: Rollouts, encoder: Encoder, device: torch.device) -> Frames:
    """Film u8[T, H, W, 3] of one episode after another: goal picture | camera | what the encoder thinks it sees."""
    episodes: list[Frames] = []
    for frames, goal in zip(rollouts.frame[:FILMED], rollouts.goal_frame, strict=False):
        panels = [np.broadcast_to(goal, frames.shape), frames]
        if encoder.can_decode:
            panels.append(encoder.decode(encoder.encode(torch.from_numpy(frames).to(device))).cpu().numpy())
        film = beside(panels)
        episodes.append(np.concatenate((film, film[-1:].repeat(8, axis=0))))
    return enlarge(np.concatenate(episodes), 3)


def imagined_sheet(real: Frames, *imagined: Frames) -> Frames:
    """Picture u8[H, W, 3]: real frames on the left, as many decoded draws of each prior to their right."""
    columns = max(1, math.isqrt(len(real)))
    white = np.full_like(grid(real, columns)[:, :4], 255)
    panels = [panel for frames in imagined for panel in (white, grid(frames, columns))]
    return enlarge(beside([grid(real, columns), *panels]), 3)


def interpolated_sheet(real: Frames, encoder: Encoder, device: torch.device) -> Frames:
    """Picture u8[H, W, 3]: a row a pair of real frames u8[2R, H, W, 3], the first with the last of them, and so on inwards.

    They stand at the row's ends; between them, decoded, the straight line from the code of one to that of the other.
    """
    rows = len(real) // 2
    code = encoder.encode(torch.from_numpy(real).to(device))
    share = torch.linspace(0, 1, BETWEEN, device=device)[:, None]
    line = torch.lerp(code[:rows, None], code.flip(0)[:rows, None], share).flatten(0, 1)
    first, last = grid(real[:rows], 1), grid(real[::-1][:rows], 1)
    white = np.full_like(first[:, :GAP], 255)
    return enlarge(beside([first, white, grid(encoder.decode(line).cpu().numpy(), BETWEEN), white, last]), 3)


def encoder_line(found: Mapping[str, Any], latent_dim: int) -> str:
    """What a training of an encoder came to, for people, out of its closing metrics; empty where it has none."""
    words = [f"{name} {found[name]:.4g}" for name in ("reconstruction", "kl") if name in found]
    if "active_units" in found:
        words.append(f"{found['active_units']} of {latent_dim} latents active")
    if "codes_in_use" in found:
        words.append(f"{found['codes_in_use']:.0%} of the codes in use")
    if "prior_nats_per_cell" in found:
        words.append(f"the prior needs {found['prior_nats_per_cell']:.2f} nats a cell")
    return ", ".join(words)


def describe_code(found: Mapping[str, Any], latent_dim: int) -> str:
    """What was measured of a code beside the probe, for people: a line a figure, of those that there are."""
    lines = [f"how far the code can be trusted:\n  {found['active_units']} of {latent_dim} latents active"]
    if not found["active_units"] and "kl" in found:
        lines[0] += ": it has collapsed, and nothing is seen by it; try a longer encoder.training.anneal, or another seed"
    if found.get("spearman") is not None:
        near = found["near_spearman"]
        lines.append(
            f"  latent against true distance of two random states: rank correlation {found['spearman']:.2f}"
            + ("" if near is None else f", over the nearest fifth of pairs {near:.2f}")
        )
    if "moving_r2" in found:
        lines.append(f"  decoded pictures: R² {found['moving_r2']:.3f} over the {found['moving_share']:.0%} of pixels that move")
    prior, goal = (f"{found[gap]:.0%} right ({_chance(found[f'{gap}_p'])})" for gap in ("prior_gap", "goal_gap"))
    lines.append(f"  a small network tells imagined codes from seen ones: {prior}, where guessing is 50%")
    lines.append(f"  imagined goals, in the latent frame, from places seen: {goal}")
    return "\n".join(lines)


def _chance(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def table(summary: Mapping[str, Any]) -> str:
    """The evaluation as a small table for people."""
    lines = [
        f"{summary['task']}, {summary['encoder']}, {summary['learner']} after {summary['steps']} env steps: "
        f"{summary['episodes']} " + ("goals never seen in training" if summary["factors"] else "goals given as pictures")
    ]
    if summary["factors"]:
        if summary.get("goal_source"):
            lines.append(summary["goal_source"])
        lines.append(f"{'':10}{'final distance':>16}{'doing nothing':>16}{'success':>10}")
        for name, factor in summary["factors"].items():
            final, idle = (f"{factor[key]:.4f} {factor['unit']}" for key in ("final_distance_mean", "idle_distance_mean"))
            lines.append(f"{name:10}{final:>16}{idle:>16}{factor['success_rate']:>10.0%}")
        lines.append(f"task success {summary['success_rate']:.0%}; latent distance {summary['latent_distance_mean']:.3f}")
        if summary["latent_true_spearman"] is not None:
            lines[-1] += f", rank correlation with true distance {summary['latent_true_spearman']:.2f}"
    else:
        lines.append(f"latent distance {summary['latent_distance_mean']:.3f} (the true distance of a picture is not known)")
        lines += [f"  goal {i}: {row['latent_distance']:.3f}" for i, row in enumerate(summary["per_episode"])]
    return "\n".join(lines)


def describe_frame(spectrum: torch.Tensor, weight: torch.Tensor, r2: Sequence[tuple[str, float]], name: str) -> str:
    """One paragraph about a latent frame: its spectrum, the widest gap, how many coordinates are kept, and what each tells.

    `r2` gives, for each state dimension, the R² of a linear fit on the kept coordinates (for people only); empty: not known.
    """
    values = [float(v) for v in spectrum]
    lines = [f"latent frame {name}: keeps {len(weight)} of {len(values)} coordinates"]
    label = "slowness" if name == "slow" else "variance"
    shown = [f"{v:.3g}" for v in values[:SHOWN]] + (["…"] if len(values) > SHOWN else [])
    lines.append(f"  {label} {' '.join(shown)}")
    if len(values) > 1:
        ordered, (ratio, after) = sorted(values), widest_gap(spectrum)
        lines.append(f"  widest gap ×{ratio:.1f} between {ordered[after - 1]:.3g} and {ordered[after]:.3g}")
    if name == "slow":
        lines.append(f"  reward weights {' '.join(f'{float(w):.2f}' for w in weight)}")
    if r2:
        lines.append("  linear R² of each state factor: " + ", ".join(f"{factor} {value:.3f}" for factor, value in r2))
    return "\n".join(lines)
