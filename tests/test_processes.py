"""Several processes train one net: real ones, which talk over gloo."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from torch.distributed import TCPStore

from rnnfv import load
from rnnfv.cli import main
from rnnfv.processes import ALONE, join, place, refuse_several
from rnnfv.recipes._work import NO_WORK, open_work
from rnnfv.storage import as_path

SCRIPT = Path(__file__).with_name("train_together.py")
ALIKE = ("regression", "single precision", "symbols")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the processes end by POSIX signals")


def torchrun(*arguments, **kwargs):
    """Run two processes to their end, under torchrun."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, check=False, **kwargs)


def two_alone(*arguments):
    """Run two processes that nobody watches over; exit codes and what they said on stderr."""
    # They meet at a store that is open already, as under torchrun: a free port could be another's until they start.
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "WORLD_SIZE": "2"}
    meeting |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}
    processes = [
        subprocess.Popen(
            [sys.executable, SCRIPT, *map(str, arguments)],
            env=os.environ | meeting | {"RANK": str(rank)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [process.communicate()[1] for process in processes]
    return [process.returncode for process in processes], errors


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """What two processes wrote: by fit, one entry a process."""
    folder = tmp_path_factory.mktemp("together")
    done = torchrun(SCRIPT, folder, "all")
    assert done.returncode == 0, done.stderr
    names = (*ALIKE, "dropout", "own generators")
    return {name: [dict(np.load(folder / f"{name}-{rank}.npz")) for rank in range(2)] for name in names}


@pytest.mark.parametrize("name", [*ALIKE, "dropout", "own generators"])
def test_both_end_with_the_same_net(together, name):
    first, second = together[name]
    assert first.keys() == second.keys()
    for key in first:
        np.testing.assert_array_equal(first[key], second[key], err_msg=key)


@pytest.mark.parametrize("name", ALIKE)
def test_two_processes_have_the_loss_curve_of_one(together, name):
    alone = runpy.run_path(str(SCRIPT))["FITS"][name]()
    tolerance = 1e-4 if name == "single precision" else 1e-9
    for key, values in alone.history_.items():
        assert len(values) == 4
        np.testing.assert_allclose(together[name][0][key], values, rtol=tolerance, err_msg=key)
    for key, tensor in alone.network_.state_dict().items():
        np.testing.assert_allclose(together[name][0][f"net.{key}"], tensor.numpy(), atol=10 * tolerance, err_msg=key)


def test_each_process_draws_its_own_masks(together):
    """With dropout the curve is another one than that of a single process, and yet it falls."""
    alone = runpy.run_path(str(SCRIPT))["FITS"]["dropout"]()
    loss = together["dropout"][0]["loss"]
    assert loss[0] != alone.history_["loss"][0]
    assert loss == pytest.approx(np.array(alone.history_["loss"]), rel=0.3)


def test_a_training_killed_goes_on_to_the_same_bytes(together, tmp_path):
    killed = torchrun(SCRIPT, tmp_path, "checkpoint", 3)
    assert killed.returncode != 0
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint"}
    done = torchrun(SCRIPT, tmp_path, "checkpoint")
    assert done.returncode == 0, done.stderr
    for rank in range(2):
        with np.load(tmp_path / f"resumed-{rank}.npz") as resumed:
            for key, expected in together["dropout"][0].items():
                np.testing.assert_array_equal(resumed[key], expected, err_msg=key)


def test_a_process_that_dies_does_not_leave_the_other_waiting(tmp_path):
    codes, errors = two_alone(tmp_path, "die")
    assert codes == [1, -9]
    assert "RuntimeError: another of the processes that train together has ended or does not answer" in errors[0]


def test_processes_that_differ_say_so(tmp_path):
    codes, errors = two_alone(tmp_path, "differ")
    assert codes == [1, 1]
    assert "process 1 would train something else than the first (other hidden_size)" in errors[1]
    assert "another of the processes" in errors[0]


def test_a_judge_that_fails_stops_all(tmp_path):
    codes, errors = two_alone(tmp_path, "judge")
    assert codes == [1, 1]
    assert "ZeroDivisionError: division by zero" in errors[0]
    assert "the first process failed: division by zero" in errors[1]


def test_one_process_is_alone(monkeypatch):
    assert place() == (0, 1)
    assert join() is ALONE
    assert ALONE.from_first(lambda: 3) == 3
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert place() == (0, 1)  # no torchrun: it says where the others are
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "1")
    assert place() == (1, 2)
    with pytest.raises(ValueError, match="mean trains no net: start it without torchrun"):
        refuse_several("mean trains no net")


@pytest.mark.parametrize("output", ["model", "memory://store/model"])
def test_only_the_first_goes_on_with_a_command_wherever_it_writes(tmp_path, monkeypatch, output):
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    if "://" in output:
        pytest.importorskip("upath")
    output = as_path(output) if "://" in output else tmp_path / output
    NO_WORK.leave_unless_first()  # in a script all go on
    with open_work(output, {}) as work, pytest.raises(SystemExit) as left:
        work.part("seed 0").leave_unless_first()
    assert left.value.code == 0
    monkeypatch.setenv("RANK", "0")
    with open_work(output, {}) as work:
        work.leave_unless_first()


# -- commands --------------------------------------------------------------------------------------


def test_action_fit_under_torchrun(write_clips, tmp_path):
    given = [*write_clips(tmp_path, 9), "--deltas", 0, "--epochs", 2, "--hidden-size", 4, "--projection-size", 4]
    done = torchrun("-m", "rnnfv", "action", "fit", *given, "--pooling", "rnn-fv", "--out", tmp_path / "model")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("rnn-fv for 2 classes is in") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"features", "clips.csv", "model"}
    assert len(load(tmp_path / "model/recognizer")["encoder"].history_["loss"]) == 2


def test_retrieval_fit_under_torchrun_is_that_of_one_process(write_captions, tmp_path):
    data = write_captions(tmp_path, {"train": 30, "val": 20})
    command = ["-m", "rnnfv", "retrieval", "fit", *data, "--hidden-size", 6, "--etas", "0.1", "--epochs", 3]
    done = torchrun(*command, "--out", tmp_path / "two")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("rnn-fv is in") == 1
    subprocess.run([sys.executable, *map(str, [*command, "--out", tmp_path / "one"])], check=True, capture_output=True)
    one, two = (load(tmp_path / name / "sentences")["encoder"] for name in ("one", "two"))
    np.testing.assert_allclose(two.history_["loss"], one.history_["loss"], rtol=1e-4)
    assert two.history_["validation"] == pytest.approx(one.history_["validation"], abs=5)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("fit --pooling gmm-fv", "gmm-fv trains no net"),
        ("evaluate --seeds 1", "action evaluate does not train one net in several processes"),
    ],
)
def test_a_command_that_cannot_be_shared_says_so(write_clips, tmp_path, monkeypatch, capsys, command, words):
    verb, *options = command.split()
    given = [*write_clips(tmp_path, 9), *options]
    if verb == "fit":
        given += ["--out", tmp_path / "model"]
    for name, value in {"RANK": 0, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 1}.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(SystemExit) as stopped:
        main(["action", verb, *map(str, given)])
    assert stopped.value.code == 1
    assert f"rnnfv: {words}: start it without torchrun" in capsys.readouterr().err
