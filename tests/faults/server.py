"""Starts commands of rnnfv in processes of their own, each the leader of its group, and quickly.

A program that has the libraries loaded already forks for every command, so that a kill at a random moment hits the
work and not the imports. Run as a script it is that program: it reads a line of JSON for each command, and writes the
process's id and then how it ended.
"""

import importlib
import json
import os
import signal
import sys
import traceback

_MODULES = [
    "rnnfv.cli.app",
    "rnnfv.cli.encode",
    "rnnfv.cli.extract",
    "rnnfv.cli.fit",
    "rnnfv.cli.retrieving",
    "rnnfv.cli.searching",
    "rnnfv.video.backbones.onnx",
    "av",
    "faiss",
    "onnxruntime",
    "PIL.Image",
]


def serve():
    """Fork for each command that comes."""
    for name in _MODULES:
        importlib.import_module(name)
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _be_a_command(order)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _be_a_command(order):
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    null = os.open(os.devnull, os.O_RDONLY)
    told = os.open(order["told"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor, source in ((0, null), (1, told), (2, told)):
        os.dup2(source, descriptor)
    from rnnfv.cli.app import main

    os.environ.update(order["environment"])
    for place, value in order["constants"].items():
        module, _, name = place.rpartition(".")
        setattr(importlib.import_module(module), name, value)
    try:
        main(order["arguments"])
    except SystemExit as ended:
        sys.stdout.flush()
        os._exit(ended.code)
    except BaseException:
        traceback.print_exc()
    os._exit(99)


if __name__ == "__main__":
    serve()
