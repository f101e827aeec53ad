"""`rnnfv retrieval` from the command line: what it prints, writes and refuses."""

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from rnnfv import CanonicalSteps
from rnnfv.cli import main
from rnnfv.datasets.manifest import Manifest, write_manifest
from rnnfv.recipes.recognizer import load_recognizer
from rnnfv.recipes.retrieval import load_retrieval, report_of
from rnnfv.storage import write_features

NOUNS = ["dog", "cat", "man", "horse", "bird", "ball"]  # of the made word vectors
FIGURES = {"r@1", "r@5", "r@10", "median_rank", "mean_rank"}
QUICK = ["--epochs", "2", "--hidden-size", "8", "--components", "2", "--etas", "0.01,0.1"]


def run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code


@pytest.fixture(scope="module")
def data(write_captions, tmp_path_factory):
    """The made world as files: --captions and --images, and --words."""
    options = write_captions(tmp_path_factory.mktemp("data"), {"train": 80, "val": 30, "test": 25})
    return options[:4], options[4:]


def test_evaluate_prints_and_writes_the_table(data, tmp_path, capsys):
    files, words = data
    out = [f"--{kind}={tmp_path / kind}" for kind in ("json", "markdown", "latex", "ranks")]
    options = ["--encoder", "rnn-fv", "--seeds", 2, "--published", "flickr8k", *QUICK, *out]
    assert run("retrieval", "evaluate", *files, *words, *options) == 0
    printed = capsys.readouterr()
    assert "rnn-fv" in printed.out
    assert "MM-ENS (paper)" in printed.out
    assert "100.0 % of 800 words have a vector" in printed.err
    content = json.loads((tmp_path / "json").read_text())
    assert set(content["annotation"]) == set(content["search"]) == FIGURES
    assert content["sentence"]["mean_rank"] >= 1
    assert content["protocol"]["sizes"]["reported on"] == {"images": 25, "sentences": 50}
    assert [sorted(chosen) for chosen in content["protocol"]["chosen"]] == [
        ["epoch", "eta", "image power", "neighbours", "recall", "recalls"]
    ] * 2
    mean = np.mean([report["search"]["r@1"] for report in content["by_seed"]])
    assert content["search"]["r@1"] == pytest.approx(mean)
    rows = list(csv.DictReader((tmp_path / "ranks").read_text().splitlines()))
    assert len(rows) == 25 + 50
    ranks = [int(row["rank"]) for row in rows if row["task"] == "search"]
    assert np.mean(ranks) == pytest.approx(content["by_seed"][0]["search"]["mean_rank"])
    assert (tmp_path / "markdown").read_text().startswith("| encoder | annotation r@1 |")
    assert "\\toprule" in (tmp_path / "latex").read_text()


def test_ranks_are_the_same_whenever_and_wherever_they_are_asked_for(data, tmp_path, monkeypatch):
    files, words = data
    evaluate = ["retrieval", "evaluate", *files, *words, "--encoder", "mean", "--device"]
    out = ["--json", tmp_path / "figures.json", "--ranks"]
    assert run(*evaluate, "cpu", "--ranks", tmp_path / "undisturbed.csv") == 0

    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("rnnfv.cli.retrieving.mean_report", stop)
        assert run(*evaluate, "cpu", *out[:2]) == 130
        assert run(*evaluate, "cpu", *out, tmp_path / "one.csv") == 130
    monkeypatch.setattr("rnnfv.cli.retrieving.report_of", lambda *_: pytest.fail("it fits again"))
    assert run(*evaluate, "auto", *out, tmp_path / "other.csv") == 0  # on another device it is no other job
    undisturbed, one, other = (tmp_path / f"{name}.csv" for name in ("undisturbed", "one", "other"))
    assert one.read_bytes() == other.read_bytes() == undisturbed.read_bytes()
    assert not (tmp_path / "figures.json.unfinished").exists()


@pytest.mark.parametrize("encoder", ["mean", "tf-idf", "gmm-fv", "hglmm-fv", "mm-ens", "rnn-fv-clsf"])
def test_every_encoder_runs(data, tmp_path, encoder):
    files, words = data
    words = [] if encoder == "tf-idf" else words
    out = tmp_path / "figures.json"
    assert run("retrieval", "evaluate", *files, *words, "--encoder", encoder, *QUICK, "--json", out) == 0
    assert json.loads(out.read_text())["search"]["mean_rank"] < 8  # at random: 13


