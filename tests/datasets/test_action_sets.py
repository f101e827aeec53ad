"""UCF101 and HMDB51: the official lists where they are, and small made ones with every trap."""

import os
from pathlib import Path

import numpy as np
import pytest

from rnnfv.datasets.hmdb51 import hmdb51_manifest
from rnnfv.datasets.manifest import Manifest, overlapping_groups, read_manifest, write_manifest
from rnnfv.datasets.ucf101 import ucf101_manifest

OFFICIAL = Path(os.environ.get("RNNFV_DATA", "../shared/data")) / "splits"


@pytest.fixture
def official():
    if not OFFICIAL.is_dir():
        pytest.skip(f"no {OFFICIAL}: set RNNFV_DATA to where the data are")
    return OFFICIAL


def counts(manifest):
    return [[int((manifest.splits[name] == part).sum()) for part in ("train", "test")] for name in manifest.splits]


def row(manifest, name):
    [i] = np.flatnonzero(manifest.ids == name)
    return manifest.labels[i], manifest.groups[i], [str(parts[i]) for parts in manifest.splits.values()]


# -- manifests -------------------------------------------------------------------------------------


@pytest.mark.parametrize("paths", [None, ["a/x, y.avi", "", 'b/"é".avi']])
def test_a_written_manifest_is_read_back(tmp_path, paths):
    columns = [np.array(column) for column in (["a/x, y", "b", "ü"], ["l", "m", "m"], ["g", "b", "g"])]
    splits = {"split1": np.array(["train", "test", ""]), "split2": np.array(["", "train", "test"])}
    written = Manifest(*columns, splits, None if paths is None else np.array(paths))
    write_manifest(tmp_path / "new" / "m.csv", written)
    read = read_manifest(tmp_path / "new" / "m.csv")
    for name in ("ids", "labels", "groups"):
        assert getattr(read, name).tolist() == getattr(written, name).tolist()
    assert {name: parts.tolist() for name, parts in read.splits.items()} == {k: v.tolist() for k, v in splits.items()}
    assert (read.paths is None) if paths is None else (read.paths.tolist() == paths)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["m.csv"]


def test_a_manifest_that_cannot_be_written_leaves_the_old_one(tmp_path):
    (tmp_path / "m.csv").write_text("old")
    columns = [np.array(["a", "b"])] * 3
    with pytest.raises(ValueError, match="shorter"):
        write_manifest(tmp_path / "m.csv", Manifest(*columns, {"split1": np.array(["train"])}))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_overlapping_groups_are_those_on_both_sides():
    groups = np.array(["z", "z", "a", "a", "b", "c", "c", "d", "d"])
    parts = np.array(["train", "test", "test", "train", "train", "train", "", "test", "test"])
    manifest = Manifest(np.arange(9).astype(str), groups, groups, {"split1": parts, "split2": np.full(9, "train")})
    assert overlapping_groups(manifest, "split1") == ["a", "z"]
    assert overlapping_groups(manifest, "split2") == []


# -- UCF101 ----------------------------------------------------------------------------------------

UCF = {
    "classInd.txt": "1 Archery\r\n2 HandstandPushups\r\n\r\n",
    "trainlist01.txt": "Archery/v_Archery_g01_c01.avi 1\r\nHandstandPushups/v_HandStandPushups_g01_c01.avi 2\r\n",
    "testlist01.txt": "Archery/v_Archery_g02_c01.avi\r\nHandstandPushups/v_HandStandPushups_g02_c03.avi  \r\n \r\n",
    "trainlist02.txt": "Archery/v_Archery_g02_c01.avi 1\nHandstandPushups/v_HandstandPushups_g02_c03.avi 2",
    "testlist02.txt": "HandStandPushups/v_HandstandPushups_g01_c01.avi\n",
    "trainlist03.txt": "Archery/v_Archery_g01_c01.avi 1 \n",
    "testlist03.txt": "",
}


def ucf_lists(folder, **changed):
    folder.mkdir(exist_ok=True)
    for name, text in UCF.items():
        (folder / name).write_bytes(changed.get(name.removesuffix(".txt"), text).encode())
    return folder


