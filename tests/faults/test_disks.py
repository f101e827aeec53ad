"""A disk that is full, a folder that cannot be written, two jobs on one output."""

import errno
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

import rnnfv
from rnnfv import MeanPooling
from rnnfv.storage import VectorIndex, atomic_file, atomic_folder, open_index, write_features

pytest.importorskip("av")
pytest.importorskip("faiss", reason="faiss is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


@pytest.fixture
def mount(tmp_path):
    """A function that makes a small disk in memory, and one that changes its options."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {made.stderr.strip()}")

    def again(options):
        subprocess.run(["mount", "-o", f"remount,{options}", place], check=True)
        return place

    yield again
    subprocess.run(["umount", "--lazy", place], check=True)  # an index there may still be mapped


def fill(place, spare):
    """Leave so many bytes of the disk."""
    with (place / "ballast").open("wb", buffering=0) as file:
        while shutil.disk_usage(place).free:
            file.write(bytes(4096))
        file.truncate(file.tell() - spare)


def one_line(ended, *words):
    assert ended.code == 1, ended.words
    last = ended.words.strip().splitlines()[-1]
    assert last.startswith("rnnfv: ")
    assert "Traceback" not in ended.words
    assert all(str(word) in last for word in words), last


@pytest.mark.parametrize(
    ("name", "spare"),
    [
        ("extract", 0),
        ("extract", 24 << 10),
        ("encode", 0),
        ("encode", 48 << 10),
        ("index images", 8 << 10),
        ("action fit", 4 << 10),
        ("retrieval fit", 4 << 10),
        ("retrieval fit", 40 << 10),
    ],
)
def test_a_full_disk_is_told_and_after_room_is_made_the_job_goes_on(
    commands, jobs, undisturbed, content, mount, name, spare
):
    job, place = jobs[name], mount("size=256k")
    out = place / "out"
    out.mkdir()
    fill(place, spare)
    ended = commands.run(job.writing(out), constants=job.constants)
    one_line(ended, place, "cannot be written: the disk is full; make room, then start again")
    assert [name for name in content(out) if name.endswith((".tmp", "lock"))] == []
    mount("size=16m")
    again = commands.run(job.writing(out), constants=job.constants)
    assert again.code == 0, again.words
    assert content(out) == undisturbed(name)[1]


def test_a_full_disk_leaves_what_was_there(mount, content):
    place = mount("size=256k")
    model = MeanPooling().fit([np.ones((3, 2), np.float32)])
    model.save(place / "model")
    index = VectorIndex.create(place / "index", dim=4)
    index.append(list("abcd"), np.eye(4))
    write_features(place / "features", ["a"], [np.ones((2, 3))])
    before = content(place)
    fill(place, 0)
    many = np.eye(4)[np.zeros(3000, int)]
    for write in (
        lambda: model.save(place / "model"),
        lambda: index.append([f"{i}" for i in range(3000)], many),
        lambda: write_features(place / "features", ["b"], [np.ones((20_000, 3))], shard=1),
    ):
        with pytest.raises(OSError, match=rf"^{place}.* cannot be written: the disk is full") as told:
            write()
        assert told.value.errno == errno.ENOSPC
    (place / "ballast").unlink()
    assert content(place) == before
    assert isinstance(rnnfv.load(place / "model"), MeanPooling)
    assert len(open_index(place / "index")) == 4


@pytest.mark.parametrize("name", ["extract", "encode", "index images", "action fit", "retrieval fit"])
def test_a_read_only_disk_is_told(commands, jobs, content, mount, name):
    place = mount("ro")
    one_line(
        commands.run(jobs[name].writing(place)), place / jobs[name].out, "cannot be written: Read-only file system"
    )
    assert content(place) == {}


# -- two jobs --------------------------------------------------------------------------------------

HOLDS = """
import sys, time
from pathlib import Path
from rnnfv.storage import atomic_file, atomic_folder
with (atomic_folder if sys.argv[1] == "folder" else atomic_file)(Path(sys.argv[2])) as temporary:
    print("holds", flush=True)
    time.sleep(1000)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_second_writer_is_refused_and_a_crash_lets_go(tmp_path, content, kind):
    atomic = atomic_folder if kind == "folder" else atomic_file
    target = tmp_path / "target"
    holder = subprocess.Popen([sys.executable, "-c", HOLDS, kind, target], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"holds\n"
    with pytest.raises(BlockingIOError, match=f"another program is writing to {target}: try again"), atomic(target):
        pass
    holder.kill()
    holder.communicate()
    assert list(content(tmp_path)) != []  # what it was writing
    with atomic(target) as temporary:
        (temporary / "new" if kind == "folder" else temporary).write_text("new")
    assert set(content(tmp_path)) == ({"target", "target/new"} if kind == "folder" else {"target"})


def test_many_writers_in_turn_leave_one_whole_file(tmp_path, content):
    """Programs that all write the same file: each time one of them succeeds, the others are told."""
    code = (
        "import sys\nfrom rnnfv.storage import atomic_file\nrefused = 0\n"
        "for i in range(300):\n"
        "    try:\n"
        "        with atomic_file(sys.argv[1]) as temporary:\n"
        "            temporary.write_text(sys.argv[2] * 10_000)\n"
        "    except BlockingIOError:\n"
        "        refused += 1\n"
        "print(refused)"
    )
    path = tmp_path / "file"
    writers = [
        subprocess.Popen([sys.executable, "-c", code, path, letter], stdout=subprocess.PIPE, text=True)
        for letter in "abc"
    ]
    told = [writer.communicate()[0] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert all(0 <= int(each) < 300 for each in told)
    text = path.read_text()
    assert text in [letter * 10_000 for letter in "abc"]
    assert list(content(tmp_path)) == ["file"]


@pytest.mark.parametrize(
    ("name", "lock"),
    [
        ("extract", "features/.lock"),
        ("encode", ".vectors.npy.lock"),
        ("index images", "index/.job.lock"),
        ("action fit", "model.unfinished/.lock"),
        ("retrieval fit", "model.unfinished/.lock"),
    ],
)
def test_two_jobs_on_one_output(commands, jobs, undisturbed, content, tmp_path, name, lock):
    job = jobs[name]
    Path(tmp_path / lock).parent.mkdir(exist_ok=True)
    with FileLock(tmp_path / lock):
        ended = commands.run(job.writing(tmp_path), constants=job.constants)
    one_line(ended, f"another program is writing to {tmp_path / job.out}: try again when it is done")
    assert commands.run(job.writing(tmp_path), constants=job.constants).code == 0
    assert content(tmp_path) == undisturbed(name)[1]
