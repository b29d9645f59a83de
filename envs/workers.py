"""Foreign worlds in processes of their own: they share memory for frames, states and actions, and may fail."""

from __future__ import annotations

import contextlib
import faulthandler
import mmap
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import weakref
from multiprocessing.connection import Connection
from typing import IO, Any, NamedTuple, final

import numpy as np

from .batch import EpisodeLostError, WorldsError
from .foreign_spec import Description, RefusedError, Spec
from .foreign_world import World
from .threads import usable_cores

RESTARTS = 3
"""How often a worker may be started again."""
START = 120.0
"""Seconds that a worker may take to start, besides the time limit of each of its worlds."""

END = 5.0
"""Seconds that a worker which has hung up may take to end by itself."""

Message = tuple[str, tuple[Any, ...]]


class Shared(NamedTuple):
    """What parent and workers read and write side by side, one row a world."""

    action: np.ndarray
    """f32[N, A]"""
    state: np.ndarray
    """f32[N, S]"""
    frame: np.ndarray
    """u8[N, size, size, 3]"""

    @classmethod
    def over(cls, file: int, worlds: int, action_dim: int, state_dim: int, size: int) -> Shared:
        """The arrays over an open file without a name: it goes when its last process does, however that ends."""
        lengths = worlds * action_dim * 4, worlds * state_dim * 4, worlds * size * size * 3
        os.ftruncate(file, sum(lengths))
        memory = mmap.mmap(file, sum(lengths))
        action = np.frombuffer(memory, np.float32, worlds * action_dim).reshape(worlds, action_dim)
        state = np.frombuffer(memory, np.float32, worlds * state_dim, lengths[0]).reshape(worlds, state_dim)
        frame = np.frombuffer(memory, np.uint8, lengths[2], lengths[0] + lengths[1]).reshape(worlds, size, size, 3)
        return cls(action, state, frame)


class _Process(NamedTuple):
    """A worker as its parent knows it."""

    process: subprocess.Popen[bytes]
    pipe: Connection
    trace: IO[bytes]
    """Where the interpreter writes its stack when it crashes or is asked to."""

    def end(self) -> None:
        """Kill it and collect it."""
        self.process.kill()
        self.process.wait()
        self.pipe.close()
        self.trace.close()


@final
class Workers:
    """N worlds in min(N, cores) processes.

    A worker that dies, raises or exceeds the time limit is reported on stderr with its traceback and started again, up to
    `RESTARTS` times. These are plain processes and not multiprocessing's, whose children import the parent's main module: for
    a training that is PyTorch, once a worker.
    """

    def __init__(self, spec: Spec, num_worlds: int, time_limit: float) -> None:
        """Start them. `time_limit` is in seconds, for one step or reset of one world.

        Raises RefusedError where the world cannot be used, WorldsError where it fails at once.
        """
        self.rows = np.array_split(np.arange(num_worlds), min(num_worlds, usable_cores()))
        self._spec, self._time_limit = spec, time_limit
        self._failures = [0] * len(self.rows)
        self._file = tempfile.TemporaryFile(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)  # noqa: SIM115
        self._workers: dict[int, _Process] = {}
        self._finalizer = weakref.finalize(self, _end_all, self._workers, self._file)
        for worker in range(len(self.rows)):
            self._start(worker, examine=worker == 0)
        made = {w: self._answer(w, START + time_limit * len(rows)) for w, rows in enumerate(self.rows)}
        self._refuse_failures(made)
        self.description: Description = made[0][1]
        self._layout = (num_worlds, self.description.action_dim, self.description.goal_dim, spec.size)
        self.shared = Shared.over(self._file.fileno(), *self._layout)
        for worker in self._workers:
            self._send(worker, "attach", *self._layout)
        self._refuse_failures({worker: self._answer(worker, time_limit) for worker in self._workers})

    def call(self, name: str, arguments: dict[int, tuple[Any, ...]]) -> dict[int, Any]:
        """Let workers do something side by side, each with its arguments; returns what each answered.

        Raises EpisodeLostError where one failed and was started again, WorldsError where it has failed too often.
        """
        broken = {worker for worker, given in arguments.items() if not self._send(worker, name, *given)}
        answers = {worker: self._answer(worker, self._time_limit * len(self.rows[worker])) for worker in arguments}
        failed = {worker: text for worker, (fine, text) in answers.items() if fine is not True or worker in broken}
        for worker, text in failed.items():
            self._restart(worker, text)
        if failed:
            raise EpisodeLostError(f"{self._spec.id}: worker {min(failed)} failed; the open episodes are dropped")
        return {worker: value for worker, (_, value) in answers.items()}

    def close(self) -> None:
        """End them; harmless twice."""
        self._finalizer()

    def _start(self, worker: int, examine: bool = False) -> None:
        ours, theirs = socket.socketpair()
        trace = tempfile.TemporaryFile()  # noqa: SIM115
        numbers = (theirs.fileno(), self._file.fileno(), trace.fileno())
        code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve(*{numbers})"
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=2,  # the command's answer is on stdout: what a world prints must not be in it
            pass_fds=numbers,
            start_new_session=True,  # Ctrl-C is for the parent, which ends its workers when it has saved
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        theirs.close()
        self._workers[worker] = _Process(process, Connection(ours.detach()), trace)
        self._send(worker, "make", self._spec, self.rows[worker].tolist(), examine)

    def _send(self, worker: int, name: str, *arguments: Any) -> bool:
        with contextlib.suppress(OSError):  # it is dead: its answer will say so
            self._workers[worker].pipe.send((name, arguments))
            return True
        return False

    def _answer(self, worker: int, seconds: float) -> tuple[bool | RefusedError, Any]:
        """Whether a worker did what it was asked to, and what it answered or how it failed."""
        process, pipe, trace = self._workers[worker]
        try:
            if pipe.poll(seconds):
                return pipe.recv()
            os.kill(process.pid, signal.SIGUSR1)  # faulthandler writes where it hangs
            time.sleep(0.3)
            what = f"did not answer within {seconds:g} s"
        except (EOFError, OSError):
            try:
                what = f"died with exit code {process.wait(END)}"
            except subprocess.TimeoutExpired:
                what = "hung up and did not end"
        trace.seek(0)
        return False, f"{what}\n{trace.read().decode(errors='replace')}".rstrip()

    def _restart(self, worker: int, text: str) -> None:
        """Report a failure and start the worker again. Raises WorldsError where that has been done often enough."""
        while True:
            self._workers.pop(worker).end()
            self._failures[worker] += 1
            count = self._failures[worker]
            head = f"rig: worker {worker} of {self._spec.id} {text}"
            if count > RESTARTS:
                print(head, file=sys.stderr, flush=True)
                raise WorldsError(
                    f"worker {worker} of {self._spec.id} failed {count} times, the last time so: {_last_line(text)}; "
                    "mend the environment, or give it more time by task.time_limit="
                )
            print(f"{head}\nrig: starting it again ({count} of {RESTARTS})", file=sys.stderr, flush=True)
            self._start(worker)
            fine, text = self._answer(worker, START + self._time_limit * len(self.rows[worker]))
            if fine is True:
                self._send(worker, "attach", *self._layout)
                fine, text = self._answer(worker, self._time_limit)
            if fine is True:
                return

    def _refuse_failures(self, answers: dict[int, tuple[bool | RefusedError, Any]]) -> None:
        for worker, (fine, text) in answers.items():
            if fine is not True:
                self.close()
                if isinstance(fine, RefusedError):
                    raise fine
                print(f"rig: worker {worker} of {self._spec.id} {text}", file=sys.stderr, flush=True)
                raise WorldsError(f"task.id={self._spec.id} cannot be started: {_last_line(text)}")


