"""PointMass: bring a ball to a place on an open floor."""

from __future__ import annotations

from typing import ClassVar, final

from .point import PointTask, kept_region
from .task import Factor


@final
class PointMass(PointTask):
    """Bring a ball to a place on an open floor between four walls.

    State: ball x, y in metres. Success: ball within a tenth of the floor's side, 3.5 cm.
    Source: Point2DEnv of multiworld (a displacement a step, starts anywhere), here with physics.
    """

    name: ClassVar[str] = "point_mass"
    gym_id: ClassVar[str] = "rig/PointMass-v0"
    horizon: ClassVar[int] = 50
    layout: ClassVar[tuple[str, ...]] = ("###", "# #", "###")
    cell: ClassVar[float] = 0.35
    factors: ClassVar[dict[str, Factor]] = {"point": Factor((0, 1), "m", 0.035)}
    state_low, state_high = kept_region(layout, cell)
