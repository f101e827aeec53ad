"""Print the public API: names, signatures, and the options of the commands.

A change of what is public is a change of this list, which is kept in tests/public_api.txt:

    python tools/public_api.py > tests/public_api.txt
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

MODULES = ["rnnfv", "rnnfv.metrics", "rnnfv.storage", "rnnfv.distributed"]
_STORAGE = ["ModelFolderError", "VectorIndex", "open_index", "read_features", "write_features"]  # the rest is our own


def lines() -> Iterator[str]:
    """The list, a name a line."""
    seen: set[int] = set()
    for module in map(import_module, MODULES):
        for name in public_names(module):
            value = getattr(module, name)
            if inspect.ismodule(value) or (id(value) in seen and not isinstance(value, (str, tuple))):
                continue  # told where it is listed first
            seen.add(id(value))
            yield from described(f"{module.__name__}.{name}", value)
    from rnnfv.cli.app import app

    yield from commands("rnnfv", app)


def public_names(module: Any) -> list[str]:
    """What a module lists, or the functions and classes that are defined in it."""
    if module.__name__ == "rnnfv.storage":
        return _STORAGE
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
    return sorted(getattr(module, "__all__", [name for name in own if not name.startswith("_")]))


def described(name: str, value: Any) -> Iterator[str]:
    """A function, or a class with what it has of its own, or of a class of rnnfv."""
    if inspect.isclass(value):
        yield f"class {name}{signature(value)}"
        members = {}
        for base in reversed(value.__mro__):
            if base.__module__.startswith("rnnfv"):
                members |= vars(base)
        for member, found in sorted(members.items()):
            yield from _member(f"{name}.{member}", member, found)
    elif callable(value):
        yield f"{name}{signature(value)}"
    else:
        yield name


def _member(name: str, member: str, found: Any) -> Iterator[str]:
    if member.startswith("_"):
        return
    if isinstance(found, property):
        yield f"{name}: property{str(inspect.signature(found.fget)).partition(')')[2]}"
        return
    function = getattr(found, "__func__", found)
    if inspect.isfunction(function) and function.__module__.startswith("rnnfv"):  # scikit-learn adds some at run time
        yield f"{name}{signature(function)}"


def signature(function: Any) -> str:
    """Parameters, with annotations as they are written, and defaults."""
    try:
        text = str(inspect.signature(function)).replace("'", "").replace('"', "")
    except (TypeError, ValueError):
        return ""
    return re.sub(r"<function .+? at 0x\w+>", "...", text)


def commands(path: str, app: Any) -> Iterator[str]:
    """Every command, with its options in the order of the alphabet."""
    for name in sorted(app):
        if name.startswith("-"):
            continue
        command = app[name]
        if command.default_command is None:
            yield from commands(f"{path} {name}", command)
            continue
        arguments = command.assemble_argument_collection()
        options = sorted({argument.name for argument in arguments if argument.parse and argument.show})
        yield f"{path} {name} {' '.join(options)}"


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in lines())
