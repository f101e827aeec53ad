"""Sentences and images: every encoder from words to recall, what is chosen on what, and model folders."""

import dataclasses
import json
import math
from functools import partial

import numpy as np
import pytest
from sklearn.decomposition import PCA

from rnnfv import LocalScaling, RegularizedCCA
from rnnfv.metrics import retrieval_report
from rnnfv.normalization import PowerNormalizer
from rnnfv.recipes import _retrieval_choices, retrieval
from rnnfv.recipes import sentences as sides
from rnnfv.recipes._work import Work
from rnnfv.recipes.evaluation import Combination, Parts, fit_models, mean_report, query_rows, reader_of
from rnnfv.recipes.retrieval import Pairs, fit_retrieval, load_retrieval, report_of, total_recall, words_of
from rnnfv.recipes.sentence_settings import ENCODERS, SentenceSettings
from rnnfv.recipes.sentences import encode, encoded_blocks, fit_sentence_side, with_pca
from rnnfv.storage import ModelFolderError
from rnnfv.text.sentences import SentenceReader

SMALL = {"components": 3, "hidden_size": 12, "coordinates": 300, "epochs": 4, "batch_size": 8}


@pytest.fixture(scope="module")
def parts(world):
    return world(150, 0), world(40, 1), world(40, 2)


@pytest.fixture(scope="module")
def reader(parts, word_file):
    return SentenceReader(str(word_file)).fit(parts[0].texts)


@pytest.fixture(scope="module")
def models(parts, reader):
    train, validation, _ = parts
    return {name: fit_retrieval(train, validation, SentenceSettings(name, **SMALL), reader) for name in ENCODERS}


def by_cosines(model):
    none = np.empty((0, len(model.cca.correlations_)))
    return dataclasses.replace(model, scaling=LocalScaling(0).fit(none, none))


def report(model, pairs):
    return report_of(model.encode_sentences(pairs.texts), model.encode_images(pairs.images), pairs.image_of_sentence)


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_finds_images_far_better_than_chance(models, parts, name):
    figures = report(models[name], parts[2])
    assert total_recall(figures) > 250  # at random: about 80
    assert figures["sentence"]["mean_rank"] < 10


def test_only_nets_tell_who_from_whom(models):
    one, other = ["a", "dog", "chases", "a", "cat"], ["a", "cat", "chases", "a", "dog"]
    for name, model in models.items():
        vectors = model.encode_sentences([one, other])
        differ = np.abs(vectors[0] - vectors[1]).max()
        assert differ > 0.05 if sides.is_net(name) else differ < 1e-5, name


def test_nets_are_better_where_order_decides(models, parts):
    recall = {name: total_recall(report(model, parts[2])) for name, model in models.items()}
    assert recall["rnn-fv"] > max(recall[name] for name in ENCODERS if not sides.is_net(name)) + 20


def test_the_whole_chain_is_the_plain_steps(models, parts, reader):
    model, (train, _, test) = models["rnn-fv"], parts
    encoder, words = model.sentences["encoder"], reader.with_order(end_token=True, reverse=False)
    vectors = [PowerNormalizer().fit_transform(encoder.transform(words.transform(p.texts))) for p in (train, test)]
    cca = RegularizedCCA(model.note["chosen"]["eta"]).fit(vectors[0], model.images.transform(train.images_of()))
    plain = retrieval_report(cca.similarity(vectors[1], model.images.transform(test.images)), test.image_of_sentence)
    figures = report(model, test)
    assert figures["search"]["mean_rank"] == pytest.approx(plain["search"]["mean_rank"], rel=0.02)
    assert total_recall(figures) == pytest.approx(total_recall(plain), abs=8)


def test_the_chosen_eta_and_epoch_are_the_best_in_validation(models, parts):
    chosen = models["rnn-fv"].note["chosen"]
    recalls = dict(map(tuple, chosen["recalls"]))
    assert recalls[chosen["eta"]] == max(recalls.values())
    assert total_recall(report(models["rnn-fv"], parts[1])) == pytest.approx(max(recalls.values()))
    judged = np.array(models["rnn-fv"].sentences["encoder"].history_["validation"])
    assert np.isnan(judged).tolist() == [False, False, True, False]  # powers of two, and the last
    assert chosen["epoch"] == np.nanargmax(judged) + 1


@pytest.mark.parametrize(("distorted", "power"), [(lambda z: z**4, 0.5), (np.sqrt, 1)])
def test_the_power_that_undoes_a_distortion_of_images_is_chosen(parts, distorted, power):
    train, validation = (
        dataclasses.replace(p, images=np.copysign(distorted(np.abs(p.images)), p.images)) for p in parts[:2]
    )
    model = fit_retrieval(train, validation, SentenceSettings("tf-idf"))
    assert model.images.alpha == model.note["chosen"]["image power"] == power