def make_videos(folder, paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    return folder


def test_ucf101_is_the_published_set(official, tmp_path):
    manifest = ucf101_manifest(official / "ucf101")
    assert (len(manifest.ids), len(set(manifest.ids.tolist())), len(set(manifest.labels.tolist()))) == (
        13320,
        13320,
        101,
    )
    assert counts(manifest) == [[9537, 3783], [9586, 3734], [9624, 3696]]
    assert len(set(manifest.groups.tolist())) == 25 * 101
    assert [overlapping_groups(manifest, name) for name in manifest.splits] == [[], [], []]
    clip = row(manifest, "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01")
    assert clip == ("ApplyEyeMakeup", "ApplyEyeMakeup_g08", ["train", "test", "train"])
    assert sum(manifest.labels == "HandstandPushups") == 128
    assert all(f"{name}.avi" == path for name, path in zip(manifest.ids, manifest.paths, strict=True))
    write_manifest(tmp_path / "ucf101.csv", manifest)
    np.testing.assert_array_equal(read_manifest(tmp_path / "ucf101.csv").paths, manifest.paths)


def test_ucf101_in_two_spellings_and_line_ends_is_one_set(tmp_path):
    manifest = ucf101_manifest(ucf_lists(tmp_path / "lists"))
    assert manifest.ids.tolist() == [
        "Archery/v_Archery_g01_c01",
        "Archery/v_Archery_g02_c01",
        "HandstandPushups/v_HandStandPushups_g01_c01",
        "HandstandPushups/v_HandStandPushups_g02_c03",
    ]
    assert manifest.labels.tolist() == ["Archery"] * 2 + ["HandstandPushups"] * 2
    assert manifest.groups.tolist() == ["Archery_g01", "Archery_g02", "HandstandPushups_g01", "HandstandPushups_g02"]
    assert {name: parts.tolist() for name, parts in manifest.splits.items()} == {
        "split1": ["train", "test", "train", "test"],
        "split2": ["", "train", "test", "train"],
        "split3": ["train", "", "", ""],
    }


@pytest.mark.parametrize(("folder", "stem"), [("HandstandPushups", "HandStand"), ("HandStandPushups", "Handstand")])
def test_ucf101_videos_are_found_however_they_are_spelt(tmp_path, folder, stem):
    real = [f"Archery/v_Archery_g0{i}_c01.avi" for i in (1, 2)]
    real += [f"{folder}/v_{stem}Pushups_{clip}.avi" for clip in ("g01_c01", "g02_c03")]
    videos = make_videos(tmp_path / "videos", [*real, "Archery/notes.txt"])
    (videos / "readme.txt").touch()
    manifest = ucf101_manifest(ucf_lists(tmp_path / "lists"), videos)
    assert manifest.paths.tolist() == real
    assert manifest.ids[2] == "HandstandPushups/v_HandStandPushups_g01_c01"


def test_missing_videos_are_counted_and_the_first_is_named(tmp_path):
    videos = make_videos(tmp_path / "videos", ["Archery/v_Archery_g01_c01.avi"])
    with pytest.raises(
        FileNotFoundError, match=r"3 of 4 videos are missing, the first is Archery/v_Archery_g02_c01.avi"
    ):
        ucf101_manifest(ucf_lists(tmp_path / "lists"), videos)
    with pytest.raises(FileNotFoundError, match="4 of 4 videos are missing"):
        ucf101_manifest(tmp_path / "lists", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"classInd": "1 Archery\nHandstandPushups\n"}, "classInd.txt, line 2: 'HandstandPushups' is not a number and"),
        ({"testlist02": "\nArchery/v_Bowling_g01_c01.avi"}, "testlist02.txt, line 2: .* is not a clip"),
        ({"testlist02": "Archery/v_Archery_g01_c01.mp4"}, "testlist02.txt, line 1: .* is not a clip"),
        ({"testlist02": "Kayak/v_Kayak_g01_c01.avi"}, "testlist02.txt, line 1: classInd.txt has no class 'Kayak'"),
        ({"trainlist03": "Archery/v_Archery_g01_c01.avi 2"}, "trainlist03.txt, line 1: its class number, 1, must"),
        ({"trainlist03": "Archery/v_Archery_g01_c01.avi"}, "trainlist03.txt, line 1: its class number, 1, must"),
        ({"testlist01": "Archery/v_Archery_g02_c01.avi 1"}, "testlist01.txt, line 1: nothing must .* there is '1'"),
        ({"testlist01": "Archery/v_archery_g01_c01.avi"}, "testlist01.txt, line 1: .* a second time in split1"),
    ],
)
def test_wrong_lines_of_ucf101_are_named(tmp_path, changed, message):
    with pytest.raises(ValueError, match=message) as caught:
        ucf101_manifest(ucf_lists(tmp_path / "lists", **changed))
    assert "\n" not in str(caught.value)


