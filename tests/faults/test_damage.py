"""Flipped and missing bytes, and clocks that jump."""

import csv
import json
import os
import re
import time

import numpy as np
import pyarrow.parquet as pq
import pytest

import rnnfv
from rnnfv import MeanPooling
from rnnfv.recipes.encoding import encode_features
from rnnfv.recipes.recognizer import fit_recognizer, load_recognizer
from rnnfv.storage import VectorIndex, open_index, read_features, write_features

pytest.importorskip("faiss", reason="faiss is not installed")


def flipped(data, at, bit=0):
    changed = bytearray(data)
    changed[at] ^= 1 << bit
    return bytes(changed)


@pytest.fixture
def seqs(rng):
    return [rng.normal(size=(n, 3)).astype(np.float32) for n in (3, 1, 5, 2)]


def test_no_flipped_bit_of_a_shard_changes_what_is_read(tmp_path, seqs):
    """One bit of every byte, also of those that tell where the pages are: it is refused, or does not matter."""
    ids, note = ["a", "b", "c", "d"], {"backbone": {"name": "x"}, "sampling": {"every": 10}}
    path = write_features(tmp_path, ids, seqs, metadata=note)
    good, refused = path.read_bytes(), []
    for at in range(len(good)):
        path.write_bytes(flipped(good, at, at % 8))
        try:
            read = read_features(path)
        except ValueError as error:
            refused.append(str(error))
            continue
        assert (read.ids, read.failures) == (ids, [])
        for sequence, wanted in zip(read.sequences, seqs, strict=True):
            np.testing.assert_array_equal(sequence, wanted)
        told = json.loads((pq.read_metadata(path).metadata or {}).get(b"rnnfv", json.dumps(note)))
        assert {key: told[key] for key in note} == note
    assert len(refused) > len(good) / 2
    assert all(message.startswith(str(path)) and "\n" not in message for message in refused)


def test_a_shard_of_another_program_needs_no_checksum(tmp_path, seqs):
    path = write_features(tmp_path, ["a", "b", "c", "d"], seqs)
    pq.write_table(pq.read_table(path).replace_schema_metadata({}), path)
    assert read_features(path).ids == ["a", "b", "c", "d"]


def test_a_damaged_shard_costs_its_own_vectors_and_stops_a_fit(features, tmp_path):
    shards = sorted((features / "features").iterdir())
    for k, shard in enumerate(shards):
        data = shard.read_bytes()
        (tmp_path / "features").mkdir(exist_ok=True)
        (tmp_path / "features" / shard.name).write_bytes(flipped(data, len(data) // 2) if k == 1 else data)
    summary = encode_features(tmp_path / "features", features / "encoder", tmp_path / "v.npy")
    assert (summary.encoded, summary.failed) == (96, 1)
    with summary.table.open(newline="") as file:
        (row,) = [row for row in csv.DictReader(file) if row["status"] == "failed"]
    assert row["id"] == shards[1].name
    assert "damaged" in row["reason"]
    with pytest.raises(ValueError, match=f"{shards[1].name} is damaged .* write it again, or move it away"):
        fit_recognizer(tmp_path / "features", features / "m.csv", None)


@pytest.mark.parametrize("part", [0, 2])
@pytest.mark.parametrize("lost", ["flipped", "cut", "longer", "header", "objects", "no width", "missing"])
def test_a_damaged_part_of_an_encoding_is_made_again(features, tmp_path, monkeypatch, lost, part):
    arguments = features / "features", features / "encoder"
    encode_features(*arguments, tmp_path / "wanted.npy")
    with monkeypatch.context() as patch:
        patch.setattr("rnnfv.recipes.encoding._header", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            encode_features(*arguments, tmp_path / "v.npy")
    path = tmp_path / "v.npy.parts" / f"part-0000{part}.npy"
    data = path.read_bytes()
    path.unlink()
    damaged = {"flipped": flipped(data, -5), "cut": data[:-40], "longer": data + b"\0", "header": flipped(data, 20)}
    damaged["objects"] = re.sub(rb"'<f\d' *", lambda text: b"'|O'".ljust(len(text[0])), data, count=1)
    damaged["no width"] = re.sub(rb", \d+\)", lambda text: b", 0)".ljust(len(text[0])), data, count=1)
    assert all(changed != data for changed in damaged.values())
    if lost in damaged:
        path.write_bytes(damaged[lost])
    with pytest.raises(ValueError, match=rf"part-0000{part}\.npy is damaged: start the same command again"):
        encode_features(*arguments, tmp_path / "v.npy")
    encode_features(*arguments, tmp_path / "v.npy")
    assert (tmp_path / "v.npy").read_bytes() == (tmp_path / "wanted.npy").read_bytes()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("action.json", "action.json"),
        ("recognizer/config.json", "config.json"),
        ("recognizer/arrays.safetensors", "arrays.safetensors is wrong"),
    ],
)
def test_every_file_of_a_model_is_under_a_checksum(commands, jobs, undisturbed, tmp_path, name, words):
    for path, data in undisturbed("action fit")[1].items():
        if data is None:
            (tmp_path / path).mkdir(parents=True, exist_ok=True)
        else:
            (tmp_path / path).write_bytes(data)
    model = tmp_path / "model"
    load_recognizer(model)
    good = (model / name).read_bytes()
    for at in np.random.default_rng(0).integers(0, len(good), 20):
        (model / name).write_bytes(flipped(good, at))
        with pytest.raises(ValueError, match=f"^{model}.* (damaged|give a folder)") as caught:
            load_recognizer(model)
        assert "\n" not in str(caught.value)
    (model / name).write_bytes(good[: len(good) // 2])
    ended = commands.run(["action", "predict", tmp_path, "--model", model])
    assert (ended.code, ended.words.count("\n")) == (1, 1)
    assert words in ended.words


# -- clocks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [-(10**9), 10**9])
def test_the_time_of_a_file_means_nothing(features, tmp_path, shift, content):
    """Copied, touched, from a machine whose clock is wrong: it is the same job."""
    arguments = features / "features", features / "encoder", tmp_path / "v.npy"
    encode_features(*arguments)
    before = content(tmp_path)
    for path in [*features.rglob("*"), *tmp_path.rglob("*")]:
        os.utime(path, (time.time() + shift,) * 2)
    assert encode_features(*arguments).was_finished
    assert content(tmp_path) == before


def test_a_clock_that_jumps_disturbs_no_job(features, tmp_path, monkeypatch, content, capsys):
    encode_features(features / "features", features / "encoder", tmp_path / "calm.npy")
    jumps = iter(range(10**9))
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + (-1) ** next(jumps) * 10**8)
    encode_features(features / "features", features / "encoder", tmp_path / "v.npy", progress=True)
    assert (tmp_path / "v.npy").read_bytes() == (tmp_path / "calm.npy").read_bytes()
    assert "120/120" in capsys.readouterr().err
    model = MeanPooling().fit([np.ones((2, 2))])
    model.save(tmp_path / "model")
    assert isinstance(rnnfv.load(tmp_path / "model"), MeanPooling)
    index = VectorIndex.create(tmp_path / "index", dim=2)
    index.append(["a"], [[1, 0]])
    assert open_index(tmp_path / "index").ids() == ["a"]
    assert [name for name in content(tmp_path) if name.endswith((".tmp", "lock"))] == []
