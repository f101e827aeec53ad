"""One target in one process: by atheris, which looks for inputs that reach new code, or else by hypothesis."""

from __future__ import annotations

import argparse
import faulthandler
import resource
import signal
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fuzz.target import LONGEST, MOST_MEMORY, Finding, Target, check

# Readers in Python: what is instrumented besides rnnfv itself.
_INSTRUMENTED = ["rnnfv", "PIL", "csv", "json"]
_MOST_ADDRESSES = 16 << 30  # bytes: a forged size must not bring the machine down
_LONGEST_INPUT = 1 << 16  # bytes


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--seconds", type=int, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--found", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_ADDRESSES, _MOST_ADDRESSES))
    (_by_atheris if find_spec("atheris") else _by_hypothesis)(options)


def load_target(name: str) -> Target:
    """The target of a module of `fuzz.targets`."""
    target: Target = import_module(f"fuzz.targets.{name}").TARGET
    return target


def _by_atheris(options: argparse.Namespace) -> None:
    import atheris

    with atheris.instrument_imports(include=_INSTRUMENTED):
        target = load_target(options.name)
    for number, seed in enumerate(target.seeds()):
        (options.corpus / f"seed-{number}").write_bytes(seed)
    words = options.work / "dictionary"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.tokens))
    flags = [
        f"-max_total_time={options.seconds}",
        f"-timeout={LONGEST:.0f}",
        f"-rss_limit_mb={(target.most_memory + MOST_MEMORY) >> 20}",
        f"-max_len={max(_LONGEST_INPUT, *map(len, target.seeds()))}",
        f"-artifact_prefix={options.found}/{options.name}-",
        f"-dict={words}",
        "-print_final_stats=1",
        "-verbosity=1",
        str(options.corpus),
    ]
    atheris.Setup([sys.argv[0], *flags], lambda data: check(target, data, options.work))
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def _by_hypothesis(options: argparse.Namespace) -> None:
    from hypothesis import HealthCheck, Phase, given, settings

    from fuzz.mutation import inputs_of

    target = load_target(options.name)
    found = options.found / f"{options.name}-input"
    faulthandler.enable()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends a hang, be it in C
    start, count = time.perf_counter(), 0

    @settings(
        max_examples=1000,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs_of(target))
    def test(data: bytes) -> None:
        nonlocal count
        if time.perf_counter() - start > options.seconds:
            return
        count += 1
        found.write_bytes(data)  # what stays, if this ends the process
        signal.alarm(2 * int(LONGEST))
        began = time.perf_counter()
        check(target, data, options.work)
        signal.alarm(0)
        if (seconds := time.perf_counter() - began) > LONGEST:
            raise Finding(f"it took {seconds:.1f} s")

    run: Any = test
    while time.perf_counter() - start < options.seconds:
        run()
    found.unlink(missing_ok=True)
    print(f"stat::number_of_executed_units: {count}")


if __name__ == "__main__":
    main()
