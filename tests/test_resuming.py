"""A fit or an evaluation that is stopped goes on, and ends as if nothing had happened."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import rnnfv.training
from rnnfv import RNNFisherVector, RNNHiddenState, Sequences
from rnnfv.cli import main
from rnnfv.encoders.mixture import MixtureFisherVector
from rnnfv.recipes._work import open_work
from rnnfv.storage import one_writer, write_checkpoint

SMALL = {"hidden_size": 5, "projection_size": 4, "max_epochs": 4, "batch_size": 5, "random_state": 3}
posix = pytest.mark.skipif(os.name != "posix", reason="needs fork and SIGKILL")


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def saved(encoder, folder):
    encoder.save(folder)
    return files_of(folder)


@pytest.fixture
def labels(ragged):
    return np.arange(len(ragged)) % 2


# -- one net ---------------------------------------------------------------------------------------


def odd_epochs(encoder):
    """A judge without a memory of its own."""
    epoch = len(encoder.history_["loss"])
    return float(epoch % 2) if epoch > 1 else float("nan")


CASES = {
    "probe, dropout": (RNNFisherVector(dropout=0.5, **SMALL), True, None),
    "loss, patience": (RNNFisherVector(early_stopping="loss", patience=2, learning_rate=0.3, **SMALL), False, None),
    "no judge": (RNNFisherVector(early_stopping=None, cell="gru", num_layers=2, dropout=0.3, **SMALL), False, None),
    "own judge": (RNNFisherVector(coordinates=9, **SMALL), False, odd_epochs),
    "hidden state": (RNNHiddenState(dtype="float64", **SMALL), True, None),
    "symbols": (RNNFisherVector(objective="classification", n_symbols=4, dropout=0.2, **SMALL), False, None),
}


@pytest.mark.parametrize("case", CASES)
def test_a_fit_stopped_after_any_write_gives_the_same_bytes(case, ragged, labels, rng, tmp_path, monkeypatch):
    encoder, is_labelled, judge = CASES[case]
    seqs = Sequences.from_list(ragged)
    if case == "symbols":
        seqs = Sequences(rng.integers(0, 6, len(seqs.values)), seqs.offsets, rng.normal(size=(6, 3)).astype(np.float32))
    given = {"y": labels if is_labelled else None, "judge": judge}
    expected = saved(encoder.fit(seqs, **given), tmp_path / "undisturbed")

    def write(*arguments):
        write_checkpoint(*arguments)
        raise KeyboardInterrupt

    stops, path = 0, tmp_path / "checkpoint"
    with monkeypatch.context() as patch:
        patch.setattr(rnnfv.training, "write_checkpoint", write)
        while stops < 20:  # every write ends a run, so that each one is gone on from
            try:
                encoder.fit(seqs, **given, checkpoint=path)
                break
            except KeyboardInterrupt:
                stops += 1
    assert stops == len(encoder.history_["loss"]) + len(encoder.history_.get("validation", ()))
    assert saved(encoder, tmp_path / "stopped") == expected


def test_a_finished_checkpoint_leaves_nothing_to_do(ragged, tmp_path, monkeypatch):
    encoder = RNNFisherVector(**SMALL).fit(ragged, checkpoint=tmp_path / "c")
    expected = saved(encoder, tmp_path / "first")
    monkeypatch.setattr(rnnfv.training, "_one_epoch", lambda *_: pytest.fail("it trains again"))
    assert saved(encoder.fit(ragged, checkpoint=tmp_path / "c"), tmp_path / "second") == expected


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"hidden_size": 6}, "hidden_size"),
        ({"random_state": 4}, "random_state"),
        ({"max_epochs": 9}, "max_epochs"),
        ({}, "data"),
    ],
)
def test_another_training_s_checkpoint_is_refused(ragged, tmp_path, change, named):
    RNNFisherVector(**SMALL).fit(ragged, checkpoint=tmp_path / "c")
    with pytest.raises(ValueError, match=f"another training \\(other {named}\\): give another file"):
        RNNFisherVector(**{**SMALL, **change}).fit(ragged if change else ragged[1:], checkpoint=tmp_path / "c")


@pytest.mark.parametrize("spoil", [lambda data: data[: len(data) // 2], lambda data: data[:-9] + b"x" + data[-8:]])
def test_a_damaged_checkpoint_is_one_line(ragged, tmp_path, spoil):
    path = tmp_path / "c"
    RNNFisherVector(**SMALL).fit(ragged, checkpoint=path)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ValueError, match="c is damaged, or not a checkpoint: delete it to begin anew"):
        RNNFisherVector(**SMALL).fit(ragged, checkpoint=path)


def test_a_checkpoint_needs_a_seed(ragged, tmp_path):
    with pytest.raises(ValueError, match="random_state to be an integer"):
        RNNFisherVector(max_epochs=1).fit(ragged, checkpoint=tmp_path / "c")


# -- whole commands --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clips(write_clips, tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp("clips"), 12)


@pytest.fixture(scope="module")
def captions(write_captions, tmp_path_factory):
    return write_captions(tmp_path_factory.mktemp("captions"), {"train": 40, "val": 20, "test": 10})


SIZES = "--hidden-size 5 --projection-size 5 --deltas 0"
COMMANDS = {
    "action fit": f"--pooling rnn-fv-kron --epochs 6 {SIZES}",
    "action fit gmm": "--pooling gmm-fv --components 1,2 --deltas 0",
    "action evaluate": f"--poolings mean,rnn-fv --epochs 3 --seeds 2 --reverse-test {SIZES}",
    "retrieval fit": "--epochs 12 --hidden-size 8 --etas 0.01,0.1 --dropout 0.2 --pca 20",
    "retrieval evaluate": "--epochs 4 --hidden-size 8 --etas 0.01,0.1 --seeds 3",
}


@posix
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_killed_at_random_moments_ends_as_if_nothing_had_happened(command, clips, captions, tmp_path):
    room, verb, *_ = command.split()
    data = clips if room == "action" else captions
    out = ["--out", "OUT"] if verb == "fit" else ["--json", "OUT"]
    given = [room, verb, *data, *COMMANDS[command].split(), *out]
    one, other = tmp_path / "one", tmp_path / "other"
    script = Path(__file__).with_name("kill_again.py")
    done = subprocess.run(
        [sys.executable, script, str(sorted(COMMANDS).index(command)), "4", one, other, *map(str, given)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) >= 1
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")} == {"one", "other"}
    if verb == "fit":
        assert files_of(one) == files_of(other)
    else:
        assert one.read_bytes() == other.read_bytes()


def run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code


@pytest.fixture
def unfinished(clips, tmp_path, monkeypatch):
    """An evaluation that was stopped behind the fit of its first pooling."""
    command = ["action", "evaluate", *clips, "--poolings", "mean,gmm-fv", "--components", 1, "--deltas", 0]
    command += ["--json", tmp_path / "table.json"]

    fit = MixtureFisherVector.fit

    def fit_or_stop(*args):
        if any((tmp_path / "table.json.unfinished").rglob("*seed*.figures")):
            raise KeyboardInterrupt
        return fit(*args)

    with monkeypatch.context() as patch:
        patch.setattr(MixtureFisherVector, "fit", fit_or_stop)
        assert run(*command) == 130
    return command


def test_finished_fits_are_not_done_again(unfinished, tmp_path, monkeypatch):
    assert (tmp_path / "table.json.unfinished").is_dir()
    monkeypatch.setattr("rnnfv.encoders.mean.MeanPooling.fit", lambda *_: pytest.fail("it fits again"))
    assert run(*unfinished) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["table.json"]
    assert set(json.loads((tmp_path / "table.json").read_text())["poolings"]) == {"mean", "gmm-fv"}


def test_damaged_work_is_one_line(unfinished, tmp_path, capsys):
    (figures,) = (tmp_path / "table.json.unfinished").rglob("*seed*.figures")
    figures.write_bytes(figures.read_bytes()[:-1] + b"x")
    assert run(*unfinished) == 1
    assert f"{figures} is damaged, or not a checkpoint: delete it to begin anew" in capsys.readouterr().err


def test_more_poolings_are_no_other_job(unfinished, tmp_path):
    at = unfinished.index("mean,gmm-fv")
    assert run(*unfinished[:at], "mean", *unfinished[at + 1 :]) == 0
    assert not (tmp_path / "table.json.unfinished").exists()


def test_another_job_s_work_is_refused(unfinished, capsys):
    assert run(*unfinished, "--dropout", 0.1) == 1
    error = capsys.readouterr().err
    assert "the unfinished work of another job (other dropout): delete that folder, or give another output" in error


def test_the_note_of_the_job_goes_last(tmp_path, monkeypatch):
    """So a kill while the folder is deleted leaves what the same command can go on with."""
    names = ["a", "b", "z"]
    deleted, unlink = [], Path.unlink

    def note(path, *args, **options):
        deleted.append(path.name)
        return unlink(path, *args, **options)

    with open_work(tmp_path / "out", {"command": "x"}) as work:
        for name in names:
            work.keep(name, 1)
        monkeypatch.setattr(Path, "unlink", note)
    monkeypatch.undo()
    assert set(deleted[:-2]) == {f"{name}.figures" for name in names}
    assert deleted[-2:] == ["job.json", ".lock"]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_which_another_program_has_begun_is_left_alone(tmp_path, monkeypatch):
    def one_writer_and_next(lock, what):
        with one_writer(lock, what):
            yield
        lock.with_name("job.json").write_text("{}")

    monkeypatch.setattr("rnnfv.recipes._work.one_writer", contextmanager(one_writer_and_next))
    with open_work(tmp_path / "out", {"command": "x"}):
        pass
    assert (tmp_path / "out.unfinished/job.json").read_text() == "{}"


def test_two_jobs_on_one_output_do_not_meet(unfinished, tmp_path, capsys):
    from filelock import FileLock

    with FileLock(tmp_path / "table.json.unfinished/.lock"):
        assert run(*unfinished) == 1
    assert "another program is writing to" in capsys.readouterr().err
