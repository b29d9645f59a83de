"""What the tasks look like: one picture of all of them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageDraw

from rig.envs import make_batch
from rig.video import GAP, Frames, beside, grid

SIZE = 96
"""Pixels of a frame's side."""
HEAD = 14
"""Pixels of the line above them."""
LABEL = 140
"""Pixels of the column of names."""
COLUMNS = ("start", "goals", "", "", "random states", "", "")


def contact_sheet(tasks: Iterable[str]) -> Frames:
    """Picture u8[H, W, 3]: a row a task, its start, three of its goals and three random states."""
    rows = [beside([_label("", LABEL, HEAD), *(_label(word, SIZE, HEAD) for word in COLUMNS)])]
    for task in tasks:
        env = make_batch(task, 1, seed=0, size=SIZE)
        frames = np.concatenate((env.reset().frame, env.show(env.sample_goals(3)), env.show(env.random_states(3))))
        env.close()
        rows.append(beside([_label(task, LABEL, SIZE), grid(frames, len(frames))]))
    gap = np.full((GAP, rows[0].shape[1], 3), 255, np.uint8)
    return np.concatenate([piece for row in rows for piece in (row, gap)])


def _label(word: str, width: int, height: int) -> Frames:
    """A word, black on white."""
    picture = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(picture).text((2, height // 2 - 6), word, "black")
    return np.asarray(picture, np.uint8)