def test_the_split_val_is_cut_in_halves(data, tmp_path):
    files, words = data
    out = tmp_path / "figures.json"
    assert run("retrieval", "evaluate", *files, *words, "--encoder", "mean", "--split", "val", "--json", out) == 0
    sizes = json.loads(out.read_text())["protocol"]["sizes"]
    assert (sizes["validation"]["images"], sizes["reported on"]["images"]) == (15, 15)


def test_models_are_saved_and_combined(data, tmp_path, capsys):
    files, words = data
    for name, options in {"mm": ["mm-ens"], "bag": ["tf-idf"], "rnn": ["rnn-fv", "--reverse"]}.items():
        given = [] if name == "bag" else words
        arguments = [*files, *given, "--encoder", *options, *QUICK, "--out", tmp_path / name]
        assert run("retrieval", "fit", *arguments) == 0
    arguments = [*files, "--cca-words", tmp_path / "mm", *QUICK, "--out", tmp_path / "cca"]
    assert run("retrieval", "fit", *arguments) == 0
    assert "rnn-fv, cca words is in" in capsys.readouterr().err
    out = tmp_path / "combined.json"
    folders = [tmp_path / name for name in ("mm", "bag", "rnn", "cca")]
    assert run("retrieval", "combine", *folders, *files, "--json", out) == 0
    content = json.loads(out.read_text())
    assert list(content["models"]) == [str(folder) for folder in folders]
    single = [report["search"]["mean_rank"] for report in content["models"].values()]
    assert content["combination"]["search"]["mean_rank"] < np.mean(single)


def test_nets_may_learn_from_a_corpus(data, tmp_path):
    files, words = data
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("1\tThe man sees the bird.\n2\tA dog chases a ball.\n3\tzzz\n")
    out = tmp_path / "figures.json"
    options = ["--corpus", corpus, "--corpus-sentences", 2, "--json", out]
    assert run("retrieval", "evaluate", *files, *words, *QUICK, *options) == 0
    assert json.loads(out.read_text())["protocol"]["fitting"]["corpus"] == str(corpus)


def test_a_row_of_several_is_that_of_a_command_of_its_own(data, tmp_path, capsys):
    files, words = data
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("The man sees the bird.\nA dog chases a ball.\n")
    evaluate = ["retrieval", "evaluate", *files, *words, *QUICK, "--seeds", 2]
    alone = {
        "rnn-fv": [],
        "rnn-fv, reversed": ["--reverse"],
        f"rnn-fv, learnt from {corpus}": ["--corpus", corpus],
        f"rnn-fv, reversed, learnt from {corpus}": ["--corpus", corpus, "--reverse"],
    }
    expected = []
    for place, options in enumerate(alone.values()):
        assert run(*evaluate, *options, "--json", tmp_path / f"{place}.json") == 0
        expected.append(json.loads((tmp_path / f"{place}.json").read_text()))
    capsys.readouterr()
    out = [f"--{kind}={tmp_path / kind}" for kind in ("json", "markdown")]
    assert run(*evaluate, "--both-directions", "--also-corpus", corpus, *out) == 0
    first = json.loads((tmp_path / "json").read_text())
    others = first.pop("others")
    assert first == expected[0]
    for row, whole in zip(others, expected[1:], strict=True):
        protocol = {name: whole["protocol"][name] for name in ("fitting", "chosen")}
        assert row == whole | {"protocol": protocol}
    lines = (tmp_path / "markdown").read_text().splitlines()[2:]
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines] == list(alone)


