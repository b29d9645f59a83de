"""How a scene looks: named camera poses, put into the model itself so that every renderer looks through the same one, and
discs that distract."""

from __future__ import annotations

from colorsys import hsv_to_rgb
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import mujoco


class Camera(NamedTuple):
    """Where a fixed camera stands, in the terms of MuJoCo's free camera."""

    lookat: tuple[float, float, float]
    """The point in the middle of the picture, metres."""
    distance: float
    """From that point to the camera, metres."""
    azimuth: float
    """Heading of the view about the vertical, degrees; 90 looks along +y, 270 along -y."""
    elevation: float
    """Pitch of the view, degrees; -90 looks straight down."""
    fovy: float = 45.0
    """Vertical field of view, degrees."""

    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Position f64[3] in metres and rotation f64[3, 3], whose columns are the camera's right, up and backward axes."""
        azimuth, elevation = np.deg2rad((self.azimuth, self.elevation))
        forward = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
        right = np.array([np.sin(azimuth), -np.cos(azimuth), 0.0])
        position = np.asarray(self.lookat) - self.distance * forward
        return position, np.stack([right, np.cross(right, forward), -forward], axis=1)


CAMERAS: dict[str, Camera] = {
    # Closest view that holds a 0.30 x 0.20 m field at y = 0.60: a puck of 0.08 m is 9 pixels wide at 48 x 48.
    "close": Camera(lookat=(0.0, 0.62, 0.0), distance=0.50, azimuth=270.0, elevation=-62.0),
    # The same view from further away, for a hand that roams 0.40 x 0.20 m at y = 0.65.
    "wide": Camera(lookat=(0.0, 0.665, 0.0), distance=0.64, azimuth=270.0, elevation=-62.0),
    # The close view from a little further away, for a hand that gets around two pucks there: a puck is 8 pixels wide.
    "middle": Camera(lookat=(0.0, 0.615, 0.0), distance=0.54, azimuth=270.0, elevation=-62.0),
    # Straight down, and from so far that walls hide nothing beside them: 0.39 m of floor, a ball of 0.05 m is 6 pixels wide.
    "above": Camera(lookat=(0.0, 0.0, 0.0), distance=2.0, azimuth=90.0, elevation=-90.0, fovy=11.14),
    # From the side of the hand at a door, which opens towards the camera: hand, handle and cart on the floor are in view.
    "door": Camera(lookat=(0.02, 0.53, 0.07), distance=0.50, azimuth=90.0, elevation=-60.0),
    # Along -x at a gripper that moves in the y-z plane: +y is on the right.
    "side": Camera(lookat=(0.0, 0.60, 0.065), distance=0.28, azimuth=180.0, elevation=-35.0),
}


class Look(NamedTuple):
    """What a scene looks like beyond what is in its file."""

    camera: str = "own"
    """Key in `CAMERAS`; own: the task's."""
    distractors: int = 0
    """Flat discs of random colours, sizes and places on the ground, for studies of robustness. Nothing touches them."""
    seed: int = 0
    """Of the distractors."""
    samples: int = 1
    """A pixel is the mean of samples × samples rays, or of as many of a larger picture's pixels."""

    def through(self, own: str) -> Look:
        """The same through a task's own camera, where no other is asked for."""
        return self._replace(camera=own) if self.camera == "own" else self


PLAIN = Look()
"""As the task's file says."""


def load_model(path: Path, look: Look, furnish: Callable[[mujoco.MjSpec], None] | None = None) -> mujoco.MjModel:
    """Compile an MJCF file with what `furnish` adds, distractors, and one named camera, which keeps its name and is the only one.

    Raises ValueError for a camera that is not in `CAMERAS`, a negative number of distractors, and no samples of a pixel.
    """
    import mujoco

    if look.camera not in CAMERAS:
        raise ValueError(f"unknown camera {look.camera!r}: expected one of {', '.join(CAMERAS)}")
    if look.distractors < 0:
        raise ValueError(f"distractors={look.distractors}: expected 0 or more")
    if look.samples < 1:
        raise ValueError(f"samples={look.samples}: expected at least 1 of each pixel")
    pose = CAMERAS[look.camera]
    position, rotation = pose.axes()
    quaternion = np.empty(4)
    mujoco.mju_mat2Quat(quaternion, rotation.ravel())
    spec = mujoco.MjSpec.from_file(str(path))
    if furnish is not None:
        furnish(spec)
    spec.worldbody.add_camera(name=look.camera, pos=position, quat=quaternion, fovy=pose.fovy)
    rng = np.random.default_rng(look.seed)
    ground = max((geom.pos[2] + geom.size[2] for geom in spec.worldbody.geoms if geom.name in ("floor", "table")), default=0.0)
    further = (ground - pose.lookat[2]) / np.sin(np.deg2rad(pose.elevation))  # than the point looked at, along the view, to there
    centre = np.asarray(pose.lookat) - further * rotation[:, 2]
    field = (pose.distance + further) * np.tan(np.deg2rad(pose.fovy / 2))  # half of the picture's height there, metres
    for _ in range(look.distractors):
        x, y = centre[:2] + field * rng.uniform(-0.95, 0.95, 2)
        spec.worldbody.add_geom(
            type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=(field * rng.uniform(0.07, 0.2), 0.001, 0), pos=(x, y, ground),
            rgba=(*hsv_to_rgb(rng.uniform(), 0.8, 0.8), 1), contype=0, conaffinity=0,
        )  # fmt: skip
    return spec.compile()
