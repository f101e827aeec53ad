"""Run a `rnnfv` command once undisturbed and once killed at random moments again and again, until it is done.

python kill_again.py SEED KILLS ONE OTHER COMMAND...: in the command, OUT stands for ONE, then for OTHER.
Prints how often it was killed. Moments fall into the work and not into the start: libraries are loaded beforehand, and
before the run that is timed there is one that reads what the disk has to give.
"""

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import rnnfv.cli.evaluate
import rnnfv.cli.fit
import rnnfv.cli.retrieving  # noqa: F401
from rnnfv.cli import main


def start(arguments):
    """The command in a process of its own, which has all libraries loaded already."""
    child = os.fork()
    if child == 0:
        try:
            main(arguments)
        except SystemExit as stopped:
            os._exit(stopped.code or 0)
        finally:
            os._exit(99)
    return child


def end(child):
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, -signal.SIGKILL):
        sys.exit(f"the command ended with {code}")
    return code


def run():
    seed, kills, one, other, *command = sys.argv[1:]
    moments = random.Random(int(seed))
    with tempfile.TemporaryDirectory() as folder:
        end(start([part.replace("OUT", f"{folder}/warm") for part in command]))
    began = time.monotonic()
    end(start([part.replace("OUT", one) for part in command]))
    seconds = time.monotonic() - began
    again, killed = [part.replace("OUT", other) for part in command], 0
    for _ in range(int(kills)):
        child = start(again)
        time.sleep(moments.uniform(0.05, 0.6) * seconds)
        os.kill(child, signal.SIGKILL)  # until it is waited for, its number is no one else's
        if end(child) == 0:
            if killed:
                break
            # It was quicker than the one that was timed: once more, and earlier.
            shutil.rmtree(other) if Path(other).is_dir() else Path(other).unlink()
            seconds /= 2
            continue
        killed += 1
    else:
        end(start(again))
    print(killed)


if __name__ == "__main__":
    run()
