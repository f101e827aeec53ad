"""Decoding ahead of the net, in processes of its own: a file that crashes or hangs a codec costs only itself."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rnnfv.video.decode import Sampling, VideoError, read_frames

__all__ = ["Block", "End", "Event", "Failed", "decode_ahead"]

Prepare: TypeAlias = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]

_START_PATIENCE = 300.0  # seconds that a process may take to start on a busy machine
_SIGN_OF_LIFE = 1.0  # seconds between two of them
_SHUTDOWN = 1.0  # seconds in which SIGTERM comes to all processes, where it comes to all
_ALIVE = None
_STOPS = {signal.SIGINT, signal.SIGTERM}
_ADVICE = "in a script, call from below `if __name__ == '__main__':`; workers=0 needs none"


@dataclass(frozen=True)
class Block:
    """The next frames of video ``index``: uint8, shape (n, h, w, 3), as they were prepared."""

    index: int
    frames: NDArray[np.uint8]


@dataclass(frozen=True)
class End:
    """Video ``index`` has no more frames; the rest as in `rnnfv.video.decode.Frames`."""

    index: int
    frames_declared: int | None
    frames_decoded: int
    is_short: bool


@dataclass(frozen=True)
class Failed:
    """Video ``index`` cannot be read, or not to its end; blocks of it may have come before."""

    index: int
    reason: str


Event: TypeAlias = Block | End | Failed


def decode_ahead(
    paths: Sequence[str | Path],
    sampling: Sampling | None,
    prepare: Prepare | None = None,
    *,
    workers: int,
    block: int = 32,
    patience: float = 60.0,
) -> Generator[Event]:
    """Decode videos in worker processes, one video a process at a time.

    Blocks of one video come in order, those of several mixed. Each video ends with one `End` or `Failed`. A process
    that dies, or hangs, is replaced and its video has failed. A process waits until its block is taken, so that
    about two blocks a process are in memory. Closing the generator, or an exception such as Ctrl-C, ends them all.

    Parameters
    ----------
    paths : sequence of str or Path
        Begun in this order.
    sampling : Sampling or None
        None takes the files for single pictures, which are videos of one frame.
    prepare : callable, optional
        Applied to every kept frame, uint8 (h, w, 3) to uint8 (h', w', 3). It must be picklable. Its results must be
        of one shape within a video; a video whose frames change size in the middle has failed.
    workers : int
        Processes. 0 decodes in this one, where nothing guards against a crash or a hang.
    block : int
        Frames a block, at most.
    patience : float
        Seconds that a process may go without decoding a frame.

    Yields
    ------
    Block, End or Failed

    Raises
    ------
    ImportError
        If PyAV, or Pillow, is needed and not installed.
    RuntimeError
        If processes cannot be started.
    """
    if workers < 0:
        raise ValueError(f"workers is {workers}: it must be at least 0")
    if block < 1 or not patience > 0:
        raise ValueError("block must be at least 1 and patience above 0")
    decoder = _Decoder(sampling, prepare, block)
    if workers == 0:
        for index, path in enumerate(paths):
            yield from decoder.events(index, path)
        return
    team: list[_Worker] = []
    try:
        team += (_Worker(decoder) for _ in range(min(workers, len(paths))))
        yield from _supervise(team, decoder, paths, patience)
    finally:
        for worker in team:
            worker.stop()


# -- one video -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Decoder:
    """What is the same for all videos."""

    sampling: Sampling | None
    prepare: Prepare | None
    block: int

    def events(self, index: int, path: str | Path, on_frame: Callable[[], None] | None = None) -> Iterator[Event]:
        try:
            with contextlib.closing(read_frames(path, self.sampling, on_frame=on_frame)) as frames:
                for batch in self._batches(path, frames):
                    yield Block(index, batch)
                yield End(index, frames.frames_declared, frames.frames_decoded, frames.is_short)
        except VideoError as error:
            yield Failed(index, str(error))
        except ImportError:
            raise
        # Whatever else one file does to a codec or to `prepare`, the others go on.
        except Exception as error:
            yield Failed(index, f"{path}: {type(error).__name__}: {' '.join(str(error).split())}")

    def _batches(self, path: str | Path, frames: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        batch: list[NDArray[np.uint8]] = []
        shape: tuple[int, ...] | None = None
        for frame in frames:
            prepared = frame if self.prepare is None else self.prepare(frame)
            shape = shape or prepared.shape
            if prepared.shape != shape:
                raise VideoError(f"{path}: its frames change size, from {shape[:2]} to {prepared.shape[:2]}: split it")
            batch.append(prepared)
            if len(batch) == self.block:
                full, batch = batch, []
                yield np.stack(full)
        if batch:
            yield np.stack(batch)


# -- in the worker ---------------------------------------------------------------------------------


def _work(pipe: Connection, decoder: _Decoder) -> None:
    """Decode what comes by the pipe, and send the events. A send waits until the other side has room."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that supervises
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    if "torch" in sys.modules:  # then `prepare` uses it; there are as many processes as there should be threads
        sys.modules["torch"].set_num_threads(1)
    said = 0.0

    def say(message: Event | ImportError | None) -> None:
        nonlocal said
        pipe.send(message)
        said = time.monotonic()

    def say_alive() -> None:
        if time.monotonic() - said > _SIGN_OF_LIFE:
            say(_ALIVE)

    # When the other side is gone, the pipe is closed.
    with contextlib.suppress(EOFError, OSError):
        say(_ALIVE)
        while True:
            index, path = pipe.recv()
            try:
                for event in decoder.events(index, path, say_alive):
                    say(event)
            except ImportError as error:
                say(ImportError(str(error)))


