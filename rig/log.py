"""What a run tells: progress bars on the terminal, curves for TensorBoard, one row an evaluation in progress.csv."""

from __future__ import annotations

import csv
import io
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm import tqdm

from rig import files
from rig.errors import UserError


class Bar:
    """A progress bar that says what is happening; call it with (done, total, metrics)."""

    def __init__(self, what: str, unit: str) -> None:
        self.what, self.unit = what, unit
        self._bar: Any = None

    def __call__(self, done: int, total: int, metrics: Mapping[str, float | str]) -> None:
        """Move to `done` of `total` and show the metrics."""
        if self._bar is None:
            # A log file gets a line every half minute, a person ten a second.
            interval = 0.1 if sys.stderr.isatty() else 30.0
            self._bar = tqdm(
                total=total, desc=self.what, unit=f" {self.unit}", mininterval=interval, dynamic_ncols=True, initial=0
            )
        shown = {k: v if isinstance(v, str) else f"{v:.3g}" for k, v in metrics.items()}
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update(done - self._bar.n)

    def start(self, done: int, total: int) -> None:
        """Begin at `done` (after a resume), so that rate and time left count only what is done now."""
        self(0, total, {})
        self._bar.initial = self._bar.n = done
        self._bar.last_print_n = done

    def note(self, line: str) -> None:
        """Print a line above the bar."""
        tqdm.write(line, file=sys.stderr)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()


class Log:
    """TensorBoard scalars and progress.csv of one run folder; after a resume, whatever was logged past `step` is dropped."""

    def __init__(self, run: Path, step: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and only training needs it

        with files.explained("write TensorBoard's curves", run, 0):
            self.writer: Any = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1 if step else 0)
        self.csv = run / "progress.csv"
        self.rows = [row for row in read_rows(self.csv) if int(row["step"]) <= step]
        self.started = time.monotonic() - (float(self.rows[-1].get("seconds", 0)) if self.rows else 0.0)
        self._write_rows()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to TensorBoard's curves."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def row(self, step: int, values: Mapping[str, Any]) -> None:
        """Add an evaluation to progress.csv (one a step: a repeated one replaces) and its numbers to TensorBoard."""
        self.rows = [row for row in self.rows if int(row["step"]) < step]
        self.rows.append({"step": step, "seconds": round(time.monotonic() - self.started, 1), **values})
        self._write_rows()
        self.scalars(step, {f"evaluation/{k}": float(v) for k, v in values.items() if v is not None})

    def _write_rows(self) -> None:
        if not self.rows:
            self.csv.unlink(missing_ok=True)
            return
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(dict.fromkeys(name for row in reversed(self.rows) for name in row)))
        writer.writeheader()
        writer.writerows(self.rows)
        files.write(self.csv, text.getvalue().encode())

    def flush(self) -> None:
        """Put every point so far on disk, as before a checkpoint: a run killed later is resumed behind them.

        Raises UserError where it cannot be written to.
        """
        with files.explained("write TensorBoard's curves", self.csv.parent, 0):
            self.writer.flush()

    def __enter__(self) -> Log:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with suppress(OSError) if error else files.explained("write TensorBoard's curves", self.csv.parent, 0):
            self.writer.close()


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a progress.csv as dictionaries; none where there is no file. Raises UserError where it is damaged."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        whole = all(None not in row.values() and None not in row for row in rows)
        whole = whole and all(row["step"].isdecimal() and float(row.get("seconds", 0)) >= 0 for row in rows)
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, AttributeError):
        whole, rows = False, []
    if not whole:
        raise UserError(f"{path} is not what a run wrote; leave that run out, or delete the file")
    return rows


def flat(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of an evaluation's summary in one row: success_rate, …, <factor>_distance, <factor>_idle, <factor>_success.

    On the way also <factor>_coverage: see `rig.coverage`.
    """
    row = {k: summary[k] for k in ("success_rate", "final_distance_mean", "latent_distance_mean", "latent_true_spearman")}
    for name, factor in summary["factors"].items():
        row[f"{name}_distance"] = factor["final_distance_mean"]
        row[f"{name}_idle"] = factor["idle_distance_mean"]
        row[f"{name}_success"] = factor["success_rate"]
    row |= {f"{name}_coverage": nats for name, nats in summary.get("coverage", {}).items()}
    return row
