"""Named camera poses, put into the model itself so that every renderer looks through the same one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
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
}


def load_model(path: Path, camera: str) -> mujoco.MjModel:
    """Compile an MJCF file together with one named camera, which keeps its name and is the model's only one.

    Raises ValueError for a name that is not in `CAMERAS`.
    """
    import mujoco

    if camera not in CAMERAS:
        raise ValueError(f"unknown camera {camera!r}: expected one of {', '.join(CAMERAS)}")
    pose = CAMERAS[camera]
    position, rotation = pose.axes()
    quaternion = np.empty(4)
    mujoco.mju_mat2Quat(quaternion, rotation.ravel())
    spec = mujoco.MjSpec.from_file(str(path))
    spec.worldbody.add_camera(name=camera, pos=position, quat=quaternion, fovy=pose.fovy)
    return spec.compile()
