"""Fuzz every reader of files: ``python -m fuzz.run [NAME ...] [--seconds 60]``.

The rule: any bytes give either a result or one of the documented errors, a line that names the file. No crash of the
process, no hang, no other exception, no memory out of proportion to the file.

Targets are the modules of ``fuzz/targets``. Each runs in a process of its own, by atheris where it is installed (on
Linux: pip install 'rnnfv[fuzz]'), else by hypothesis. Inputs that reach new code are kept in ``.fuzz/corpus`` for
the next run; an input that breaks the rule lies in ``.fuzz/found``, and this program ends with 1. Such a file is read
again, alone, by ``python -m fuzz.run NAME --again FILE``.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fuzz.engine import load_target
from fuzz.target import check

_HERE = Path(__file__).parent
_HOME = _HERE.parent / ".fuzz"
_SLACK = 120  # seconds to start and to end
_IN_MEMORY = Path("/dev/shm")  # Linux's disk in memory, on which thousands of files a second can be made
_WORK = _IN_MEMORY if _IN_MEMORY.is_dir() else None


def main() -> int:
    names = sorted(path.stem for path in (_HERE / "targets").glob("[a-z]*.py"))
    parser = argparse.ArgumentParser(description="Fuzz every reader of files.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; all without it")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--again", type=Path, help="read this one input by the one target that is named")
    options = parser.parse_args()
    unknown = set(options.names) - set(names)
    if unknown or (options.again and len(options.names) != 1):
        parser.error(f"there is no target {min(unknown)}" if unknown else "name the one target that reads the input")
    if options.again:
        with tempfile.TemporaryDirectory() as work:
            check(load_target(options.names[0]), options.again.read_bytes(), Path(work))
        return 0
    results = [_run(name, options.seconds) for name in options.names or names]
    return 0 if all(results) else 1


def _run(name: str, seconds: int) -> bool:
    """Run one target and print its line; whether it was clean."""
    corpus, found = _HOME / "corpus" / name, _HOME / "found"
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    log = _HOME / f"{name}.log"
    before, start = set(found.glob(f"{name}-*")), time.perf_counter()
    with tempfile.TemporaryDirectory(dir=_WORK) as work, log.open("w") as output:
        where = ("--corpus", corpus, "--found", found, "--work", work)
        command = [sys.executable, "-m", "fuzz.engine", name, "--seconds", str(seconds), *map(str, where)]
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=_HERE.parent)
        try:
            code = process.wait(seconds + _SLACK)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
    counts = re.findall(r"(?:stat::number_of_executed_units:|Done) +(\d+)", log.read_text(errors="replace"))
    count, taken = int(counts[-1]) if counts else 0, time.perf_counter() - start
    inputs = sorted(set(found.glob(f"{name}-*")) - before)
    is_clean = code == 0 and not inputs
    verdict = (
        "clean" if is_clean else f"FOUND {', '.join(map(str, inputs)) or 'no input'} (exit code {code}, said in {log})"
    )
    print(f"{name:<16} {count:>9,} executions {count / taken:>8,.0f}/s  {verdict}", flush=True)
    return is_clean


if __name__ == "__main__":
    sys.exit(main())
