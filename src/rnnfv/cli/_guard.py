"""A process of its own, started by `rnnfv.cli.stopping`: ends a command that does not hear that it should stop.

    python -I -S _guard.py PID SECONDS MESSAGE

Its standard input tells what came to the command: the number of each signal, and 0 when the command heard it.
"""

import os
import select
import signal
import sys
import time

HEARD = 0
_SHOW_CURSOR = "\x1b[?25h"  # a bar of progress hides it


def main(command: int, seconds: float, message: str) -> None:
    """Wait for the command's end; after a signal that it does not hear for so long, kill it."""
    deadline = None
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not select.select([0], [], [], left)[0]:
            break
        told = os.read(0, 1)
        if not told:
            return
        if told[0] == HEARD:
            deadline = None
        elif deadline is None and told[0] in (signal.SIGINT, signal.SIGTERM):
            deadline = time.monotonic() + seconds
    try:
        os.kill(command, signal.SIGKILL)
    except ProcessLookupError:
        return  # it has just ended
    sys.stderr.write(f"{_SHOW_CURSOR if sys.stderr.isatty() else ''}{message}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3])
