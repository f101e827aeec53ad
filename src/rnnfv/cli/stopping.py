"""Ctrl-C and SIGTERM: the command puts away its things, or is ended where Python cannot hear them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from rnnfv.cli import _guard

__all__ = ["Terminated", "stoppable"]

_PATIENCE = 4.0  # seconds


class Terminated(KeyboardInterrupt):
    """SIGTERM came. To a command it is what Ctrl-C is."""


@contextmanager
def stoppable(message: str, *, guarded: bool = True) -> Iterator[None]:
    """Let Ctrl-C and the first SIGTERM raise, so that a command puts away its things; further SIGTERMs do not disturb.

    Python hears a signal when the library that it has called returns. A matrix of 30,000 rows is factorised in
    minutes, and SciPy lets no thread run meanwhile: another process watches that it does not take too long.

    Parameters
    ----------
    message : str
        The line that is told where the command has to be killed.
    guarded : bool
        Whether to have that process. It is for commands that leave both signals to this block.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C.
    Terminated
        On SIGTERM.
    """
    with ExitStack() as stack:
        sigint = signal.getsignal(signal.SIGINT)
        # The first process of a container cannot be killed from within; who has another handler hears for himself.
        is_usual = os.name == "posix" and os.getpid() != 1 and sigint in (signal.default_int_handler, signal.SIG_IGN)
        hear = stack.enter_context(_guarded(message) if guarded and is_usual else nullcontext(lambda: None))

        def interrupt(number: int, frame: Any) -> None:
            hear()
            raise KeyboardInterrupt

        def terminate(number: int, frame: Any) -> None:
            hear()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            raise Terminated

        if sigint is signal.default_int_handler:  # else it is ignored, as under nohup
            stack.callback(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, interrupt))
        stack.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, terminate))
        yield


@contextmanager
def _guarded(message: str) -> Iterator[Callable[[], None]]:
    """Start the guard, and have the interpreter tell it of every signal; yields what tells it that one was heard."""
    arguments = [str(os.getpid()), str(_PATIENCE), message]
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(_guard.__file__)), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        bufsize=0,
        start_new_session=True,  # Ctrl-C is not for it
    )
    assert process.stdin is not None
    with process:
        told = process.stdin.fileno()
        os.set_blocking(told, False)

        def hear() -> None:
            with suppress(OSError):  # the guard has ended before its time: then there is none
                os.write(told, bytes([_guard.HEARD]))

        before = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        try:
            yield hear
        finally:
            signal.set_wakeup_fd(before)
