"""Improved dense trajectories: every column, both layouts, damaged files, samples."""

import gzip
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnfv.video.trajectories import DESCRIPTORS, load_descriptors, read_trajectories, sample_descriptors

WHERE = {"trajectory": (10, 40), "hog": (40, 136), "hof": (136, 244), "mbhx": (244, 340), "mbhy": (340, 436)}


def lines(rows, positions=False, separator="\t", end="\t\n"):
    """Text as the program writes it: the frame as an integer, a tab behind each number."""
    text = []
    for row in rows:
        words = [f"{int(row[0])}", *(f"{value:f}" for value in row[1:10])]
        words += ["-77.5"] * 30 if positions else []
        text.append(separator.join([*words, *(f"{value:.7f}" for value in row[10:])]) + end)
    return text


@pytest.fixture(scope="module")
def rows():
    """37 trajectories of numbers that the text holds exactly; their frames rise."""
    rng = np.random.default_rng(3)
    rows = rng.integers(-512, 512, (37, 436)) / 64
    rows[:, 0] = np.sort(rng.integers(15, 30, 37))
    return rows


@pytest.fixture(scope="module")
def clip(rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("idt") / "clip.txt"
    path.write_text("".join(lines(rows)))
    return path


def check(descriptors, rows):
    assert list(descriptors) == list(WHERE) == list(DESCRIPTORS)
    for name, (start, stop) in WHERE.items():
        assert descriptors[name].dtype == np.float32
        assert descriptors[name].flags.c_contiguous
        np.testing.assert_array_equal(descriptors[name], rows[:, start:stop])


def test_every_number_is_in_its_place(clip, rows):
    check(load_descriptors(clip), rows)
    [block] = read_trajectories(clip)
    np.testing.assert_array_equal(block["info"], rows[:, :10])


@pytest.mark.parametrize(
    "layout",
    [
        {"positions": True},
        {"positions": True, "separator": " ", "end": "\n"},
        {"separator": " ", "end": "\r\n"},
        {"separator": "  \t", "end": " \t \n"},
        {"end": "\n\n"},
    ],
)
def test_both_layouts_and_any_blanks_give_the_same(tmp_path, rows, layout):
    (tmp_path / "clip.txt").write_text("".join(lines(rows, **layout)), newline="")
    check(load_descriptors(tmp_path / "clip.txt"), rows)


def test_a_compressed_file_and_comments_give_the_same(tmp_path, rows):
    text = "# DenseTrackStab -L 15\n%frame\tmean_x\n\n" + "".join(lines(rows)).rstrip()
    with gzip.open(tmp_path / "clip.txt.gz", "wt") as file:
        file.write(text)
    check(load_descriptors(tmp_path / "clip.txt.gz"), rows)


@settings(max_examples=40, deadline=None)
@given(block=st.integers(1, 60))
def test_blocks_of_any_size_agree(clip, rows, block):
    blocks = list(read_trajectories(clip, block))
    assert [len(part) for part in blocks[:-1]] == [block] * (math.ceil(len(rows) / block) - 1)
    np.testing.assert_array_equal(np.concatenate([part["mbhx"] for part in blocks]), rows[:, 244:340])


def test_the_order_is_that_of_frames_and_within_a_frame_that_of_lines(tmp_path, rows):
    shuffled = np.random.default_rng(0).permutation(rows)
    (tmp_path / "clip.txt").write_text("".join(lines(shuffled)))
    wanted = np.array(sorted(shuffled.tolist(), key=lambda row: row[0]))
    check(load_descriptors(tmp_path / "clip.txt"), wanted)


# -- what is wrong with a file ---------------------------------------------------------------------


def broken(text, number, change):
    """The text with one line changed; the others stay."""
    return "".join(change(line) if i == number else line for i, line in enumerate(text, start=1))


@pytest.mark.parametrize(
    ("number", "change", "message"),
    [
        (5, lambda line: line[:500] + "\n", r"line 5: \d+ numbers, but the lines before it have 436"),
        (37, lambda line: line[: len(line) // 2], r"line 37: \d+ numbers, but the lines before it have 436"),
        (9, lambda line: "1 " + line, "line 9: 437 numbers, but"),
        (6, lambda line: line + line.replace("\n", "") + line, "line 7: 872 numbers, but"),
        (2, lambda line: line.replace(line.split()[50], "nan", 1), "line 2: 'nan' is not a finite number"),
        (2, lambda line: "-inf" + line[2:], "line 2: '-inf' is not a finite number"),
        (3, lambda line: "x1" + line[2:], "line 3: 'x1' is not a finite number"),
        (3, lambda line: "1_1" + line[2:], "line 3: '1_1' is not a finite number"),
        (3, lambda line: "#1" + line[2:], "line 3: '#1' is not a finite number"),
        (3, lambda line: "1é" + line[2:], "line 3: '1\ufffd+' is not a finite number"),
        (1, lambda line: line[:300] + "\n", r"line 1: \d+ numbers, but a trajectory of DenseTrackStab has 436, or 466"),
        (1, lambda line: "Usage: DenseTrackStab\n" + line, "line 1: 2 numbers"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, rows, number, change, message):
    (tmp_path / "clip.txt").write_text(broken(lines(rows), number, change), encoding="utf-8")
    for block in (4, 1024):
        with pytest.raises(ValueError, match=rf"clip\.txt, {message}") as caught:
            list(read_trajectories(tmp_path / "clip.txt", block))
        assert "\n" not in str(caught.value)


def test_the_layouts_do_not_mix(tmp_path, rows):
    text = lines(rows[:3]) + lines(rows[:1], positions=True)
    (tmp_path / "clip.txt").write_text("".join(text))
    with pytest.raises(ValueError, match="line 4: 466 numbers, but the lines before it have 436"):
        load_descriptors(tmp_path / "clip.txt")


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing moved\n"])
def test_an_empty_file_is_refused(tmp_path, text):
    (tmp_path / "clip.txt").write_text(text)
    with pytest.raises(ValueError, match=r"clip\.txt: there are no trajectories in it"):
        load_descriptors(tmp_path / "clip.txt")


@pytest.mark.parametrize("damage", [lambda data: data[:-40], lambda data: b"12 13", lambda data: data[:60] + b"x" * 99])
def test_a_damaged_archive_is_named(tmp_path, rows, damage):
    (tmp_path / "clip.txt.gz").write_bytes(damage(gzip.compress("".join(lines(rows)).encode())))
    with pytest.raises(ValueError, match=r"clip\.txt\.gz: the compressed file is damaged or cut off"):
        load_descriptors(tmp_path / "clip.txt.gz")


def test_arguments_that_mean_nothing_are_refused(clip):
    with pytest.raises(ValueError, match="block is 0"):
        list(read_trajectories(clip, 0))
    with pytest.raises(ValueError, match="a sample of 0"):
        load_descriptors(clip, max_steps=0)
    with pytest.raises(FileNotFoundError):
        load_descriptors(clip.with_name("other.txt"))


# -- samples ---------------------------------------------------------------------------------------


def test_a_sample_is_rows_of_the_file_in_order(clip, rows):
    sample = load_descriptors(clip, 10, random_state=0)
    chosen = [np.flatnonzero((rows[:, 40:136] == hog).all(axis=1))[0] for hog in sample["hog"]]
    assert len(set(chosen)) == 10
    assert chosen == sorted(chosen)
    check(sample, rows[chosen])
    check(load_descriptors(clip, 10, random_state=0), rows[chosen])
    assert not np.array_equal(load_descriptors(clip, 10, random_state=1)["hog"], sample["hog"])
    check(load_descriptors(clip, 100, random_state=0), rows)


def test_a_sample_of_many_files_draws_from_all_alike(tmp_path):
    paths = []
    for i, count in enumerate((30, 2, 8)):
        rows = np.full((count, 436), float(i))
        rows[:, 10] = np.arange(count)
        paths.append(tmp_path / f"{i}.txt")
        paths[-1].write_text("".join(lines(rows, positions=i == 1)))
    taken = np.zeros((3, 30))
    for seed in range(300):
        sample = sample_descriptors(paths, 4, seed)
        assert len(sample["hog"]) == 4
        np.add.at(taken, (sample["hog"][:, 0].astype(int), sample["trajectory"][:, 0].astype(int)), 1)
    # 40 trajectories, each expected 300 * 4 / 40 = 30 times: four standard deviations of a binomial are 21.
    drawn = np.concatenate([taken[i, :count] for i, count in enumerate((30, 2, 8))])
    assert drawn.sum() == 1200
    assert np.abs(drawn - 30).max() < 21


def test_memory_does_not_grow_with_the_file(tmp_path, rows):
    def peak(function):
        tracemalloc.start()
        function()
        memory = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return memory

    for repeats in (60, 120):  # 2,220 and 4,440 lines: 8 and 16 MB of text, 4 and 8 MB of numbers
        with (tmp_path / f"{repeats}.txt").open("w") as file:
            file.writelines(lines(rows) * repeats)
    assert peak(lambda: sum(len(block) for block in read_trajectories(tmp_path / "120.txt", 64))) < 2e6
    short, long = (peak(lambda n=n: load_descriptors(tmp_path / f"{n}.txt", 50, 0)) for n in (60, 120))
    assert long < 1.05 * short
