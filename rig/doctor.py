"""`rig doctor`: whether training would work here and how fast each part is. Every answer is tried, none is assumed."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from rig.config import RunConfig

DISTRIBUTION = "rig-rl"
GIB = 2**30
OVERHEAD = int(1.5 * GIB)
"""Bytes that Python, PyTorch and MuJoCo take beside the data."""
CHECKPOINTS = GIB // 2
"""Bytes on disk that a run's weights, logs and pictures stay below."""
BACKENDS = {"Linux": ("egl", "glfw", "osmesa"), "Darwin": ("cgl", "glfw")}
MEND_BACKEND = {
    "egl": "apt-get install libegl1 libgl1-mesa-dri",
    "glfw": "apt-get install xvfb && MUJOCO_GL=glfw xvfb-run rig train render=gl",
    "osmesa": "apt-get install libosmesa6",
    "cgl": "log in at the screen: macOS draws only there",
}
CONTAINER_LIMITS = (
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Folder, files of the limit and of what is used, and the word in memory.stat for what of that is a cache to be given back."""
MEND_INSTALL = f"{shlex.quote(sys.executable)} -m pip install"


class Finding(NamedTuple):
    """One thing that was looked at."""

    what: str
    value: str
    fine: bool = True
    mend: str = ""
    """The command that mends it, where it is not fine."""
    needed: bool = True
    """Whether training fails without it."""



def doctor() -> int:
    """Look at everything, print it, and return 0 where training would work, 1 otherwise."""
    findings: list[Finding] = []
    for title, look in SECTIONS.items():
        print(title, flush=True)
        for finding in look():
            findings.append(finding)
            verdict = "ok" if finding.fine else "PROBLEM" if finding.needed else "not here, not needed"
            print(f"  {finding.what:<22}{finding.value}  [{verdict}]")
            if finding.mend and not finding.fine:
                print(f"  {'':<22}to mend it: {finding.mend}", flush=True)
    problems = [finding for finding in findings if finding.needed and not finding.fine]
    if problems:
        print(f"training would fail here: {', '.join(finding.what for finding in problems)}")
    else:
        print("training would work here")
    return 1 if problems else 0


def versions() -> list[Finding]:
    """Every package that rig needs against the range that rig's own metadata gives."""
    findings = [Finding("python", platform.python_version(), sys.version_info >= (3, 10), "install Python 3.10 or newer")]
    try:
        requirements = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        unchecked = "not installed, run from its files: no ranges to check"
        return [*findings, Finding(DISTRIBUTION, unchecked, False, f"{MEND_INSTALL} -e .", needed=False)]
    findings += [_version(package, wanted) for package, wanted in _ranges(requirements).items()]
    return [*findings, *_same_minor("mujoco", "mujoco-warp"), *_optional("stable-baselines3", "sb3", "rig export --to sb3")]


def _ranges(requirements: Sequence[str]) -> dict[str, str]:
    """Package -> the range of versions that is needed, but for extras."""
    parted = [requirement.partition(";") for requirement in requirements]
    found = [re.match(r"\s*([\w.-]+)\s*(.*)", text) for text, _, marker in parted if "extra" not in marker]
    return {match[1]: match[2].strip() for match in found if match}


def _again(*packages: str) -> str:
    """What installs packages anew, each in the range that is needed."""
    try:
        ranges = _ranges(metadata.requires(DISTRIBUTION) or [])
    except metadata.PackageNotFoundError:
        ranges = {}
    wanted = [shlex.quote(package + ranges.get(package, "")) for package in packages]
    return " ".join([MEND_INSTALL, "--force-reinstall", *wanted])


def _version(package: str, wanted: str) -> Finding:
    """An installed version against a range such as >=2.10,<2.14."""
    try:
        found = metadata.version(package)
    except metadata.PackageNotFoundError:
        return Finding(package, f"not installed, needs {wanted}", False, f"{MEND_INSTALL} '{package}{wanted}'")
    return Finding(package, f"{found}, needs {wanted}", satisfies(found, wanted), f"{MEND_INSTALL} '{package}{wanted}'")


def satisfies(found: str, wanted: str) -> bool:
    """Whether version `found` lies in the range `wanted`, which knows >=, >, <=, < and ==."""
    for sign, bound in re.findall(r"(>=|<=|==|>|<)\s*([\d.]+)", wanted):
        length = max(len(_numbers(found)), len(_numbers(bound)))
        a, b = ([*_numbers(v), *[0] * length][:length] for v in (found, bound))
        if not {">=": a >= b, "<=": a <= b, "==": a == b, ">": a > b, "<": a < b}[sign]:
            return False
    return True


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", re.split(r"[a-z+]", version)[0])]


def _same_minor(one: str, other: str) -> list[Finding]:
    """Two packages that read each other's structures must be of one minor version."""
    try:
        found = [metadata.version(one), metadata.version(other)]
    except metadata.PackageNotFoundError:
        return []
    minors = [".".join(map(str, _numbers(version)[:2])) for version in found]
    same = minors[0] == minors[1]
    return [Finding(f"{one} = {other}", "of one minor version" if same else f"{found[0]} against {found[1]}", same,
                    f"{MEND_INSTALL} '{one}=={minors[1]}.*' '{other}=={minors[1]}.*'")]  # fmt: skip


def _optional(package: str, extra: str, purpose: str) -> list[Finding]:
    try:
        return [Finding(package, f"{metadata.version(package)}, for {purpose}")]
    except metadata.PackageNotFoundError:
        return [Finding(package, f"for {purpose}", False, f"{MEND_INSTALL} '{DISTRIBUTION}[{extra}]'", needed=False)]


def device() -> list[Finding]:
    """What PyTorch computes on, by a few updates of the default learner."""
    found = tried("learner", 120)
    if "error" in found:
        return [Finding("pytorch", found["error"], False, _again("torch"))]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    findings = [
        Finding("device", f"{found['name']} (device=auto takes it)"),
        Finding("threads", f"PyTorch uses {found['threads']}, this process may use {cores} cores"),
        Finding("learner", f"{found['per_s']:,.0f} updates/s of the default TD3"),
    ]
    if found["device"] == "cpu" and _succeeds("nvidia-smi", "-L"):
        mend = f"{_again('torch')} --index-url https://download.pytorch.org/whl/cu128"
        findings.append(Finding("gpu", f"there is one, but torch {found['torch']} does not use it", False, mend, needed=False))
    return findings


def renderers() -> list[Finding]:
    """Each renderer in a process of its own, because a broken OpenGL may end the process that asks it."""
    findings = [_speed("render=warp", tried("warp", 300), "frames/s", _again("mujoco", "mujoco-warp", "warp-lang"))]
    for backend in BACKENDS.get(platform.system(), ("glfw",)):
        found = tried("gl", 60, {"MUJOCO_GL": backend})
        findings.append(_speed(f"render=gl, {backend}", found, "frames/s", MEND_BACKEND[backend])._replace(needed=False))
    physics = _speed("physics, one core", tried("physics", 60), "env steps/s", _again("mujoco", "mujoco-warp"))
    return [*findings, physics]


def _speed(what: str, found: Mapping[str, Any], unit: str, mend: str) -> Finding:
    if "error" in found:
        return Finding(what, textwrap.shorten(found["error"], 100, placeholder=" ..."), False, mend)
    return Finding(what, f"{found['per_s']:,.0f} {unit}" + (" of 48x48 pixels" if unit == "frames/s" else ""))


def space() -> list[Finding]:
    """Free memory and disk against what a run at the default settings takes."""
    config, buffer = RunConfig(), tried("buffer", 120)
    if "error" in buffer:
        return [Finding("buffer", buffer["error"], False, f"{MEND_INSTALL} --force-reinstall -e .")]
    each, size = buffer["bytes"], buffer["bytes"] * min(config.steps, config.replay.capacity)
    memory, memory_needed = free_memory(), size + OVERHEAD
    disk, disk_needed = shutil.disk_usage(".").free, size + CHECKPOINTS
    writable = os.access(".", os.W_OK)
    return [
        Finding("buffer", f"{each:,.0f} bytes a transition: {size / GIB:.2f} GiB for the default steps={config.steps}, "
                          f"{each * config.replay.capacity / GIB:.1f} GiB for the {config.replay.capacity:,} of a long run"),
        Finding("memory", f"{memory / GIB:.1f} GiB free, {memory_needed / GIB:.1f} GiB needed", memory >= memory_needed,
                f"end other programs, or rig train steps={max(1, int((memory - OVERHEAD) / each)):d}"),
        Finding("disk", f"{disk / GIB:.1f} GiB free here, {disk_needed / GIB:.1f} GiB needed", disk >= disk_needed,
                "rig train run_dir=FOLDER, on a disk with more room"),
        Finding("folder", f"{Path.cwd()} is {'writable' if writable else 'not writable'}", writable, "rig train run_dir=FOLDER"),
    ]  # fmt: skip


def free_memory() -> int:
    """Bytes that this process may still take: what the machine has, and what a container's limit leaves."""
    info, limits = Path("/proc/meminfo"), [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    if info.exists():
        limits += [int(kib) * 1024 for kib in re.findall(r"MemAvailable:\s+(\d+)", info.read_text())]
    for folder, limit, used, cache in CONTAINER_LIMITS:
        if all((folder / name).exists() for name in (limit, used)) and (folder / limit).read_text().strip().isdecimal():
            taken = int((folder / used).read_text())
            stat = folder / "memory.stat"
            given_back = re.findall(rf"^{cache} (\d+)$", stat.read_text(), re.MULTILINE) if stat.exists() else []
            limits.append(int((folder / limit).read_text()) - taken + sum(map(int, given_back)))
    return min(limits)


def tried(probe: str, seconds: float, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What a probe of `rig.doctor_probes` found in a process of its own, or {"error": why it found nothing}."""
    command = [sys.executable, "-m", "rig.doctor_probes", probe]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, env={**os.environ, **(environment or {})}, check=False
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {seconds:g} s"}
    if done.returncode < 0:
        return {"error": f"the process was ended by {signal.Signals(-done.returncode).name}"}
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["no word of why"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def _succeeds(*command: str) -> bool:
    """Whether a command is here and exits with 0."""
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0


SECTIONS: dict[str, Callable[[], list[Finding]]] = {
    "versions": versions,
    "device": device,
    "renderers and physics": renderers,
    "memory and disk": space,
}
