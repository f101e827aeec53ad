"""Inputs near valid ones, a few of each kind: `make fuzz` tries millions."""

from pathlib import Path

import pytest
from hypothesis import Phase, given, settings

import fuzz
from fuzz.engine import load_target
from fuzz.mutation import inputs_of
from fuzz.target import Finding, Target, check, file_as

NAMES = sorted(path.stem for path in (Path(fuzz.__file__).parent / "targets").glob("[a-z]*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_any_bytes_give_a_result_or_a_clear_error(name, tmp_path):
    target = load_target(name)

    @settings(max_examples=40, derandomize=True, deadline=None, database=None, phases=[Phase.generate])
    @given(inputs_of(target))
    def any_bytes(data):
        check(target, data, tmp_path)

    any_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_targets_begin_with_something_that_can_be_read(name, tmp_path):
    target = load_target(name)
    target.read(target.place(tmp_path, target.seeds()[0]))


def _raise(error):
    raise error


@pytest.mark.parametrize(
    ("read", "kind", "message"),
    [
        (lambda path: _raise(KeyError(str(path))), KeyError, "given"),
        (lambda path: _raise(ValueError("something is wrong")), Finding, "does not name the file"),
        (lambda path: _raise(ValueError(f"{path} is\nwrong")), Finding, "not one short line"),
    ],
)
def test_the_rule_is_held(read, kind, message, tmp_path):
    target = Target(list, file_as("given"), read)
    with pytest.raises(kind, match=message):
        check(target, b"", tmp_path)


def test_memory_out_of_proportion_is_a_finding(tmp_path, monkeypatch):
    peaks = iter([0, 3 << 30])
    monkeypatch.setattr("fuzz.target._peak_memory", lambda: next(peaks))
    with pytest.raises(Finding, match="it took 3072 MiB of memory"):
        check(Target(list, file_as("given"), lambda path: None), b"", tmp_path)
