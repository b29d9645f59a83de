"""MuJoCo reads which OpenGL to draw by when it is first imported; without a display its own choice would fail."""

import os

if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
    os.environ.setdefault("MUJOCO_GL", "egl")