def test_rows_that_were_done_before_a_stop_are_not_fitted_again(data, tmp_path, monkeypatch):
    files, words = data
    evaluate = ["retrieval", "evaluate", *files, *words, *QUICK, "--both-directions", "--json"]
    assert run(*evaluate, tmp_path / "undisturbed.json") == 0
    done = []

    def one(*args):
        if done:
            raise KeyboardInterrupt
        done.append(args)
        return report_of(*args)

    with monkeypatch.context() as patch:
        patch.setattr("rnnfv.recipes.evaluation.report_of", one)
        assert run(*evaluate, tmp_path / "figures.json") == 130
        done.clear()
        assert run(*evaluate, tmp_path / "figures.json") == 0  # of the other row alone
    assert (tmp_path / "figures.json").read_bytes() == (tmp_path / "undisturbed.json").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--encoder", "mean"], "mean needs either --words or --cca-words"),
        (["--encoder", "tf-idf", "--words", "w.txt"], "tf-idf needs no word vectors: leave --words out"),
        (["--encoder", "mean", "--words", "missing.txt"], "missing.txt"),
        (["--encoder", "tf-idf", "--split", "tset"], "there is no split 'tset'; there are test, train, val"),
        (["--encoder", "tf-idf", "--split", "train"], "report on another"),
        (["--encoder", "tf-idf", "--etas", "many"], "--etas is 'many'"),
        (["--encoder", "tf-idf", "--etas", "-1"], "--etas is '-1'"),
        (["--encoder", "tf-idf", "--corpus", "c.txt"], "learns nothing from a text"),
        (["--encoder", "tf-idf", "--json", "."], ". is a folder"),
        (["--encoder", "rnn-fv", "--words", "w.txt", "--hidden-size", "0"], "hidden_size is 0"),
        (["--encoder", "tf-idf", "--seeds", "0"], "--seeds is 0"),
        (["--encoder", "rnn-fv", "--words", "w.txt", "--dropout", "1"], "--dropout is 1.0"),
        (["--encoder", "rnn-fv", "--words", "w.txt", "--learning-rate", "0"], "--learning-rate is 0.0"),
        (["--encoder", "rnn-fv", "--words", "w.txt", "--weight-decay", "-1"], "--weight-decay is -1.0"),
        (["--encoder", "mean", "--words", "w.txt", "--reverse"], "does not see the order"),
        (["--encoder", "mean", "--words", "w.txt", "--both-directions"], "does not see the order"),
        (["--encoder", "mean", "--words", "w.txt", "--also-corpus", "c.txt"], "nothing from a text: leave c.txt out"),
        (["--encoder", "tf-idf", "--corpus-sentences", "2"], "give that, too"),
        (["--encoder", "mean", "--words", "w", "--ica", "--corpus", "c", "--corpus-sentences", "0"], "sentences is 0"),
    ],
)
def test_wrong_use_is_one_line(data, options, message, capsys):
    assert run("retrieval", "evaluate", *data[0], *options) == (1 if "missing.txt" in options else 2)
    error = capsys.readouterr().err.strip()
    assert message in error.splitlines()[-1]


def test_wrong_files_are_one_line(data, tmp_path, capsys):
    files, _ = data
    np.save(tmp_path / "few.npy", np.zeros((3, 4), np.float32))
    assert run("retrieval", "evaluate", *files[:3], tmp_path / "few.npy", "--encoder", "tf-idf") == 1
    assert "vectors of 3 images, but there are 135 images" in capsys.readouterr().err
    assert run("retrieval", "combine", tmp_path, *files) == 1
    assert "rnnfv retrieval fit" in capsys.readouterr().err
    assert run("retrieval", "combine", *files) == 2
    assert "give the folders" in capsys.readouterr().err


def test_pictures_are_found_by_words_and_words_by_pictures(data, tmp_path, capsys, monkeypatch):
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("faiss", reason="faiss is not installed")
    files, words = data
    captions, vectors = files[1], files[3]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    image.new("RGB", (40, 30), "red").save(tmp_path / "pictures" / "test3.jpg")
    assert run("retrieval", "fit", *files, *words, *QUICK, "--out", "model") == 0
    index = ["--model", "model", "--out", "images"]
    options = [vectors, "--captions", captions, "--split", "test", "--pictures", "pictures"]
    assert run("retrieval", "index-images", *options, *index) == 0
    assert "25 of 25 images were added to images" in capsys.readouterr().err
    assert run("retrieval", "search", "a dog chases a cat", "--model", "model", "--images", "images", "--top", 3) == 0
    assert "jpg" in capsys.readouterr().out
    assert "a dog chases a cat" in (tmp_path / "search.html").read_text()
    where = ["--model", "model", "--images", "images", "--top", 25, "--html", "all.html", "--json"]
    assert run("retrieval", "search", "a dog chases a cat", *where) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert len(results) == 25
    assert (tmp_path / "all.html").read_text().count("data:image/jpeg") == 1
    assert run("retrieval", "index-sentences", captions, "--model", "model", "--out", "sentences") == 0
    (tmp_path / "lists").mkdir()  # Flickr8k's own
    (tmp_path / "lists" / "Flickr8k.token.txt").write_text("a.jpg#0\ta dog\nb.jpg#0\tthe cat\nc.jpg#0\ta bird\n")
    for name, image_name in {"trainImages": "a.jpg", "devImages": "b.jpg", "testImages": "c.jpg"}.items():
        (tmp_path / "lists" / f"Flickr_8k.{name}.txt").write_text(f"{image_name}\n")
    where = ["--model", "model", "--out", "listed"]
    assert run("retrieval", "index-sentences", "lists", *where, "--split", "val") == 0
    assert "1 different sentences" in capsys.readouterr().err
    assert run("retrieval", "index-sentences", "lists", *where) == 0
    assert "2 different sentences" in capsys.readouterr().err
    where = ["--model", "model", "--sentences", "sentences", "--vectors", vectors, "--captions", captions, "--json"]
    assert run("retrieval", "annotate", "test3.jpg", *where, "--top", 4) == 0
    assert len(json.loads(capsys.readouterr().out)["results"]) == 4
    assert run("retrieval", "annotate", "lost.jpg", *where) == 1
    assert "has no image 'lost.jpg'" in capsys.readouterr().err


