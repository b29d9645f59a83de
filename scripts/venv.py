"""Make the virtual environment of a checkout and install rig in it, for development.

A torch that the Python running this already has, and that rig can use, is used: another would be gigabytes. It runs on a bare
Python, so it imports the standard library only.

    python3 scripts/venv.py .venv [--torch-index URL]
"""

from __future__ import annotations

import argparse
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PINNED_TORCH = "2.13.0"  # what the tests were run with
TOOLS = ("pytest", "pyright", "ruff", "tensorboard")  # programs that the Makefile starts
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def torch_range(pyproject: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Lowest version of torch that will do, and the first that will not, as (major, minor)."""
    found = re.search(r'"torch>=(\d+)\.(\d+),<(\d+)\.(\d+)"', pyproject)
    if found is None:
        raise SystemExit('venv: pyproject.toml must say "torch>=A.B,<C.D"')
    low_major, low_minor, high_major, high_minor = map(int, found.groups())
    return (low_major, low_minor), (high_major, high_minor)


def usable_torch(python: str, pyproject: str) -> str:
    """The version of torch that an interpreter has and rig can use, or an empty string."""
    asked = subprocess.run([python, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True)
    found = re.match(r"(\d+)\.(\d+)\.", asked.stdout)
    if asked.returncode or found is None:
        return ""
    low, high = torch_range(pyproject)
    return asked.stdout.strip() if low <= (int(found[1]), int(found[2])) < high else ""


def create(venv: Path, shared_torch: bool) -> None:
    """An empty environment; with `shared_torch`, one that sees the packages of the Python running this."""
    in_venv = sys.prefix != sys.base_prefix
    options = ["--system-site-packages"] if shared_torch and not in_venv else []
    done = subprocess.run([sys.executable, "-m", "venv", "--clear", *options, str(venv)])
    if done.returncode:
        shutil.rmtree(venv, ignore_errors=True)
        raise SystemExit("venv: python3 -m venv does not work here; on Debian or Ubuntu: apt install python3-venv")
    if shared_torch and in_venv:
        # --system-site-packages would lead past the environment that this runs in, to the Python below it.
        folders = dict.fromkeys(sysconfig.get_paths()[key] for key in ("purelib", "platlib"))
        (site,) = venv.glob("lib/python*/site-packages")
        (site / "outer.pth").write_text("".join(f"{folder}\n" for folder in folders))


def install_torch(pip: list[str], index: str) -> None:
    """The pinned torch, or where there is none for this machine, any that rig can use."""
    options = ["--index-url", index] if index else []
    if not index and sys.platform == "linux" and shutil.which("nvidia-smi") is None:
        print(f"venv: no NVIDIA GPU here; TORCH_INDEX={CPU_INDEX} gets a much smaller torch", flush=True)
    if subprocess.run([*pip, *options, f"torch=={PINNED_TORCH}"]).returncode:
        low, high = torch_range((ROOT / "pyproject.toml").read_text())
        wanted = f"torch>={low[0]}.{low[1]},<{high[0]}.{high[1]}"
        print(f"venv: there is no torch {PINNED_TORCH} for this machine; trying {wanted}", flush=True)
        subprocess.run([*pip, *options, wanted], check=True)


def main() -> None:
    """Make it, or bring the one that is there up to date."""
    parser = argparse.ArgumentParser(description="Make the virtual environment of this checkout.")
    parser.add_argument("venv", type=Path)
    parser.add_argument("--torch-index", default="", help="pip index to take torch from")
    arguments = parser.parse_args()
    if sys.version_info < (3, 10):  # noqa: UP036  (whichever python3 is first on the path runs this)
        raise SystemExit(f"venv: rig needs Python >= 3.10, and this is {platform.python_version()}; try make PYTHON=python3.12")
    pyproject = (ROOT / "pyproject.toml").read_text()
    python = arguments.venv / "bin" / "python"
    if not python.exists() or subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode:
        torch = usable_torch(sys.executable, pyproject)
        if torch:
            print(f"venv: torch {torch} of {sys.executable} is used, and no other downloaded", flush=True)
        create(arguments.venv, shared_torch=bool(torch))
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check"]
    if not usable_torch(str(python), pyproject):
        install_torch(pip, arguments.torch_index)
    subprocess.run([*pip, "--editable", f"{ROOT}[dev]"], check=True)
    # pip takes the outer Python's for installed, but their programs are not in this environment's bin.
    absent = [tool for tool in TOOLS if not (arguments.venv / "bin" / tool).exists()]
    if absent:
        subprocess.run([*pip, "--ignore-installed", "--no-deps", *absent], check=True)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"venv: {' '.join(map(str, error.cmd))} failed; what it printed says why")
