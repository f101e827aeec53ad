import inspect
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

import rnnfv

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "tests" / "public_api.txt"


def test_the_public_api_is_the_kept_one():
    """After a change that is meant: python tools/public_api.py > tests/public_api.txt, and a line in CHANGELOG.md."""
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "public_api.py"], capture_output=True, text=True, check=True
    )
    now, kept = done.stdout.splitlines(), KEPT.read_text().splitlines()
    changed = [f"- {line}" for line in kept if line not in now] + [f"+ {line}" for line in now if line not in kept]
    assert changed == [], test_the_public_api_is_the_kept_one.__doc__
    assert len(now) == len(kept)


def test_the_package_says_that_it_is_typed():
    assert resources.files("rnnfv").joinpath("py.typed").is_file()


def public_functions():
    for name in sorted(rnnfv.__all__):
        value = getattr(rnnfv, name)
        if not inspect.isclass(value):
            if inspect.isfunction(value):
                yield name, value
            continue
        for base in value.__mro__:
            for member, found in vars(base).items() if base.__module__.startswith("rnnfv") else ():
                function = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
                is_ours = inspect.isfunction(function) and function.__module__.startswith("rnnfv")
                if is_ours and (member == "__init__" or not member.startswith("_")):
                    yield f"{name}.{member}", function


@pytest.mark.parametrize(("name", "function"), list(public_functions()))
def test_public_functions_are_annotated(name, function):
    signature = inspect.signature(function)
    bare = [p.name for p in signature.parameters.values() if p.annotation is p.empty and p.name not in ("self", "cls")]
    assert bare == []
    assert signature.return_annotation is not signature.empty


def test_the_citation_has_the_version_of_the_package():
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), flags=re.MULTILINE)
    assert cited[1] == rnnfv.__version__
