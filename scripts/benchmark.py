"""Our speed against named peers, both measured in the same run: the two take turns, and the medians are compared.

    python scripts/benchmark.py                             # every row, seven turns each
    python scripts/benchmark.py --quick                     # five shorter turns, under 8 minutes on two cores
    python scripts/benchmark.py --rows td3_update vae_training --json out.json
    python scripts/benchmark.py --docs docs                 # also docs/benchmarks.md and docs/results/benchmarks.csv
    python scripts/benchmark.py --device cuda               # on a GPU; with --docs docs, docs/benchmarks_cuda.md and its CSV file

A ratio above 1 says that ours is faster, or smaller. Spread is (largest - smallest) / median of the ratios of single turns.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path

import torch
from benchmark_rows import OF_DEVICE, ROWS
from benchmark_turns import Row, Size

from rig.run import keep_freed_memory

QUICK, FULL = Size(5, 60, 100, 240, 40), Size(7, 200, 1000, 800, 100)


def machine(device: torch.device) -> str:
    """One line about what this ran on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    if device.type == "cuda":
        model = f"{torch.cuda.get_device_name(device)}, {model}"
    return f"{model}, {os.cpu_count()} cores, torch {torch.__version__} on {torch.get_num_threads()} threads"


def write_json(path: Path, rows: Sequence[Row], device: torch.device) -> None:
    """The machine and all rows."""
    path.write_text(json.dumps({"machine": machine(device), "rows": [asdict(row) for row in rows]}, indent=1) + "\n")


BY_HAND = "## What limits them"
"""The page is written down to this line; what follows it stays as it is."""


def write_docs(folder: Path, rows: Sequence[Row], names: Sequence[str], quick: bool, device: torch.device) -> None:
    """The CSV file, and the page down to `BY_HAND`."""
    chosen = [] if tuple(names) == OF_DEVICE[device.type] else ["--rows", *names]
    where = [] if device.type == "cpu" else ["--device", device.type]
    stem = "_".join(("benchmarks", *where[1:]))
    command = ["python", "scripts/benchmark.py", *["--quick"] * quick, *where, *chosen, "--docs", "docs"]
    with (folder / "results" / f"{stem}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    head = f"""# Benchmarks

Ours and a named peer take turns in one process; figures are medians, and spread is (largest - smallest) / median of the single
turns' ratios. A ratio above 1 says that ours is faster, or smaller. Both have the same memory allocator settings and threads.

    {shlex.join(command)}

{machine(device)}; commit {commit}. This file and [results/{stem}.csv](results/{stem}.csv) are what that command wrote.

| row | ours | peer | unit | ratio | spread |
|---|---:|---:|---|---:|---:|
"""
    table = [f"| {r.name} | {r.ours:,.1f} | {r.peer:,.1f} | {r.unit} | {r.ratio:.2f} | {r.spread:.0%} |" for r in rows]
    notes = [f"**{name}**: {' '.join((ROWS[name].__doc__ or '').split())}" for name in names]
    page = folder / f"{stem}.md"
    kept = page.read_text().partition(BY_HAND) if page.exists() else ("", "", "")
    page.write_text("\n\n".join((head + "\n".join(table), *notes, "".join(kept[1:]))).rstrip() + "\n")


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter turns")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--device", choices=list(OF_DEVICE), default="cpu", help="where both run")
    parser.add_argument("--json", type=Path, help="also write the rows into this file")
    parser.add_argument("--docs", type=Path, help="also write benchmarks.md and results/benchmarks.csv in this folder")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch finds no CUDA device here; try --device cpu")
    size, names = replace(QUICK if options.quick else FULL, device=device), options.rows or OF_DEVICE[device.type]
    keep_freed_memory()
    print(machine(device))
    print(f"{'row':20s} {'ours':>12s} {'peer':>12s} {'unit':18s} {'ratio':>7s} {'spread':>7s}")
    rows: list[Row] = []
    try:
        for name in names:
            for row in ROWS[name](size):
                rows.append(row)
                figures = f"{row.ours:12,.1f} {row.peer:12,.1f} {row.unit:18s} {row.ratio:6.2f}× {row.spread:6.0%}"
                print(f"{row.name:20s} {figures}", flush=True)
    finally:  # what there is of them, also of a run that was cut off
        if options.json:
            write_json(options.json, rows, device)
        if options.docs:
            write_docs(options.docs, rows, names, options.quick, device)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
