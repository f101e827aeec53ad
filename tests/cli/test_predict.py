"""From videos to a recogniser, and from other videos to classes, on the command line."""

import json
import shutil
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from rnnfv.cli.app import main
from rnnfv.cli.fit import run_fit
from rnnfv.cli.predict import run_predict
from rnnfv.recipes.action import Settings
from rnnfv.recipes.explaining import find_moments
from rnnfv.recipes.extraction import extract_features
from rnnfv.recipes.prediction import predict_videos
from rnnfv.recipes.recognizer import ActionRecognizer, load_recognizer
from rnnfv.storage import ModelFolderError, read_all_features
from rnnfv.video.backbones import make_backbone
from rnnfv.video.decode import Sampling

av = pytest.importorskip("av")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

# Gives the mean colour of each quarter of an 8 x 8 image: 12 numbers, colour after colour.
ONNX = Path(__file__).parents[1] / "fixtures" / "quarters.onnx"
CLASSES = ("left [fast]", "right", "down")
SETTINGS = Settings(poolings=("rnn-fv-kron",), deltas=(1,), max_epochs=1, hidden_size=8, projection_size=8)


def movement(label, seed):
    """A bright square on a noisy ground goes to the left, to the right, or down: 41 frames, 25 a second."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 60, (41, 48, 48, 3), dtype=np.uint8)
    across = rng.integers(6, 26)
    for i, frame in enumerate(frames):
        along = 4 + (i * 32) // 41
        top, left = {"left [fast]": (across, 36 - along), "right": (across, along), "down": (along, across)}[label]
        frame[top : top + 12, left : left + 12] = (250, 220, 40)
    return frames


@pytest.fixture(scope="module")
def made(tmp_path_factory, write_video):
    """A model, fitted on features of made videos, and the features."""
    folder = tmp_path_factory.mktemp("made")
    lines = ["id,label,split1"]
    for i in range(24):
        write_video(folder / "videos" / f"v{i:02d}.avi", movement(CLASSES[i % 3], i))
        lines.append(f"v{i:02d},{CLASSES[i % 3]},train")
    write_video(folder / "short.avi", 5)
    (folder / "m.csv").write_text("\n".join(lines) + "\n")
    backbone = make_backbone(f"onnx:{ONNX}", device="cpu")
    extract_features(folder / "videos", backbone, folder / "features", sampling=Sampling(every=4), workers=0)
    run_fit(folder / "features", folder / "m.csv", folder / "model", SETTINGS, weights=ONNX)
    return folder


@pytest.fixture
def videos(tmp_path, write_video):
    for i, label in enumerate(CLASSES):
        write_video(tmp_path / "new" / label / "1.avi", movement(label, 100 + i))
    return [tmp_path / "new" / label / "1.avi" for label in CLASSES]


# -- predict_videos --------------------------------------------------------------------------------


def predicted(recognizer, paths, **options):
    """In the order of the paths."""
    found = dict(predict_videos(recognizer, paths, **{"device": "cpu", "workers": 0} | options))
    return [found[i] for i in range(len(paths))]


def test_videos_are_named(made, videos):
    predictions = predicted(load_recognizer(made / "model"), videos)
    assert [each.path for each in predictions] == videos
    assert [each.classes[0] for each in predictions] == list(CLASSES)
    for each in predictions:
        assert (sorted(each.classes), each.reason, each.has_failed) == (sorted(CLASSES), "", False)
        assert each.scores == sorted(each.scores, reverse=True)
        assert each.explanation is None


def test_a_video_has_the_scores_of_its_features(made):
    recognizer, shard = load_recognizer(made / "model"), read_all_features(made / "features")
    paths = [made / "videos" / f"{name}.avi" for name in shard.ids]
    scores = recognizer.scores(shard.sequences)
    for each, row in zip(predicted(recognizer, paths, workers=1), scores, strict=True):
        assert_allclose(each.scores, np.sort(row)[::-1], rtol=1e-4, atol=1e-4)
        assert each.classes == recognizer.classes[np.argsort(-row)].tolist()


def test_what_cannot_be_read_is_a_row_with_a_reason(made, videos, tmp_path):
    (tmp_path / "text.avi").write_text("no video")
    whole = videos[0].read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) * 3 // 4])
    (tmp_path / "none").mkdir()
    paths = [tmp_path / "text.avi", videos[1], tmp_path / "cut.avi", tmp_path / "gone.avi", tmp_path / "none"]
    bad, good, cut, gone, none = predicted(load_recognizer(made / "model"), paths)
    assert [each.has_failed for each in (bad, good, cut, gone, none)] == [True, False, False, True, True]
    assert "cannot be opened as a video" in bad.reason
    assert "of 41 frames could be decoded" in cut.reason
    assert cut.classes[0] == CLASSES[0]
    assert "there is no such file" in gone.reason
    assert "no image file" in none.reason
    assert (bad.classes, bad.scores) == ([], [])


def test_a_video_is_explained(made, videos):
    recognizer = load_recognizer(made / "model")
    (found,) = predicted(recognizer, videos[:1], explained=True)
    assert found.explanation.label == found.classes[0]
    assert found.explanation.decision == pytest.approx(found.scores[0], rel=1e-5)
    assert found.moments.frames.tolist() == list(range(0, 41, 4))
    assert_allclose(found.moments.seconds, np.arange(0, 41, 4) / 25)
    assert sorted(found.moments.images) == found.explanation.strongest(8).tolist()


def test_a_video_that_cannot_be_read_again_keeps_its_classes(made, videos, monkeypatch):
    def spoilt(path, *rest):
        if path == videos[1]:
            path.write_bytes(b"")
        if path == videos[2]:
            shutil.copy(made / "short.avi", path)
        return find_moments(path, *rest)

    monkeypatch.setattr("rnnfv.recipes.prediction.find_moments", spoilt)
    whole, gone, other = predicted(load_recognizer(made / "model"), videos, explained=True)
    assert whole.explanation is not None
    assert gone.reason == f"not explained: {videos[1]}: the file is empty: copy it again, or leave it out"
    assert other.reason.startswith(f"not explained: {videos[2]}: has fewer frames than when it was read before")
    for each, label in ((gone, CLASSES[1]), (other, CLASSES[2])):
        assert (each.classes[0], each.has_failed, each.explanation, each.moments) == (label, False, None, None)


def test_what_the_recogniser_cannot_do_is_refused_first(made, videos, monkeypatch):
    monkeypatch.setattr("rnnfv.recipes.prediction.read_features_of", lambda *_: pytest.fail("read"))
    recognizer = load_recognizer(made / "model")
    with pytest.raises(ValueError, match="has no backbone"):
        predicted(ActionRecognizer(recognizer.pipeline), videos)
    with pytest.raises(ValueError, match="give them with --weights"):
        predicted(replace(recognizer, weights=None), videos)


# -- the commands ----------------------------------------------------------------------------------


def test_predict_prints_and_writes(made, videos, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    (tmp_path / "new" / "bad.mp4").write_text("no video")
    out, pictures = tmp_path / "out.json", tmp_path / "pictures"
    found = run_predict(made / "model", [tmp_path / "new"], figures=out, explain=pictures, device="cpu", workers=0)
    assert found == 1
    printed = capsys.readouterr().out
    for words in (
        *map(str, videos),
        *CLASSES,
        "They are no probabilities",
        "failed: ",
        "that spoke most for left [fast]",
    ):
        assert words in printed
    written = json.loads(out.read_text())
    assert written["model"] == str(made / "model")
    rows = {row["path"]: row for row in written["videos"]}
    assert rows[str(tmp_path / "new" / "bad.mp4")]["failed"]
    assert "explanation" not in rows[str(tmp_path / "new" / "bad.mp4")]
    for video, label in zip(videos, CLASSES, strict=True):
        row = rows[str(video)]
        assert (row["classes"][0], len(row["scores"]), row["failed"]) == (label, 3, False)
        why = row["explanation"]
        assert why["class"] == label
        assert sum(why["shares"]) + why["constant"] == pytest.approx(why["score"])
        assert why["seconds"] == pytest.approx([frame / 25 for frame in why["frames"]])
        picture = pictures / label / "1.avi.png"
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert f"Picture: {picture}" in printed


def test_what_cannot_be_explained_is_told_and_the_rest_goes_on(made, videos, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")

    def spoilt(path, *rest):
        if path == videos[0]:
            path.unlink()
        return find_moments(path, *rest)

    monkeypatch.setattr("rnnfv.recipes.prediction.find_moments", spoilt)
    out, pictures = tmp_path / "out.json", tmp_path / "pictures"
    options = ["--model", made / "model", "--explain", pictures, "--json", out, "--device", "cpu", "--workers", 0]
    with pytest.raises(SystemExit) as stopped:
        main([str(part) for part in ("action", "predict", *videos, *options)])
    assert stopped.value.code == 3
    assert f"incomplete: not explained: {videos[0]}: there is no such file" in capsys.readouterr().out
    rows = json.loads(out.read_text())["videos"]
    assert [(row["classes"][0], row["failed"], "explanation" in row) for row in rows] == [
        (CLASSES[0], False, False),
        (CLASSES[1], False, True),
        (CLASSES[2], False, True),
    ]
    assert sorted(path.name for path in pictures.rglob("*.png")) == ["1.avi.png"] * 2


def test_a_picture_is_drawn_as_soon_as_its_video_is_explained(made, videos, tmp_path, monkeypatch):
    events, images = [], []

    def found(path, *rest):
        events.append(("found", path))
        assert all(image() is None for image in images[:-1])  # those of the videos before are let go
        moments = find_moments(path, *rest)
        images.append(weakref.ref(next(iter(moments.images.values()))))
        return moments

    monkeypatch.setattr("rnnfv.recipes.prediction.find_moments", found)
    monkeypatch.setattr("rnnfv.cli.predict.write_strip", lambda path, *_: events.append(("drawn", path)))
    run_predict(made / "model", videos, explain=tmp_path / "new", device="cpu", workers=0)
    drawn = [tmp_path / "new" / label / "1.avi.png" for label in CLASSES]
    assert events == [
        event for pair in zip(videos, drawn, strict=True) for event in zip(("found", "drawn"), pair, strict=True)
    ]


def test_pictures_want_a_folder(made, videos, tmp_path, monkeypatch):
    monkeypatch.setattr("rnnfv.recipes.prediction.read_features_of", lambda *_: pytest.fail("read"))
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"notes\.txt is not a folder: give another for --explain"):
        run_predict(made / "model", videos, explain=tmp_path / "notes.txt")


def test_without_matplotlib_nothing_is_decoded(made, videos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setattr("rnnfv.recipes.prediction.read_features_of", lambda *_: pytest.fail("read"))
    with pytest.raises(ImportError, match=r"pictures need matplotlib: pip install 'rnnfv\[plots\]'"):
        run_predict(made / "model", videos, explain=tmp_path / "pictures")


def test_pictures_stay_in_their_folder(made, videos, tmp_path):
    around = videos[0].parent / ".." / CLASSES[1] / "1.avi"
    run_predict(made / "model", [videos[0], around], explain=tmp_path / "pictures", device="cpu", workers=0)
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")}
    assert found == {f"pictures/{label}/1.avi.png" for label in CLASSES[:2]}


def test_one_video_and_a_folder_of_images(made, videos, tmp_path, capsys):
    image = pytest.importorskip("PIL.Image")
    folder = tmp_path / "frames"
    folder.mkdir()
    with av.open(str(videos[2])) as container:
        for i, frame in enumerate(container.decode(video=0)):
            image.fromarray(frame.to_ndarray(format="rgb24")).save(folder / f"{i}.png")
    pictures = tmp_path / "pictures"
    sources = [folder, videos[2]]
    assert run_predict(made / "model", sources, explain=pictures, device="cpu", workers=0) == 0
    printed = capsys.readouterr().out
    assert "frame 16" in printed
    assert "0:00.6" in printed
    assert (pictures / "frames.png").exists()


def test_weights_may_be_given_later(made, videos, tmp_path, capsys):
    run_fit(made / "features", made / "m.csv", tmp_path / "model", SETTINGS)
    assert "for videos give --weights quarters.onnx again" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"quarters.onnx: give them with --weights"):
        run_predict(tmp_path / "model", videos[:1], device="cpu", workers=0)
    assert run_predict(tmp_path / "model", videos[:1], weights=ONNX, device="cpu", workers=0) == 0


def test_fit_refuses_a_folder_of_other_things_before_it_fits(made, tmp_path, monkeypatch):
    monkeypatch.setattr("rnnfv.cli.fit.fit_recognizer", lambda *_, **__: pytest.fail("fitted"))
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ModelFolderError, match=r"would replace what is there \(notes.txt\)"):
        run_fit(made / "features", made / "m.csv", tmp_path, SETTINGS)


def test_fit_says_what_it_made(made, tmp_path, capsys):
    model = shutil.copytree(made / "model", tmp_path / "model")
    run_fit(made / "features", made / "m.csv", model, replace(SETTINGS, poolings=("mean",)), weights=ONNX)
    printed = capsys.readouterr().err
    assert f"mean for 3 classes is in {model}" in printed
    assert f"It takes videos: rnnfv action predict VIDEO --model {model}" in printed
    with pytest.raises(ValueError, match="MeanPooling does not tell what each step adds"):
        run_predict(model, [made / "videos"], explain=tmp_path / "pictures", device="cpu")