def test_a_missing_list_is_named(tmp_path):
    (ucf_lists(tmp_path / "lists") / "testlist02.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"testlist02.txt is missing: give the folder"):
        ucf101_manifest(tmp_path / "lists")


# -- HMDB51 ----------------------------------------------------------------------------------------

HMDB = {  # clip: its flag in each split
    "sword": {
        "Two_Towers_1_sword_f_cm_np2_ri_med_0.avi": "120",
        "the_sword_fight_sword_u_nm_np1_fr_goo_12.avi": "211",
    },
    "draw_sword": {
        "the_sword_fight_draw_sword_f_cm_np1_ba_bad_3.avi": "110",
        "(a)_[b]_#1!_draw_sword_draw_sword_h_cm_np1_le_bad_0.avi": "002",
    },
}


def hmdb_lists(folder, end="\n"):
    folder.mkdir(exist_ok=True)
    for label, clips in HMDB.items():
        for i in range(3):
            text = "".join(f"{name} {flags[i]} {end}" for name, flags in clips.items())
            (folder / f"{label}_test_split{i + 1}.txt").write_bytes(text.encode())
    (folder / "class_list.txt").write_text("draw_sword\nsword\n")
    return folder


def test_hmdb51_is_the_published_set(official):
    manifest = hmdb51_manifest(official / "hmdb51")
    assert (len(manifest.ids), len(set(manifest.ids.tolist())), len(set(manifest.labels.tolist()))) == (6766, 6766, 51)
    assert counts(manifest) == [[3570, 1530]] * 3
    for parts in manifest.splits.values():
        for label in set(manifest.labels.tolist()):
            assert [(parts[manifest.labels == label] == part).sum() for part in ("train", "test")] == [70, 30]
    clip = row(manifest, "brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0")
    assert clip[:2] == ("brush_hair", "April_09")
    assert row(manifest, "wave/21_wave_u_nm_np1_fr_goo_5") == ("wave", "21", ["train", "test", "train"])


def test_hmdb51_films_are_on_both_sides_but_never_within_a_class(official):
    manifest = hmdb51_manifest(official / "hmdb51")
    assert [len(overlapping_groups(manifest, name)) for name in manifest.splits] == [133, 149, 144]
    by_class = np.char.add(np.char.add(manifest.labels, "/"), manifest.groups)
    within = Manifest(manifest.ids, manifest.labels, by_class, manifest.splits)
    assert [overlapping_groups(within, name) for name in manifest.splits] == [[], [], []]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_hmdb51_groups_are_films_and_flags_are_parts(tmp_path, end):
    manifest = hmdb51_manifest(hmdb_lists(tmp_path / "lists", end))
    assert len(manifest.ids) == 4
    assert row(manifest, "sword/Two_Towers_1_sword_f_cm_np2_ri_med_0") == (
        "sword",
        "Two_Towers_1",
        ["train", "test", ""],
    )
    one = row(manifest, "sword/the_sword_fight_sword_u_nm_np1_fr_goo_12")
    other = row(manifest, "draw_sword/the_sword_fight_draw_sword_f_cm_np1_ba_bad_3")
    assert one == ("sword", "the_sword_fight", ["test", "train", "train"])
    assert other == ("draw_sword", "the_sword_fight", ["train", "train", ""])
    assert row(manifest, "draw_sword/(a)_[b]_#1!_draw_sword_draw_sword_h_cm_np1_le_bad_0") == (
        "draw_sword",
        "(a)_[b]_#1!_draw_sword",
        ["", "", "test"],
    )
    assert overlapping_groups(manifest, "split1") == ["the_sword_fight"]


def test_hmdb51_videos_are_looked_for(tmp_path):
    lists = hmdb_lists(tmp_path / "lists")
    paths = [f"{label}/{name}" for label in sorted(HMDB) for name in sorted(HMDB[label], key=str.lower)]
    videos = make_videos(tmp_path / "videos", paths)
    assert hmdb51_manifest(lists, videos).paths.tolist() == paths
    (videos / paths[2]).unlink()
    with pytest.raises(FileNotFoundError, match="1 of 4 videos are missing, the first is sword/the_sword_fight"):
        hmdb51_manifest(lists, videos)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Two_Towers_1_sword_f_cm_np2_ri_med_0.avi 3", "sword_test_split2.txt, line 3: .* is not a clip and a flag"),
        ("Two_Towers_1_sword_f_cm_np2_ri_med_0.avi", "sword_test_split2.txt, line 3: .* is not a clip and a flag"),
        ("Two_Towers_1_wave_f_cm_np2_ri_med_0.avi 1", "line 3: .* is not a clip of sword"),
        ("_sword_f_cm_np2_ri_med_0.avi 1", "line 3: .* is not a clip of sword"),
        ("Two_Towers_1_sword_f_cm_np2_ri_med_0.avi 1", "line 3: .* a second time in split2"),
    ],
)
def test_wrong_lines_of_hmdb51_are_named(tmp_path, line, message):
    with (hmdb_lists(tmp_path / "lists") / "sword_test_split2.txt").open("a") as file:
        file.write(line)
    with pytest.raises(ValueError, match=message) as caught:
        hmdb51_manifest(tmp_path / "lists")
    assert "\n" not in str(caught.value)


def test_missing_lists_of_hmdb51_are_named(tmp_path):
    (hmdb_lists(tmp_path / "lists") / "sword_test_split3.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"sword_test_split3.txt is missing"):
        hmdb51_manifest(tmp_path / "lists")
    with pytest.raises(FileNotFoundError, match="there are no lists"):
        hmdb51_manifest(tmp_path)


def test_what_is_no_text_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a file: give a CSV"):
        read_manifest(tmp_path)
    (tmp_path / "latin.csv").write_bytes("id,label,split1\né,a,train\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.csv is not UTF-8 \(byte 16\)"):
        read_manifest(tmp_path / "latin.csv")