def test_frames_go_through_the_space_of_images_and_sentences(data, tmp_path, capsys):
    """SPEC S8: the recogniser maps its frames by the model's image side, and keeps that with it."""
    files, words = data
    assert run("retrieval", "fit", *files, *words, "--encoder", "mean", "--out", tmp_path / "model") == 0
    rng = np.random.default_rng(0)
    rising = [np.sort(rng.normal(size=(n, 16)), axis=0).astype(np.float32) for n in rng.integers(5, 9, 24)]
    ids = [f"clip{i}" for i in range(48)]
    write_features(tmp_path / "features", ids, rising + [walk[::-1] for walk in rising])
    groups = np.tile([f"g{i % 6}" for i in range(24)], 2)
    splits = {"split1": np.where(groups == "g0", "test", "train")}
    labels = np.repeat(["rising", "falling"], 24)
    write_manifest(tmp_path / "walks.csv", Manifest(np.array(ids), labels, groups, splits))
    walks = ["--features", tmp_path / "features", "--manifest", tmp_path / "walks.csv"]
    fast = ["--epochs", 2, "--hidden-size", 6, "--projection-size", 6, "--through", tmp_path / "model"]
    out = tmp_path / "table.json"
    assert run("action", "evaluate", *walks, *fast, "--poolings", "rnn-fv", "--json", out) == 0
    figures = json.loads(out.read_text())
    assert figures["protocol"]["through"] == str(tmp_path / "model")
    k = len(load_retrieval(tmp_path / "model").cca.correlations_)
    assert figures["poolings"]["rnn-fv"]["dim"] == k * 7
    assert run("action", "fit", *walks, *fast, "--out", tmp_path / "recognizer") == 0
    prepare = load_recognizer(tmp_path / "recognizer").pipeline["prepare"]
    assert isinstance(prepare, CanonicalSteps)
    (tmp_path / "narrow").mkdir()
    write_features(tmp_path / "narrow", ids, [walk[:, :3] for walk in rising + rising])
    walks[1] = tmp_path / "narrow"
    assert run("action", "evaluate", *walks, *fast, "--poolings", "rnn-fv") == 1
    assert "extract both with the same backbone" in capsys.readouterr().err


