"""The replay memory and its relabelling."""

from __future__ import annotations

from rig.replay.relabel import RELABELS, RelabelConfig
from rig.replay.ring import Ring

__all__ = ["RELABELS", "RelabelConfig", "Ring"]