def test_the_power_is_chosen_once_for_all_seeds_and_kept(parts, word_file, tmp_path, monkeypatch):
    chosen = []
    choose = retrieval.best_image_power
    monkeypatch.setattr(retrieval, "best_image_power", lambda *args: chosen.append(choose(*args)) or chosen[-1])
    whole, work, settings = Parts(*parts, None), Work(tmp_path), SentenceSettings("mean")
    first, second = fit_models(whole, settings, [str(word_file)], seeds=[0, 1], work=work)
    assert [model.images.alpha for model in (first, second)] == chosen * 2
    (again,) = fit_models(whole, settings, [str(word_file)], seeds=[0], work=work)
    assert [again.images.alpha] == chosen


def test_validation_only_chooses(parts, reader, monkeypatch):
    """With other validation pairs the net and the directions of one eta and power are the same to the bit."""
    monkeypatch.setattr(_retrieval_choices, "_IMAGE_POWERS", (0.5,))
    train, validation, _ = parts
    settings = SentenceSettings("rnn-fv", **SMALL | {"epochs": 1})
    poisoned = dataclasses.replace(validation, images=validation.images[::-1].copy(), texts=validation.texts[::-1])
    one, other = (fit_retrieval(train, v, settings, reader, etas=[0.1]) for v in (validation, poisoned))
    assert (one.cca.x_weights_ == other.cca.x_weights_).all()
    assert (one.encode_sentences(train.texts) == other.encode_sentences(train.texts)).all()


def test_local_scaling_is_kept_where_validation_gains_by_it(parts, reader):
    train, validation, _ = parts
    gains = []
    for name in ("mean", "tf-idf", "gmm-fv"):
        fit = partial(fit_retrieval, train, validation, SentenceSettings(name, **SMALL), reader, etas=[0.01])
        plain, chosen = fit(local_scaling=False), fit()
        assert plain.scaling.neighbours == plain.note["chosen"]["neighbours"] == 0
        banks = plain.encode_sentences(train.texts), plain.encode_images(train.images)
        scaled = dataclasses.replace(plain, scaling=LocalScaling(10).fit(*banks))
        recalls = [total_recall(report(model, validation)) for model in (plain, scaled)]
        gains.append(recalls[1] > recalls[0])
        assert chosen.scaling.neighbours == chosen.note["chosen"]["neighbours"] == (10 if gains[-1] else 0)
        assert total_recall(report(chosen, validation)) == pytest.approx(max(recalls))
        assert chosen.note["chosen"]["recall"] == pytest.approx(max(recalls))
        assert plain.note["chosen"]["recall"] == pytest.approx(recalls[0])
    assert True in gains


def test_streamed_sums_give_the_model_that_all_vectors_give(parts, reader, monkeypatch):
    train, validation, test = parts
    fit = partial(fit_retrieval, train, validation, SentenceSettings("gmm-fv", **SMALL), reader)
    whole = fit(etas=[0.01], local_scaling=False)
    monkeypatch.setattr(retrieval, "_IN_MEMORY", 0)
    monkeypatch.setattr(sides, "_BLOCK_VALUES", 2000)
    streamed = fit(etas=[0.01], local_scaling=False)
    similarities = [m.encode_sentences(test.texts) @ m.encode_images(test.images).T for m in (streamed, whole)]
    np.testing.assert_allclose(*similarities, atol=2e-3)


def test_blocks_make_up_the_whole(models, parts, monkeypatch):
    side, texts = models["hglmm-fv"].sentences, parts[2].texts
    whole = side.transform(texts)
    monkeypatch.setattr(sides, "_BLOCK_VALUES", 400)
    rows = [rows for rows, _ in encoded_blocks(side, texts)]
    assert len(rows) > 5
    assert (rows[0].start, rows[-1].stop) == (0, len(texts))
    np.testing.assert_allclose(encode(side, texts), whole, atol=1e-6)


def test_reversed_words_make_another_model(parts, reader):
    train, validation, test = parts
    settings = SentenceSettings("rnn-fv", reverse=True, **SMALL)
    model = fit_retrieval(train, validation, settings, reader)
    seqs = model.sentences["words"].transform([["a", "dog"]])
    assert model.sentences["words"].words_[seqs.values].tolist() == ["dog", "a", "</s>"]
    assert total_recall(report(model, test)) > 300


def test_words_of_a_model_are_its_encodings_of_single_words(models, parts):
    words = words_of(models["mm-ens"], dim=5)
    model = models["mm-ens"]
    place = words.words_.tolist().index("dog")
    expected = model.cca.transform(model.sentences.transform([["dog"]]))[0, :5]
    np.testing.assert_allclose(words.vectors_[place], expected / np.linalg.norm(expected), rtol=1e-3)
    fitted = fit_retrieval(parts[0], parts[1], SentenceSettings("rnn-fv", **SMALL), words)
    assert total_recall(report(fitted, parts[2])) > 250
    with pytest.raises(ValueError, match="no word vectors"):
        words_of(models["tf-idf"])