def test_a_picture_file_is_annotated_through_the_models_backbone(word_file, tmp_path, capsys):
    """From pictures by a real net to sentences for a picture that the model never saw as a vector."""
    root = Path(os.environ.get("RNNFV_DATA", "../shared/data"))
    net, pictures = root / "models" / "googlenet.onnx", sorted((root / "flickr8k" / "images").glob("*.jpg"))[:24]
    if not net.is_file() or not pictures:
        pytest.skip(f"there is no googlenet.onnx or no picture in {root}: set RNNFV_DATA")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("faiss", reason="faiss is not installed")
    (tmp_path / "pictures").mkdir()
    for picture in pictures:
        shutil.copy(picture, tmp_path / "pictures")
    splits = ["train"] * 14 + ["val"] * 10
    images = [
        {"filename": p.name, "split": split, "sentences": [{"raw": f"the {NOUNS[i % 6]} sees a {NOUNS[i % 5]} ."}]}
        for i, (p, split) in enumerate(zip(pictures, splits, strict=True))
    ]
    (tmp_path / "dataset.json").write_text(json.dumps({"images": images}))
    source = [tmp_path / "pictures", "--images", "--backbone", f"onnx:{net}:pool5", "--workers", 0]
    assert run("extract", *source, "--out", tmp_path / "features") == 0
    model = ["--model", tmp_path / "model"]
    files = ["--captions", tmp_path / "dataset.json", "--images", tmp_path / "features"]
    fitted = [*files, "--words", word_file, "--encoder", "mean", "--out", tmp_path / "model"]
    assert run("retrieval", "fit", *fitted) == 0
    assert run("retrieval", "index-sentences", tmp_path / "dataset.json", *model, "--out", tmp_path / "index") == 0
    where = [*model, "--sentences", tmp_path / "index", "--json"]
    found = []
    for options in (
        [pictures[20], "--weights", net],
        [pictures[20].name, "--vectors", tmp_path / "features", "--captions", tmp_path / "dataset.json"],
    ):
        capsys.readouterr()
        assert run("retrieval", "annotate", *options, *where) == 0
        found.append(json.loads(capsys.readouterr().out)["results"])
    assert [result["sentence"] for result in found[0]] == [result["sentence"] for result in found[1]]
    assert run("retrieval", "annotate", pictures[20], *where) == 1
    assert "are needed: give --weights" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "a dog", "--model", "m", "--images", "i", "--top", "0"], "--top is 0"),
        (["search", "a dog", "--model", "m", "--images", "i", "--html", "."], ". is a folder"),
        (["annotate", "a.jpg", "--model", "m", "--sentences", "s", "--top", "-1"], "--top is -1"),
        (["annotate", "a.jpg", "--model", "m", "--sentences", "s", "--captions", "c"], "of --vectors"),
        (["annotate", "a", "--model", "m", "--sentences", "s", "--vectors", "v", "--weights", "w"], "--weights is for"),
        (["index-images", "v.npy", "--model", "m", "--out", "o"], "give the data set with --captions"),
        (["index-images", ".", "--model", "m", "--out", "o", "--split", "test"], "give --captions, too"),
        (["index-sentences", __file__, "--model", "m", "--out", "o", "--split", "test"], "a text has no splits"),
    ],
)
def test_wrong_use_of_indexes_is_told_before_the_work(arguments, message, capsys):
    assert run("retrieval", *arguments) == 2
    assert message in capsys.readouterr().err


def test_nothing_is_reported_on_what_fitted_or_chose_a_model(data, tmp_path, capsys):
    files, words = data
    model = tmp_path / "model"
    assert run("retrieval", "fit", *files, *words, "--encoder", "mean", "--out", model) == 0
    vectors = ["--images", files[3]]
    listed = json.loads(Path(files[1]).read_text())

    def combined(splits, split):
        """Report on the same images in other splits, and what was said."""
        images = [image | {"split": splits.get(image["filename"], image["split"])} for image in listed["images"]]
        (tmp_path / "other.json").write_text(json.dumps({"images": images}))
        capsys.readouterr()
        code = run("retrieval", "combine", model, "--captions", tmp_path / "other.json", *vectors, "--split", split)
        return code, capsys.readouterr().err

    for split in ("test", "val"):  # of val the half that chose nothing
        code, said = combined({}, split)
        assert (code, "does not tell" in said) == (0, False)
    code, said = combined({"train3.jpg": "test", "train0.jpg": "test"}, "test")
    assert code == 2
    assert "model was fitted on 2 of the 27 images to report on, the first 'train0.jpg': choose another" in said
    code, said = combined({"val0.jpg": "test"}, "test")
    assert code == 2
    assert "model was chosen by 1 of the 26 images to report on, the first 'val0.jpg'" in said
    # One image more before them: now the other half of val would be reported on.
    assert combined({"train79.jpg": "val"}, "val")[0] == 2
    # A model that has its words from that one has seen what that one has seen.
    (tmp_path / "other.json").write_text(
        json.dumps(
            {
                "images": [
                    i | {"split": {"train": "test", "test": "train"}.get(i["split"], i["split"])}
                    for i in listed["images"]
                ]
            }
        )
    )
    turned = ["--captions", tmp_path / "other.json", *vectors, "--cca-words", model, "--encoder", "mean"]
    assert run("retrieval", "evaluate", *turned) == 2
    assert "model was fitted on 80 of the 80 images" in capsys.readouterr().err
    assert run("retrieval", "fit", *turned, "--out", tmp_path / "second") == 0
    assert run("retrieval", "combine", tmp_path / "second", "--captions", tmp_path / "other.json", *vectors) == 2
    assert "second was fitted on 80 of the 80 images" in capsys.readouterr().err
    unknown = load_retrieval(model)
    unknown.note.pop("seen")
    unknown.save(tmp_path / "unknown")
    assert run("retrieval", "combine", tmp_path / "unknown", *files) == 0
    assert "unknown does not tell what images it was fitted on" in capsys.readouterr().err
