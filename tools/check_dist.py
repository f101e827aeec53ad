"""Check what `python -m build` made: its description, its content, and that it works in bare environments.

For every interpreter a new environment gets the wheel that is built from the sdist, with the versions of
constraints.txt and no extra; then, in a folder of its own, the package is imported, described, and tested.

    python tools/check_dist.py [dist] [--python python3.12 --python python3.13 ...]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
BELONGS = re.compile(
    r"(src/rnnfv/.+|(CHANGELOG|README)\.md|CITATION\.cff|LICENSE|pyproject\.toml|PKG-INFO|\.gitignore)"
)
IN_WHEEL = ["rnnfv/py.typed", "rnnfv/cli/help.txt", "rnnfv/datasets/data/japanese_vowels/README.md"]
SMOKE = """
import subprocess, sys, numpy as np, rnnfv
from rnnfv.storage import write_features
seqs = [np.random.default_rng(n).normal(size=(n, 3)).astype("float32") for n in range(1, 9)]
write_features("features", [f"s{n}" for n in range(8)], seqs)
rnnfv.RNNFisherVector(hidden_size=4, projection_size=None, max_epochs=1, random_state=0).fit(seqs).save("model")
encode = ["encode", "features", "--model", "model", "--out", "vectors.npy"]
subprocess.run([sys.executable, "-m", "rnnfv", *encode], check=True, capture_output=True)
assert np.load("vectors.npy").shape == (8, 15)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "dist")
    parser.add_argument("--python", action="append", help="an interpreter; default: this one")
    args = parser.parse_args()
    (sdist,), (wheel,) = args.folder.glob("*.tar.gz"), args.folder.glob("*.whl")
    run([sys.executable, "-m", "twine", "--no-color", "check", "--strict", str(sdist), str(wheel)])
    check_content(sdist, wheel)
    for python in args.python or [sys.executable]:
        with tempfile.TemporaryDirectory() as folder:
            print(f"{python}: {check_install(python, sdist, Path(folder))}", flush=True)
    return 0


def check_content(sdist: Path, wheel: Path) -> None:
    """Refuse files that do not belong in an archive, and miss none that the package needs."""
    with tarfile.open(sdist) as archive:
        names = [name.split("/", 1)[1] for name in archive.getnames() if "/" in name]
    if strangers := [name for name in names if not BELONGS.fullmatch(name)]:
        raise SystemExit(f"{sdist}: these do not belong there: {', '.join(strangers[:5])}")
    inside = set(zipfile.ZipFile(wheel).namelist())
    sources = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.py")}
    if missing := sorted((sources | set(IN_WHEEL)) - inside):
        raise SystemExit(f"{wheel}: these are missing: {', '.join(missing[:5])}")


def check_install(python: str, sdist: Path, folder: Path) -> str:
    """Install in a new environment and try; what was found, in a line."""
    run([python, "-m", "venv", str(folder / "venv")])
    there = str(folder / "venv" / "bin" / "python")
    run([there, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(sdist.resolve())])
    (wheel,) = folder.glob("*.whl")
    run([there, "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt"), str(wheel)])
    place = folder / "elsewhere"
    place.mkdir()
    program = str(folder / "venv" / "bin" / "rnnfv")
    (package,) = (folder / "venv" / "lib").glob("*/site-packages/rnnfv")
    run([there, "-W", "error", "-m", "compileall", "-q", "-f", str(package)])
    page = run([program, "--help"], place)
    if "retrieval" not in page:
        raise SystemExit(f"{python}: the help page is not there")
    run([there, "-c", SMOKE], place)
    hint = subprocess.run([program, "demo"], cwd=place, capture_output=True, text=True, check=False, env=bare())
    if hint.returncode != 1 or hint.stderr.count("\n") != 1 or "rnnfv[plots]" not in hint.stderr:
        raise SystemExit(f"{python}: without matplotlib `rnnfv demo` says {hint.stderr!r}")
    found = json.loads(run([program, "doctor", "--json"], place))
    return f"python {found['python'].split()[0]}, torch {found['libraries']['torch']}, self-test {found['self_test']}"


def bare() -> dict[str, str]:
    """The environment without a path to the sources."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def run(command: list[str], place: Path | None = None) -> str:
    """The standard output of a program that must succeed."""
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, env=bare())
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:6])} ...\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