@pytest.mark.filterwarnings("ignore:FastICA did not converge")  # ten words drawn at random have none
def test_independent_components_replace_the_word_vectors(parts, reader):
    settings = SentenceSettings("gmm-fv", ica=True, **SMALL)
    side = fit_sentence_side(settings, reader, parts[0].texts)
    table = side["words"].vectors_
    np.testing.assert_allclose(np.linalg.norm(table, axis=1), 10, rtol=1e-5)
    assert np.linalg.matrix_rank(np.concatenate([table, 10 * reader.vectors_])) == table.shape[1]
    assert not np.allclose(table, 10 * reader.vectors_, atol=0.1)


def test_encoders_may_learn_from_another_text(parts, reader):
    corpus = [["the", "man", "sees", "the", "bird"], ["a", "ball"]] * 30
    settings = SentenceSettings("rnn-fv", **SMALL)
    model = fit_retrieval(parts[0], parts[1], settings, reader, corpus=corpus)
    alone = fit_sentence_side(SentenceSettings("rnn-fv", **SMALL), reader, corpus)
    assert len(model.sentences["encoder"].history_["loss"]) == len(alone["encoder"].history_["loss"])
    assert model.sentences["encoder"].history_["loss"][0] == alone["encoder"].history_["loss"][0]


@pytest.mark.parametrize("name", ["tf-idf", "mm-ens", "rnn-fv", "rnn-fv-clsf"])
def test_saved_and_loaded_a_model_is_the_same_to_the_bit(models, parts, tmp_path, name):
    model = models[name]
    model.save(tmp_path / "model")
    loaded = load_retrieval(tmp_path / "model")
    assert (loaded.encode_sentences(parts[2].texts) == model.encode_sentences(parts[2].texts)).all()
    assert (loaded.encode_images(parts[2].images) == model.encode_images(parts[2].images)).all()
    assert loaded.note == json.loads(json.dumps(model.note))


def test_a_changed_model_folder_is_refused(models, tmp_path):
    models["mean"].save(tmp_path / "model")
    record = tmp_path / "model" / "retrieval.json"
    record.write_text(record.read_text().replace('"eta"', '"beta"'))
    with pytest.raises(ModelFolderError, match=r"the checksum of retrieval\.json is wrong"):
        load_retrieval(tmp_path / "model")
    with pytest.raises(ModelFolderError, match="rnnfv retrieval fit"):
        load_retrieval(tmp_path)


def test_a_combination_averages_similarities(models, parts):
    chosen = tuple(by_cosines(models[name]) for name in ("mean", "rnn-fv", "tf-idf"))
    joint, test = Combination(chosen), parts[2]
    mean = np.mean([m.encode_sentences(test.texts) @ m.encode_images(test.images).T for m in chosen], axis=0)
    np.testing.assert_allclose(joint.encode_sentences(test.texts) @ joint.encode_images(test.images).T, mean, atol=1e-5)


def test_a_scaled_model_and_one_by_cosines_have_equal_parts_in_a_combination(models, parts):
    test, plain = parts[2], by_cosines(models["tf-idf"])
    banks = plain.encode_sentences(parts[0].texts), plain.encode_images(parts[0].images)
    scaled = dataclasses.replace(plain, scaling=LocalScaling(3).fit(*banks))
    one, other = (m.encode_sentences(test.texts) @ m.encode_images(test.images).T for m in (plain, scaled))
    joint = Combination((plain, scaled))
    sentences, images = joint.encode_sentences(test.texts), joint.encode_images(test.images)
    np.testing.assert_allclose(sentences @ images.T, (one + 2 * other) / 3, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(sentences, axis=1), 1, atol=1e-6)


def test_seeds_differ_and_repeat(parts, word_file):
    train, validation, test = parts
    whole = Parts(train, validation, test, None)
    settings = SentenceSettings("rnn-fv", **SMALL | {"epochs": 1})
    first, second, again = fit_models(whole, settings, [str(word_file)], seeds=[0, 1, 0], etas=[0.1])
    assert (first.cca.x_weights_ == again.cca.x_weights_).all()
    assert (first.cca.x_weights_ != second.cca.x_weights_).any()


def test_mean_report():
    one = {"annotation": {"r@1": 10.0}, "sentence": {"mean_rank": None}}
    other = {"annotation": {"r@1": 30.0}, "sentence": {"mean_rank": None}}
    assert mean_report([one, other]) == {"annotation": {"r@1": 20.0}, "sentence": {"mean_rank": None}}