def _last_line(text: str) -> str:
    """What a traceback ends with; of a stack that was written from outside, its head."""
    lines = text.strip().splitlines()
    return lines[-1] if lines[0] == "raised" else lines[0]


def _end_all(workers: dict[int, _Process], file: IO[bytes]) -> None:
    for worker in workers.values():
        worker.end()
    workers.clear()
    file.close()


def serve(pipe: int, shared: int, trace: int) -> None:
    """A worker's life: do what the parent asks until it hangs up."""
    stacks = os.fdopen(trace, "wb")
    faulthandler.enable(stacks)
    faulthandler.register(signal.SIGUSR1, stacks)
    parent = os.getppid()
    threading.Thread(target=_outlive_nobody, args=(parent,), daemon=True).start()
    connection, servant = Connection(pipe), _Servant(shared)
    while True:
        try:
            name, arguments = connection.recv()
        except (EOFError, OSError):
            return
        try:
            answer = True, getattr(servant, name)(*arguments)
        except RefusedError as error:
            answer = error, str(error)
        except Exception:
            answer = False, f"raised\n{traceback.format_exc().rstrip()}"
        connection.send(answer)


def _outlive_nobody(parent: int) -> None:
    """End this process when its parent has ended, even in the middle of a step that hangs."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


@final
class _Servant:
    """The worlds of one worker; its methods are what a parent can ask for."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._rows: list[int] = []
        self._worlds: dict[int, World] = {}
        self._shared: Shared | None = None

    def make(self, spec: Spec, rows: list[int], examine: bool) -> Description | None:
        """Make the worlds of these rows; with `examine`, describe the first."""
        self._worlds = {row: World(spec) for row in rows}
        return self._worlds[rows[0]].describe() if examine else None

    def attach(self, *layout: int) -> None:
        """Open the shared arrays."""
        self._shared = Shared.over(self._file, *layout)

    def reset(self, seeds: dict[int, int]) -> None:
        """Begin episodes in some rows."""
        for row, seed in seeds.items():
            self._worlds[row].reset(seed)
            self._show(row)

    def step(self) -> None:
        """Apply the shared actions."""
        assert self._shared is not None
        for row, world in self._worlds.items():
            world.step(self._shared.action[row])
            self._show(row)

    def snapshot(self) -> dict[int, dict[str, np.ndarray]]:
        """Each world's."""
        return {row: world.snapshot() for row, world in self._worlds.items()}

    def restore(self, snapshots: dict[int, dict[str, np.ndarray]]) -> None:
        """Each world's."""
        for row, snapshot in snapshots.items():
            self._worlds[row].restore(snapshot)
            self._show(row)

    def _show(self, row: int) -> None:
        assert self._shared is not None
        self._shared.state[row] = self._worlds[row].state
        self._shared.frame[row] = self._worlds[row].film()
