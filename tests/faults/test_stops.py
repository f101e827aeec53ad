"""Ctrl-C and SIGTERM: one line, an exit code, nothing left over, and the next start goes on. -s shows the seconds."""

import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("av")
pytest.importorskip("faiss", reason="faiss is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

ONNX = Path(__file__).parents[1] / "fixtures" / "quarters.onnx"
STOPS = {signal.SIGINT: (130, "rnnfv: interrupted"), signal.SIGTERM: (143, "rnnfv: terminated")}


def is_tidy(ended, stop, files):
    code, line = STOPS[stop]
    assert ended.code == code, ended.words
    assert ended.words.strip().splitlines()[-1] == line
    assert "Traceback" not in ended.words
    assert "Exception" not in ended.words
    left = [name for name in files if name.endswith((".tmp", "lock"))]
    assert left == []
    print(f"\n{line} after {ended.seconds:.2f} s")


@pytest.mark.parametrize("stop", STOPS)
def test_an_extraction_with_a_decoder_that_hangs_stops(commands, trapped, content, tmp_path, stop):
    out = tmp_path / "out"
    extract = ["extract", trapped.folder, "--backbone", f"onnx:{ONNX}", "--workers", "2", "--out", out]
    ended = commands.run(extract, environment=trapped.environment, after=trapped.wait, stop=stop)
    is_tidy(ended, stop, content(out))
    assert "report.csv" not in content(out)


def begun(out, told):
    """Wait for the first file that is seen below a folder."""
    for _ in range(12_000):
        if any(path.is_file() and not path.name.startswith(".") for path in out.rglob("*")):
            return
        time.sleep(0.005)
    pytest.fail(told())


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("name", ["extract", "encode", "retrieval fit"])
def test_a_job_stops_and_goes_on(commands, jobs, undisturbed, content, tmp_path, name, stop):
    job, (_, wanted) = jobs[name], undisturbed(name)
    for tried in range(10):
        out = tmp_path / str(tried)
        out.mkdir()
        ended = commands.run(job.writing(out), constants=job.constants, after=partial(begun, out), stop=stop)
        if ended.code == 0:
            continue  # it had ended before
        is_tidy(ended, stop, content(out))
        again = commands.run(job.writing(out), constants=job.constants)
        assert again.code == 0, again.words
        assert content(out) == wanted
        return
    pytest.fail("it always ended before it was stopped")


# A lock that waits for itself holds Python's own lock and hears no signal, as a long factorisation does.
DEAF = """
import ctypes, sys, time
import rnnfv.cli.app as cli
from rnnfv.cli import stopping

def deaf():
    lock, library = ctypes.create_string_buffer(64), ctypes.PyDLL(None)
    print("begun", flush=True)
    library.pthread_mutex_lock(lock), library.pthread_mutex_lock(lock)

def slow():
    try:
        print("begun", flush=True)
        time.sleep(60)
    finally:
        time.sleep(2)

stopping._PATIENCE = 1.0
cli.app.command(deaf)
cli.app.command(slow)
cli.main(sys.argv[1:])
"""


def stopped(name, stop):
    command = [sys.executable, "-c", DEAF, name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "begun\n"
            time.sleep(0.5)  # until it is in the call
            process.send_signal(stop)
            _, words = process.communicate(timeout=60)
        finally:
            process.kill()
    return process.returncode, words


@pytest.mark.skipif(sys.platform != "linux", reason="the lock is one of Linux")
@pytest.mark.parametrize("stop", STOPS)
def test_a_command_that_hears_nothing_is_killed(stop):
    code, words = stopped("deaf", stop)
    assert code == -signal.SIGKILL
    assert words == "rnnfv: stopped in the middle of a computation; what was finished before is kept\n"


@pytest.mark.skipif(sys.platform != "linux", reason="the lock is one of Linux")
@pytest.mark.parametrize("stop", STOPS)
def test_a_command_that_puts_away_its_things_is_not_killed(stop):
    assert stopped("slow", stop) == (STOPS[stop][0], f"{STOPS[stop][1]}\n")
