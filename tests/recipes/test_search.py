"""Indexes of a model's common space: what is found is what the whole matrix says; other models are refused."""

import weakref

import numpy as np
import pytest

from rnnfv.datasets import image_vectors
from rnnfv.datasets.image_vectors import image_blocks
from rnnfv.recipes import search
from rnnfv.recipes.evaluation import Combination
from rnnfv.recipes.retrieval import fit_retrieval
from rnnfv.recipes.search import Searcher, picture_files
from rnnfv.recipes.sentence_settings import SentenceSettings
from rnnfv.storage import read_features, write_features
from rnnfv.text.sentences import SentenceReader

pytest.importorskip("faiss", reason="faiss is not installed")

SMALL = {"components": 2, "hidden_size": 8, "epochs": 1}


@pytest.fixture(scope="module")
def data(world):
    return world(80, 0), world(20, 1), world(30, 2)


@pytest.fixture(scope="module")
def folders(data, word_file, tmp_path_factory):
    train, validation, _ = data
    reader = SentenceReader(str(word_file)).fit(train.texts)
    root = tmp_path_factory.mktemp("models")
    for name in ("rnn-fv", "tf-idf"):
        fit_retrieval(train, validation, SentenceSettings(name, **SMALL), reader, etas=[0.1]).save(root / name)
    return [root / "rnn-fv", root / "tf-idf"]


@pytest.mark.parametrize("count", [1, 2])
def test_what_is_found_is_what_all_similarities_say(folders, data, tmp_path, count):
    searcher, test = Searcher(folders[:count]), data[2]
    names = [f"{i}.jpg" for i in range(len(test.images))]
    assert searcher.index_images([(names[:10], test.images[:10])], tmp_path / "images") == 10
    assert searcher.index_images([(names, test.images)], tmp_path / "images") == 20  # the rest
    with pytest.raises(ValueError, match="leave --pictures out"):
        searcher.index_images([(names, test.images)], tmp_path / "images", "elsewhere")
    sentence = " ".join(test.texts[7])
    found, pictures = searcher.find_images(sentence, tmp_path / "images", top=5)
    model = Combination(searcher.model.models)
    similarity = (model.encode_sentences([sentence]) @ model.encode_images(test.images).T)[0]
    assert [name for name, _ in found] == [names[i] for i in np.argsort(-similarity)[:5]]
    np.testing.assert_allclose([score for _, score in found], np.sort(similarity)[::-1][:5], atol=1e-5)
    assert pictures == ""


@pytest.mark.parametrize(
    ("neighbours", "meaning"),
    [((3, 3), "0 is as near as near neighbours"), ((0, 0), "are cosines"), ((3, 0), "Scores: higher is nearer.")],
)
def test_what_scores_mean_follows_from_the_models(folders, neighbours, meaning):
    searcher = Searcher(folders)
    for model, count in zip(searcher.model.models, neighbours, strict=True):
        model.scaling.neighbours = count
    assert meaning in searcher.score_meaning


def test_sentences_of_an_image(folders, data, tmp_path):
    searcher, test = Searcher(folders[:1]), data[2]
    texts = [" ".join(text) for text in test.texts]
    added = searcher.index_sentences([*texts, texts[0], "", "zzz qqq"], tmp_path / "sentences")
    assert added == (len(set(texts)), 1)
    found = searcher.find_sentences(test.images[3], tmp_path / "sentences", top=len(texts))
    scores = dict(found)
    assert len(found) == len(set(texts))
    expected = searcher.model.encode_sentences([texts[6]]) @ searcher.model.encode_images(test.images[3:4]).T
    assert scores[texts[6]] == pytest.approx(float(expected[0, 0]), abs=1e-5)


def test_other_models_and_other_kinds_are_refused(folders, data, tmp_path):
    test = data[2]
    Searcher(folders[:1]).index_images([(["a"], test.images[:1])], tmp_path / "images")
    with pytest.raises(ValueError, match="made with other models"):
        Searcher(folders).find_images("the dog", tmp_path / "images")
    with pytest.raises(ValueError, match="is not an index of sentences"):
        Searcher(folders[:1]).find_sentences(test.images[0], tmp_path / "images")


@pytest.mark.parametrize("which", [0, 1])
def test_a_sentence_without_known_words_says_so(folders, data, tmp_path, which):
    searcher = Searcher(folders[which : which + 1])
    searcher.index_images([(["a"], data[2].images[:1])], tmp_path / "images")
    with pytest.raises(ValueError, match="no word of 'zzz' is known"):
        searcher.find_images("zzz", tmp_path / "images")


