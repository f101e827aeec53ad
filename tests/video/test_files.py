"""Finding videos, and their ids."""

import os

import pytest

from rnnfv.video.files import find_pictures, find_videos, full_id, image_files, item_id, item_ids


def fill(root, names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def found(root):
    return [path.relative_to(root).as_posix() for path in find_videos(root)]


def test_videos_are_found_at_any_depth_and_sorted(tmp_path):
    fill(tmp_path, ["b/2.avi", "b/10.MP4", "a.mkv", "c/d/e.webm", "c/readme.txt", "features/part-00000.parquet"])
    assert found(tmp_path) == ["a.mkv", "b/10.MP4", "b/2.avi", "c/d/e.webm"]


def test_hidden_files_and_folders_are_passed_by(tmp_path):
    assert found(fill(tmp_path, ["a.avi", ".b.avi", ".c/d.avi", "e/.f/1.png"])) == ["a.avi"]


def test_a_folder_of_images_is_one_item(tmp_path):
    assert found(fill(tmp_path, ["x/v1/1.jpg", "x/v1/2.jpg", "x/v2.0/1.PNG", "y/1.avi"])) == [
        "x/v1",
        "x/v2.0",
        "y/1.avi",
    ]
    assert found(tmp_path / "x" / "v1") == ["."]


def test_images_beside_videos_are_no_item(tmp_path):
    assert found(fill(tmp_path, ["a.avi", "cover.jpg", "sub/1.jpg"])) == ["a.avi", "sub"]


def test_links_to_videos_count_and_to_folders_do_not(tmp_path):
    fill(tmp_path, ["store/a.avi", "root/b.avi"])
    (tmp_path / "root" / "link.avi").symlink_to(tmp_path / "store" / "a.avi")
    (tmp_path / "root" / "circle").symlink_to(tmp_path / "root", target_is_directory=True)
    assert found(tmp_path / "root") == ["b.avi", "link.avi"]


def test_what_cannot_be_listed_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        find_videos(tmp_path / "nowhere")
    (tmp_path / "closed").mkdir(mode=0)
    if not os.access(tmp_path / "closed", os.R_OK):  # root may list everything
        with pytest.raises(PermissionError, match="closed"):
            find_videos(tmp_path)


def test_pictures_are_found_one_by_one(tmp_path):
    names = ["a.JPG", "b.avi", "c.gif", "d/1.png", "d/e/2.webp", "d/.3.png", ".f/4.png", "notes.txt"]
    paths = find_pictures(fill(tmp_path, names))
    assert [full_id(tmp_path, path) for path in paths] == ["a.JPG", "c.gif", "d/1.png", "d/e/2.webp"]
    assert full_id(tmp_path, tmp_path) == tmp_path.name
    assert find_pictures(tmp_path / "d" / "e") == [tmp_path / "d" / "e" / "2.webp"]


def test_an_id_is_the_path_without_suffix(tmp_path):
    fill(tmp_path, ["A/v_A_g08_c01.avi", "A/take.2.mp4", "B/frames.v1/1.png"])
    assert item_id(tmp_path, tmp_path / "A" / "v_A_g08_c01.avi") == "A/v_A_g08_c01"
    assert item_id(tmp_path, tmp_path / "A" / "take.2.mp4") == "A/take.2"
    assert item_id(tmp_path, tmp_path / "B" / "frames.v1") == "B/frames.v1"
    assert item_id(tmp_path, tmp_path) == tmp_path.name


def test_a_name_that_cannot_be_written_down_is_no_id(tmp_path):
    with pytest.raises(ValueError, match=r"the name '\\udcff.avi' is not valid UTF-8: rename it"):
        item_id(tmp_path, tmp_path / "\udcff.avi")
    with pytest.raises(ValueError, match=r"the name '\\udcff.jpg' is not valid UTF-8: rename it"):
        full_id(tmp_path, tmp_path / "\udcff.jpg")


def test_ids_that_would_be_shared_keep_the_suffix(tmp_path):
    names = ["a.avi", "a.avi.mp4", "a.mp4", "b.mkv", "c/1.png", "c.avi", "sub/a.avi"]
    root = fill(tmp_path, names)
    ids = dict(zip(found(root), item_ids(root, find_videos(root)), strict=True))
    assert ids == {
        "a.avi": "a.avi",
        "a.mp4": "a.mp4",
        "a.avi.mp4": "a.avi.mp4",
        "b.mkv": "b",
        "c": "c",
        "c.avi": "c.avi",
        "sub/a.avi": "sub/a",
    }


def test_images_come_in_natural_order(tmp_path):
    names = ["1.png", "f1.png", "f02.png", "f2.png", "f10a.png", "f10b.png", "f²3.png"]
    fill(tmp_path, [*names, "no.txt", ".f3.png"])
    assert [path.name for path in image_files(tmp_path)] == names