def test_query_rows_name_what_was_found():
    from rnnfv.datasets.captions import Captions

    captions = Captions(
        np.array(["a.jpg", "b.jpg"]), np.array(["test"] * 2), np.arange(2), ["one", "two"], [None] * 2,
        np.arange(2), ["a.jpg#0", "b.jpg#0"],
    )  # fmt: skip
    images = np.eye(2, dtype=np.float32)
    sentences = np.array([[0.6, 0.8], [0, 1]], np.float32)
    assert list(query_rows(sentences, images, captions)) == [
        ("annotation", "a.jpg", 1, "one"),
        ("annotation", "b.jpg", 1, "two"),
        ("search", "one", 2, "b.jpg"),
        ("search", "two", 1, "b.jpg"),
    ]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"encoder": "lstm"}, "choose among mean, tf-idf"),
        ({"encoder": "mean", "reverse": True}, "does not see the order"),
        ({"encoder": "rnn-fv", "ica": True}, "ICA is for mean pooling and mixtures"),
    ],
)
def test_settings_that_make_no_sense(parameters, message):
    with pytest.raises(ValueError, match=message):
        SentenceSettings(**parameters)


def test_image_vectors_of_another_width_are_refused(models, parts):
    with pytest.raises(ValueError, match="image vectors have 15 values, but the model was fitted on 16"):
        models["mean"].encode_images(parts[2].images[:, :15])


def test_missing_words_and_etas(parts):
    with pytest.raises(ValueError, match="needs word vectors"):
        fit_retrieval(parts[0], parts[1], SentenceSettings("mean"))
    with pytest.raises(ValueError, match="no eta"):
        fit_retrieval(parts[0], parts[1], SentenceSettings("tf-idf"), etas=[])
    assert math.isfinite(total_recall(report(fit_retrieval(parts[0], parts[1], SentenceSettings("tf-idf")), parts[2])))


def test_the_end_token_does_not_depend_on_other_sentences(word_file):
    learnt = [["a", "dog"], ["the", "dog"]]
    alone, more = (reader_of([str(word_file)], learnt, others) for others in ([], [["cat", "sees"]]))
    vector = dict(zip(more.words_, more.vectors_, strict=True))
    np.testing.assert_allclose(vector["</s>"], np.mean([vector[word] for word in ("a", "dog", "the")], axis=0), 1e-6)
    np.testing.assert_array_equal(alone.vectors_[0], more.vectors_[0])


@pytest.mark.parametrize("n_sentences", [300, 120])
def test_pca_stands_before_the_cca_and_is_saved(parts, reader, tmp_path, monkeypatch, n_sentences):
    """With more sentences than numbers it is fitted on blocks, else on all of them; the oracle is scikit-learn's."""
    monkeypatch.setattr(sides, "_PCA_SENTENCES", n_sentences - 20)
    monkeypatch.setattr(sides, "_BLOCK_VALUES", 1 << 13)
    train = Pairs(parts[0].texts[:n_sentences], parts[0].images, parts[0].image_of_sentence[:n_sentences])
    settings = SentenceSettings("hglmm-fv", components=8, pca=6)
    model = fit_retrieval(train, parts[1], settings, reader)
    assert list(model.sentences.named_steps) == ["words", "encoder", "normalizer", "pca"]
    chosen = np.sort(np.random.default_rng(0).choice(n_sentences, n_sentences - 20, replace=False))
    wide = encode(model.sentences[:-1], train.texts)
    assert wide.shape[1] == 160
    oracle = PCA(6, svd_solver="full").fit(wide[chosen].astype(np.float64))
    ours = encode(model.sentences, train.texts)
    np.testing.assert_allclose(np.abs(ours), np.abs(oracle.transform(wide)), atol=1e-4)
    assert model.cca.x_weights_.shape[0] == 6
    model.save(tmp_path / "model")
    again = load_retrieval(tmp_path / "model")
    assert again.note["settings"]["pca"] == 6
    np.testing.assert_array_equal(again.encode_sentences(parts[2].texts), model.encode_sentences(parts[2].texts))


def test_blocks_are_measured_before_the_pca(parts, reader, monkeypatch):
    side = with_pca(fit_sentence_side(SentenceSettings("mean"), reader, parts[0].texts), parts[0].texts, 2)
    monkeypatch.setattr(sides, "_BLOCK_VALUES", 40)
    assert {len(block) for _, block in encoded_blocks(side, parts[0].texts)} == {4}  # of ten numbers


def test_a_pca_that_reduces_nothing_is_refused(parts, reader):
    with pytest.raises(ValueError, match=r"PCA to 10 numbers needs .* 300 sentences and 10 numbers"):
        fit_retrieval(parts[0], parts[1], SentenceSettings("mean", pca=10), reader)
    with pytest.raises(ValueError, match="pca is 0"):
        SentenceSettings("mean", pca=0)