def test_nothing_to_index(folders, tmp_path):
    with pytest.raises(ValueError, match="there are no sentences to index"):
        Searcher(folders[:1]).index_sentences([], tmp_path / "sentences")
    with pytest.raises(ValueError, match="there are no images to index"):
        Searcher(folders[:1]).index_images([], tmp_path / "images")
    with pytest.raises(ValueError, match="one or more models"):
        Searcher([])


def test_images_are_indexed_shard_by_shard(folders, data, tmp_path, monkeypatch):
    """Of all shards of a folder one is held, and the one that is read next."""
    images, alive, most = np.tile(data[2].images, (4, 1)), [], []
    # Among equal images rounding would decide the order.
    images += np.random.default_rng(0).normal(scale=0.1, size=images.shape)
    names = [f"{i}.jpg" for i in range(len(images))]
    for k in range(20):
        rows = slice(6 * k, 6 * k + 6)
        write_features(tmp_path / "features", names[rows], images[rows, None], shard=k)

    def watched(path):
        shard = read_features(path)
        alive.append(weakref.ref(shard.sequences.values))
        most.append(sum(ref() is not None for ref in alive))
        return shard

    monkeypatch.setattr(image_vectors, "read_features", watched)
    monkeypatch.setattr(search, "_ROWS", 25)
    searcher = Searcher(folders)
    assert searcher.index_images(image_blocks(tmp_path / "features"), tmp_path / "streamed") == 120
    assert len(most) == 20
    assert max(most) <= 2
    monkeypatch.undo()
    assert searcher.index_images([(names, images)], tmp_path / "whole") == 120
    query = "the dog sees a cat"
    found = [searcher.find_images(query, tmp_path / name, top=120)[0] for name in ("streamed", "whole")]
    assert [name for name, _ in found[0]] == [name for name, _ in found[1]]
    np.testing.assert_allclose([score for _, score in found[0]], [score for _, score in found[1]], atol=1e-6)


def test_sentences_are_indexed_a_few_at_a_time(folders, data, tmp_path, monkeypatch):
    texts = [*(" ".join(text) for text in data[2].texts), "zzz", "zzz qqq", "zzz"]
    whole = Searcher(folders).index_sentences(texts, tmp_path / "whole")
    encode, seen = Combination.encode_sentences, []

    def watched(self, some):
        seen.append(len(some))
        return encode(self, some)

    monkeypatch.setattr(Combination, "encode_sentences", watched)
    monkeypatch.setattr(search, "_ROWS", 7)
    searcher = Searcher(folders)
    assert searcher.index_sentences(iter([*texts, *texts]), tmp_path / "streamed") == whole == (len(set(texts)) - 2, 2)
    assert max(seen) <= 7
    found = [searcher.find_sentences(data[2].images[0], tmp_path / name, top=5) for name in ("streamed", "whole")]
    assert [name for name, _ in found[0]] == [name for name, _ in found[1]]


def test_a_stranger_s_index_leads_to_no_file_outside_its_folder(folders, data, tmp_path):
    inside = tmp_path / "pictures"
    (inside / "more").mkdir(parents=True)
    (inside / "out.jpg").symlink_to(tmp_path / "secret.jpg")
    names = ["a.jpg", "more/b.jpg", "../secret.jpg", str(tmp_path / "secret.jpg"), "out.jpg", "a\0b", "more/../a.jpg"]
    files = picture_files(inside, names)
    assert files == [inside / "a.jpg", inside / "more" / "b.jpg", None, None, None, None, inside / "a.jpg"]
    searcher = Searcher(folders[:1])
    searcher.index_images([(["a"], data[2].images[:1])], tmp_path / "images")
    record = tmp_path / "images" / "index.json"
    forged = record.read_text().replace('"pictures": ""', '"pictures": 5')
    assert forged != record.read_text()
    record.write_text(forged)
    with pytest.raises(ValueError, match="does not name the folder of its pictures"):
        searcher.find_images(" ".join(data[2].texts[0]), tmp_path / "images")


def test_an_index_is_no_url(folders, data):
    pytest.importorskip("upath")
    with pytest.raises(ValueError, match="an index is a folder on this machine"):
        Searcher(folders[:1]).index_images([(["a"], data[2].images[:1])], "memory://index")