def _end_with_the_parent() -> None:
    """Where the process that supervises is killed, a codec that hangs must not live on."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


# -- supervision -----------------------------------------------------------------------------------


class _LostError(Exception):
    """A worker is dead. The message says how it died."""


class _Worker:
    """A process that decodes, seen from outside. It is starting while it has no task, and busy while it has one."""

    def __init__(self, decoder: _Decoder) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, decoder), daemon=True)
        with _stops_held_back():
            self._process.start()
        theirs.close()
        self.task: int | None = None
        self.silence = 0.0  # seconds

    def give(self, task: int, path: str | Path) -> None:
        self.task, self.silence = task, 0.0
        with contextlib.suppress(OSError):  # where it has died, `hear` will tell
            self.pipe.send((task, path))

    def hear(self) -> Event | ImportError | None:
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self._process.join(timeout=5)
        code = self._process.exitcode
        if code == -signal.SIGTERM:
            # Perhaps this process is to end, too, and is told a moment later: then it is not the video's fault.
            time.sleep(_SHUTDOWN)
        how = f"by {signal.Signals(-code).name}" if code is not None and code < 0 else f"with exit code {code}"
        raise _LostError(f"the process that decoded it ended {how}")

    def refuse_silence(self, patience: float) -> None:
        if self.silence > (_START_PATIENCE if self.task is None else patience):
            raise _LostError(f"nothing came from the process that decodes it for {self.silence:.0f} seconds")

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self.pipe.close()


@contextlib.contextmanager
def _stops_held_back() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait, in this process and in one started meanwhile, until that one deals with them.

    It would print a traceback while it starts; and this one could leave without knowing of it. The mask is a thread's
    own, and another thread may take the signal: so Python's handlers, which run in the main thread, wait, too.
    """
    if sys.platform == "win32":
        yield
        return
    resource_tracker.ensure_running()  # starting it lets them in again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    try:
        with _handlers_held_back():
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _handlers_held_back() -> Iterator[None]:
    """Note signals that come in the block, and send them again after it."""
    if threading.current_thread() is not threading.main_thread():  # no other may set handlers
        yield
        return
    came: list[int] = []
    handlers = {stop: signal.getsignal(stop) for stop in _STOPS}
    # What is ignored stays so, also in the process that is started; a handler that is not Python's has no name here.
    held = {stop: handler for stop, handler in handlers.items() if handler not in (None, signal.SIG_IGN)}
    told = signal.set_wakeup_fd(-1)  # who is told of signals is told of those that are sent again
    try:
        for stop in held:
            signal.signal(stop, lambda number, frame: came.append(number))
        yield
    finally:
        for stop, handler in held.items():
            signal.signal(stop, handler)
        signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        for number in dict.fromkeys(came):
            os.kill(os.getpid(), number)


def _supervise(team: list[_Worker], decoder: _Decoder, paths: Sequence[str | Path], patience: float) -> Iterator[Event]:
    """Hand out the videos until all are done and the team is dismissed."""
    tasks = deque(range(len(paths)))
    for worker, is_ready in _listen(team, patience / 4):
        try:
            if not is_ready:
                worker.refuse_silence(patience)
                continue
            message = worker.hear()
        except _LostError as error:
            team.remove(worker)
            worker.stop()
            if worker.task is None:
                raise RuntimeError(f"processes for decoding cannot be started ({error}): {_ADVICE}") from None
            yield Failed(worker.task, f"{paths[worker.task]}: {error}: convert it again, or leave it out")
            if tasks:
                team.append(_Worker(decoder))
            continue
        if isinstance(message, ImportError):
            raise message
        if message is not None:
            yield message
        if isinstance(message, End | Failed) or worker.task is None:
            if tasks:
                task = tasks.popleft()
                worker.give(task, paths[task])
            else:
                team.remove(worker)
                worker.stop()


def _listen(team: list[_Worker], pause: float) -> Iterator[tuple[_Worker, bool]]:
    """Every worker again and again, with whether it has something to say, until the team is empty.

    Of the time between two rounds no more than ``pause`` counts as silence: this process itself may have been
    stopped for hours, and the workers with it.
    """
    before = time.monotonic()
    while team:
        ready = wait([worker.pipe for worker in team], timeout=pause)
        now = time.monotonic()
        for worker in list(team):
            is_ready = worker.pipe in ready
            worker.silence = 0.0 if is_ready else worker.silence + min(now - before, pause)
            yield worker, is_ready
        before = now
