import copy
import math
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
from torch.nn import functional

import rnnfv
from rnnfv import FisherInformationScaler, PowerNormalizer, RNNFisherVector, Sequences
from rnnfv.encoders.recurrent import RNNHiddenState
from rnnfv.networks import NextStepNetwork

SMALL = {"hidden_size": 5, "projection_size": 4, "max_epochs": 2, "batch_size": 4, "random_state": 0}
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def vectors_by_backward(encoder, sequences, names, n_symbols=None):
    """The oracle: one sequence at a time, the loss as SPEC S4 and S5 write it, torch's own backward pass."""
    network, rows = encoder.network_, []
    parameters = dict(network.named_parameters())
    for sequence in sequences:
        steps = torch.as_tensor(encoder.vectors[sequence] if n_symbols else sequence).to(network.output.weight)
        inputs = torch.cat([torch.zeros_like(steps[:1]), steps[:-1]])
        predictions = network(inputs[None])[0]
        if n_symbols is None:
            loss, count = (predictions - steps).square().sum() / 2, len(steps)
        else:
            known = torch.as_tensor(sequence, device=steps.device) < n_symbols
            targets = torch.as_tensor(sequence, device=steps.device)[known]
            loss, count = functional.cross_entropy(predictions[known], targets, reduction="sum"), max(1, len(targets))
        gradients = torch.autograd.grad(loss, [parameters[name] for name in names])
        if encoder.pooling == "mean":
            gradients = [g / count for g in gradients]
        rows.append([g.cpu().numpy() for g in gradients])
    return rows


def folded(rows):
    """[dL/dW, dL/db] unit after unit, the bias last in each."""
    return np.stack([np.concatenate([w, b[:, None]], axis=1).ravel() for w, b in rows])


@pytest.fixture
def symbols(rng):
    return [rng.integers(0, 8, size=n) for n in (5, 1, 9, 12, 2, 7, 3)]


OUTPUT = ["output.weight", "output.bias"]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("pooling", ["mean", "sum"])
@pytest.mark.parametrize(
    "net", [{}, {"cell": "gru"}, {"projection_size": None}, {"num_layers": 2, "dropout": 0.5}], ids=str
)
def test_regression_vectors_are_the_gradient(ragged, net, pooling, device):
    settings = SMALL | net | {"pooling": pooling, "dtype": "float64", "device": device}
    encoder = RNNFisherVector(**settings).fit(ragged)
    wanted = folded(vectors_by_backward(encoder, ragged, OUTPUT))
    np.testing.assert_allclose(encoder.transform(ragged), wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("pooling", ["mean", "sum"])
@pytest.mark.parametrize("n_symbols", [8, 6])
def test_classification_vectors_are_the_gradient(symbols, rng, pooling, n_symbols, device):
    encoder = RNNFisherVector(
        objective="classification",
        vectors=rng.normal(size=(8, 3)),
        n_symbols=n_symbols,
        pooling=pooling,
        dtype="float64",
        device=device,
        **SMALL,
    ).fit(symbols)
    wanted = folded(vectors_by_backward(encoder, symbols, OUTPUT, n_symbols))
    np.testing.assert_allclose(encoder.transform(symbols), wanted, rtol=1e-10, atol=1e-12)
    assert encoder.n_left_out_ == sum((s >= n_symbols).sum() for s in symbols)

    sampled = clone(encoder).set_params(coordinates=11).fit(symbols)
    np.testing.assert_array_equal(sampled.coordinates_, np.unique(sampled.coordinates_))
    whole = clone(encoder)
    whole.__dict__.update({**sampled.__dict__, "coordinates_": None, "coordinates": None})
    np.testing.assert_allclose(
        sampled.transform(symbols), whole.transform(symbols)[:, sampled.coordinates_], rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize(
    ("gradient", "net"),
    [
        ("all", {}),
        ("all", {"num_layers": 2, "projection_size": None, "pooling": "sum"}),
        ("recurrent.weight_hh_l0", {}),
        (["output.bias", "recurrent.bias_ih_l0"], {}),
    ],
)
def test_other_layers_gradients_are_autograd_s(ragged, cell, gradient, net, device):
    net = SMALL | net
    encoder = RNNFisherVector(**net, cell=cell, gradient=gradient, dtype="float64", device=device).fit(ragged)
    every = [name for name, _ in encoder.network_.named_parameters()]
    names = every if gradient == "all" else [gradient] if isinstance(gradient, str) else gradient
    rows = vectors_by_backward(encoder, ragged, names)
    wanted = np.stack([np.concatenate([g.ravel() for g in row]) for row in rows])
    got = encoder.transform(ragged)
    np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-12)
    assert encoder.get_feature_names_out().shape == (got.shape[1],)


def test_other_layers_do_not_care_for_coordinates_autocast_or_how_the_net_was_made(ragged):
    net = SMALL | {"gradient": "all", "max_epochs": 0}
    wanted = RNNFisherVector(**net).fit(ragged).transform(ragged)
    with torch.inference_mode():
        made_there = RNNFisherVector(**net, coordinates=1).fit(ragged)
    np.testing.assert_array_equal(made_there.transform(ragged), wanted)
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_array_equal(made_there.transform(ragged), wanted)


@pytest.mark.parametrize("gradient", [[], ["output.bias", "output.bias"]])
def test_each_layer_is_named_once(ragged, gradient):
    with pytest.raises(ValueError, match="name one parameter or more, each once"):
        RNNFisherVector(**SMALL, gradient=gradient).fit(ragged).transform(ragged)


def test_classification_gradients_of_other_layers(symbols, rng):
    vectors = rng.normal(size=(8, 3))
    encoder = RNNFisherVector(
        objective="classification", vectors=vectors, n_symbols=6, gradient="all", dtype="float64", **SMALL
    ).fit(symbols)
    names = [name for name, _ in encoder.network_.named_parameters()]
    rows = vectors_by_backward(encoder, symbols, names, 6)
    wanted = np.stack([np.concatenate([g.ravel() for g in row]) for row in rows])
    np.testing.assert_allclose(encoder.transform(symbols), wanted, rtol=1e-10, atol=1e-12)


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(3)
    ragged = [rng.normal(size=(n, 3)) for n in (5, 1, 9, 14, 2, 7, 7, 3, 11, 6, 4, 8)]
    return RNNFisherVector(**SMALL).fit(ragged), ragged


@given(st.permutations(range(12)), st.integers(1, 12))
@settings(deadline=None, max_examples=20)
def test_a_vector_depends_on_its_own_sequence_alone(fitted, order, count):
    encoder, ragged = fitted
    alone = np.concatenate([encoder.transform([sequence]) for sequence in ragged])
    some = list(order)[:count]
    np.testing.assert_allclose(encoder.transform([ragged[i] for i in some]), alone[some], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_any_float_in_float32_out(fitted, dtype):
    encoder, ragged = fitted
    got = encoder.transform([sequence.astype(dtype) for sequence in ragged])
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, encoder.transform(ragged), atol=5e-3)


def test_network_predicts_a_batch(fitted):
    encoder, _ = fitted
    assert encoder.network_(torch.zeros(2, 7, 3)).shape == (2, 7, 3)
    assert isinstance(encoder.network_.output, torch.nn.Linear)
    assert not encoder.network_.training


@pytest.mark.parametrize("stopping", ["probe", "loss", None])
def test_one_seed_gives_the_same_bytes(ragged, stopping):
    y = np.arange(12) % 2
    first, second = (RNNFisherVector(**SMALL, dropout=0.5, early_stopping=stopping).fit(ragged, y) for _ in range(2))
    np.testing.assert_array_equal(first.transform(ragged), second.transform(ragged))
    assert first.history_ == second.history_
    other = RNNFisherVector(**SMALL | {"random_state": 1}, early_stopping=stopping).fit(ragged, y)
    assert not np.array_equal(other.transform(ragged), first.transform(ragged))


def test_training_leaves_torch_s_generator_alone(ragged):
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    RNNFisherVector(**SMALL, dropout=0.5).fit(ragged)
    assert torch.rand(1) == wanted


def test_training_lowers_the_loss(rng):
    # x_{i+1} = -x_i: all is known once the first step has been seen.
    sequences = [np.resize([x, -x], (10, 2)) for x in rng.normal(size=40)]
    encoder = RNNFisherVector(
        hidden_size=16, max_epochs=60, learning_rate=1e-2, dropout=0.0, early_stopping=None, random_state=0
    ).fit(sequences)
    assert encoder.history_["loss"][-1] < 0.4 * encoder.history_["loss"][0]


def test_the_kept_epoch_is_the_best_judged_one(ragged):
    y = np.arange(12) % 3
    settings = SMALL | {"max_epochs": 5, "learning_rate": 0.1}
    encoder = RNNFisherVector(**settings, early_stopping="loss").fit(ragged, y)
    judged = encoder.history_["validation"]
    assert encoder.best_epoch_ == 1 + int(np.argmax(judged))
    stopped = RNNFisherVector(**settings | {"max_epochs": encoder.best_epoch_}, early_stopping="loss").fit(ragged, y)
    np.testing.assert_array_equal(stopped.transform(ragged), encoder.transform(ragged))


def test_patience_ends_training_early(ragged):
    encoder = RNNFisherVector(**SMALL | {"max_epochs": 50, "learning_rate": 0.3}, early_stopping="loss", patience=2)
    encoder.fit(ragged)
    assert len(encoder.history_["loss"]) == min(50, encoder.best_epoch_ + 2)


def test_ones_own_judge_chooses_the_epoch(ragged):
    seen = []

    def judge(encoder):  # the second epoch is best, the third is not judged
        seen.append(encoder.transform(ragged))
        return [0.1, 0.5, math.nan, 0.5][len(seen) - 1]

    encoder = RNNFisherVector(**SMALL | {"max_epochs": 4}).fit(ragged, judge=judge)
    assert encoder.best_epoch_ == 2
    assert (encoder.transform(ragged) == seen[1]).all()
    assert len(encoder.history_["loss"]) == 4
    # No sequence was held out: the net is that of training without a judgement.
    plain = RNNFisherVector(**SMALL | {"max_epochs": 2}, early_stopping=None).fit(ragged)
    assert (plain.transform(ragged) == seen[1]).all()


def test_without_any_judgement_the_last_epoch_is_kept(ragged):
    encoder = RNNFisherVector(**SMALL).fit(ragged, judge=lambda _: math.nan)
    assert encoder.best_epoch_ == 2


def test_groups_are_never_split(ragged, monkeypatch):
    seen = []

    def spy(self, part, y_part, held_out, y_held_out):
        seen.append((part.values.tobytes(), held_out))
        return lambda: 0.0

    monkeypatch.setattr(RNNFisherVector, "_probe_judge", spy)
    groups = np.repeat(np.arange(4), 3)
    RNNFisherVector(**SMALL).fit(ragged, np.arange(12) % 2, groups=groups)
    ((_, held_out),) = seen
    of_group = {g: {ragged[i].tobytes() for i in np.flatnonzero(groups == g)} for g in range(4)}
    held = {array.tobytes() for array in held_out}
    assert held
    assert all(members <= held or not members & held for members in of_group.values())


def test_auto_judges_by_labels_where_there_are_some(ragged):
    assert RNNFisherVector(**SMALL).fit(ragged).history_["validation"][0] < 0  # a log likelihood
    assert RNNFisherVector(**SMALL).fit(ragged, np.arange(12) % 2).history_["validation"][0] >= 0  # an accuracy


def test_surprisal_and_score(fitted):
    encoder, ragged = fitted
    steps = torch.as_tensor(ragged[2], dtype=torch.float32)
    inputs = torch.cat([torch.zeros(1, 3), steps[:-1]])
    with torch.no_grad():
        density = torch.distributions.Normal(encoder.network_(inputs[None])[0], 1.0).log_prob(steps).sum(dim=1)
    np.testing.assert_allclose(encoder.surprisal(ragged)[2], -density, rtol=1e-4)
    np.testing.assert_allclose(encoder.score_samples(ragged)[2], density.sum(), rtol=1e-4)
    assert [len(s) for s in encoder.surprisal(ragged)] == [len(s) for s in ragged]


def test_symbol_scores_leave_unknown_symbols_out(symbols, rng):
    encoder = RNNFisherVector(objective="classification", vectors=rng.normal(size=(8, 3)), n_symbols=6, **SMALL).fit(
        symbols
    )
    for sequence, surprisal in zip(symbols, encoder.surprisal(symbols), strict=True):
        np.testing.assert_array_equal(surprisal == 0, sequence >= 6)


def test_hidden_states_are_what_the_output_layer_sees(fitted):
    encoder, ragged = fitted
    states = encoder.hidden_states(ragged)
    assert [s.shape for s in states] == [(len(s), 5) for s in ragged]
    with torch.no_grad():
        predicted = encoder.network_.output(torch.as_tensor(states[3]))
    errors = predicted.numpy() - ragged[3]
    wanted = errors.T @ np.c_[states[3], np.ones(len(errors))] / len(errors)
    np.testing.assert_allclose(encoder.transform([ragged[3]])[0], wanted.ravel(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "sum"])
@pytest.mark.parametrize("scaled", [False, True])
def test_explanation_adds_up_to_the_decision(ragged, pooling, scaled):
    y = np.arange(12) % 3
    normalizers = [*([FisherInformationScaler("kronecker")] if scaled else []), PowerNormalizer()]
    encoder = RNNFisherVector(**SMALL, pooling=pooling, dtype="float64")
    pipeline = make_pipeline(encoder, *normalizers, LinearSVC()).fit(ragged, y)
    encoder, *normalizers, svm = pipeline
    for sequence in ragged:
        shares = encoder.explain(sequence, svm.coef_, normalizers)
        assert shares.shape == (3, len(sequence))
        wanted = pipeline.decision_function([sequence])[0] - svm.intercept_
        np.testing.assert_allclose(shares.sum(axis=1), wanted, atol=1e-9)
    np.testing.assert_allclose(encoder.explain(sequence, svm.coef_[1], normalizers), shares[1])
    plain = encoder.explain(sequence, np.eye(18))
    np.testing.assert_allclose(plain.sum(axis=1), encoder.transform([sequence])[0], atol=1e-9)


def test_explanation_of_sampled_coordinates(symbols, rng):
    encoder = RNNFisherVector(
        objective="classification", vectors=rng.normal(size=(8, 3)), coordinates=11, dtype="float64", **SMALL
    ).fit(symbols)
    shares = encoder.explain(symbols[3], np.eye(11))
    np.testing.assert_allclose(shares.sum(axis=1), encoder.transform(symbols)[3], atol=1e-9)


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_hidden_state_baseline(ragged, pooling):
    encoder = RNNHiddenState(**SMALL, pooling=pooling).fit(ragged, np.arange(12) % 2)
    states = encoder.hidden_states(ragged)
    wanted = [s.mean(axis=0) if pooling == "mean" else s[-1] for s in states]
    np.testing.assert_allclose(encoder.transform(ragged), wanted)


# -- scikit-learn manners ------------------------------------------------------------------------


def test_grid_search_pipeline_and_pandas(ragged):
    y = np.arange(12) % 2
    pipeline = make_pipeline(RNNFisherVector(**SMALL), PowerNormalizer(), LinearSVC())
    search = GridSearchCV(pipeline, {"rnnfishervector__hidden_size": [3, 4]}, cv=2).fit(Sequences.from_list(ragged), y)
    assert search.best_estimator_.predict(ragged).shape == (12,)
    frame = RNNFisherVector(**SMALL).set_output(transform="pandas").fit_transform(ragged)
    assert frame.shape == (12, 18)
    assert list(frame.columns[:2]) == ["rnnfishervector0", "rnnfishervector1"]
    reduced = make_pipeline(RNNFisherVector(**SMALL), PCA(2)).fit_transform(ragged)
    assert reduced.shape == (12, 2)


def test_cross_validation_keeps_symbols_and_their_table(symbols, rng):
    seqs = Sequences.from_list(symbols, rng.normal(size=(8, 3)))
    model = make_pipeline(RNNFisherVector(**SMALL, objective="classification"), LinearSVC())
    scores = cross_val_score(model, seqs, np.arange(len(seqs)) % 2, cv=2, error_score="raise")
    assert scores.shape == (2,)


def test_clone_has_the_same_parameters(rng):
    encoder = RNNFisherVector(hidden_size=7, vectors=rng.normal(size=(3, 2)), gradient=["output.bias"])
    assert clone(encoder).get_params()["hidden_size"] == 7
    with pytest.raises(NotFittedError):
        encoder.transform([[0, 1]])


@pytest.mark.parametrize("objective", ["regression", "classification"])
def test_saved_and_loaded_is_the_same_to_the_bit(ragged, symbols, rng, tmp_path, objective):
    probe = make_pipeline(PowerNormalizer(), LinearSVC(C=2.0))
    encoder = RNNFisherVector(objective=objective, probe=probe, **SMALL)
    X, y = ragged, np.arange(12) % 2
    if objective == "classification":
        encoder.set_params(vectors=rng.normal(size=(8, 3)), coordinates=9)
        X, y = symbols, np.arange(7) % 2
    encoder.fit(X, y).save(tmp_path / "model")
    again = rnnfv.load(tmp_path / "model")
    np.testing.assert_array_equal(again.transform(X), encoder.transform(X))
    assert again.history_ == encoder.history_
    assert again.probe[-1].C == 2.0
    assert not again.network_.training


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"objective": "both"}, "objective is 'both': it must be one of 'regression', 'classification'"),
        ({"cell": "rnn"}, "cell is 'rnn'"),
        ({"pooling": "last"}, "pooling is 'last'"),
        ({"hidden_size": 0}, "hidden_size is 0: it must be at least 1"),
        ({"max_epochs": -1}, "max_epochs is -1: it must be at least 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"max_grad_norm": -1}, "max_grad_norm is -1: it must be above 0"),
        ({"learning_rate": 0}, "learning_rate is 0"),
        ({"early_stopping": "probe"}, "needs labels"),
        ({"objective": "classification"}, "needs sequences of integer symbols"),
        ({"device": "nowhere"}, "there is no device 'nowhere'"),
        ({"gradient": "nothing"}, "no parameter 'nothing': choose among projection"),
        ({"dtype": "int8"}, "dtype is 'int8'"),
    ],
)
def test_wrong_parameters(ragged, parameters, message):
    encoder = RNNFisherVector(**SMALL | parameters)
    with pytest.raises(ValueError, match=message):
        encoder.fit(ragged).transform(ragged)


def test_wrong_input(fitted, ragged):
    encoder, _ = fitted
    with pytest.raises(ValueError, match="2 values a step, but RNNFisherVector was fitted on 3"):
        encoder.transform([np.ones((4, 2))])
    with pytest.raises(ValueError, match="sequence 1 has NaN"):
        encoder.transform([np.ones((4, 3)), np.full((2, 3), np.nan)])
    with pytest.raises(ValueError, match="12 sequences but 3 labels"):
        encoder.fit(ragged, [0, 1, 0])


def test_diverging_training_stops_with_a_word(ragged):
    huge = [sequence * 1e30 for sequence in ragged]
    with pytest.raises(FloatingPointError, match="lower learning_rate, or scale"):
        RNNFisherVector(**SMALL, early_stopping=None).fit(huge)


def test_what_cannot_be_split_says_what_to_do(ragged):
    y = np.arange(12) % 2
    with pytest.raises(ValueError, match="two groups: give more, or pass early_stopping=None"):
        RNNFisherVector(**SMALL).fit(ragged, y, groups=np.zeros(12))
    with pytest.raises(ValueError, match="two sequences: give more, or pass early_stopping=None"):
        RNNFisherVector(**SMALL).fit(ragged[:1])
    with pytest.raises(ValueError, match="labels of two classes or more"):
        RNNFisherVector(**SMALL | {"early_stopping": "probe"}).fit(ragged, np.zeros(12, int))


def test_one_class_is_judged_by_the_loss(ragged):
    history = RNNFisherVector(**SMALL).fit(ragged, np.zeros(12, int)).history_
    assert max(history["validation"]) < 0


@pytest.mark.parametrize("labelled", [False, True])
def test_no_epochs_leave_a_random_net(ragged, labelled):
    encoder = RNNFisherVector(**SMALL | {"max_epochs": 0}).fit(ragged, np.arange(12) % 2 if labelled else None)
    assert encoder.best_epoch_ == 0
    assert np.isfinite(encoder.transform(ragged)).all()


# -- what was fitted counts ----------------------------------------------------------------------


def test_parameters_set_after_fit_do_not_change_the_vectors(ragged):
    encoder = RNNFisherVector(**SMALL).fit(ragged)
    wanted = encoder.transform(ragged)
    encoder.set_params(hidden_size=9, dtype="float64")
    np.testing.assert_array_equal(encoder.transform(ragged), wanted)


def test_an_interrupted_fit_leaves_nothing_fitted(ragged, monkeypatch):
    encoder = RNNFisherVector(**SMALL).fit(ragged)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("rnnfv.training.mean_loss", stop)
    with pytest.raises(KeyboardInterrupt):
        encoder.fit(ragged)
    with pytest.raises(NotFittedError):
        encoder.transform(ragged)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_classification_takes_the_sequences_own_table(symbols, rng, dtype):
    table = rng.normal(size=(8, 3))
    own = Sequences.from_list([s.astype(dtype) for s in symbols], vectors=table)
    got = RNNFisherVector(objective="classification", **SMALL).fit_transform(own)
    wanted = RNNFisherVector(objective="classification", vectors=table, **SMALL).fit_transform(symbols)
    np.testing.assert_array_equal(got, wanted)


def test_unfitted_can_be_saved_and_sizes_may_be_numpy_s(ragged, tmp_path):
    encoder = RNNFisherVector(**SMALL | {"hidden_size": np.int64(3)})
    encoder.fit(ragged)
    clone(encoder).save(tmp_path / "model")
    assert rnnfv.load(tmp_path / "model").hidden_size == 3


def test_numbers_as_targets_are_judged_by_likelihood(ragged, rng):
    assert RNNFisherVector(**SMALL).fit(ragged, rng.normal(size=12)).history_["validation"][0] < 0


@pytest.mark.parametrize("through", [copy.copy, copy.deepcopy, lambda encoder: pickle.loads(pickle.dumps(encoder))])
def test_a_copy_has_a_net_of_its_own_where_it_can_compute(ragged, monkeypatch, through):
    encoder = RNNFisherVector(**SMALL).fit(ragged)
    expected = encoder.transform(ragged)
    encoder.set_params(device="xpu:7")
    moved, cpu = [], torch.nn.Module.cpu
    monkeypatch.setattr(torch.nn.Module, "cpu", lambda net: moved.append(net) or cpu(net))
    with pytest.warns(UserWarning, match="'xpu:7' cannot be used here: .*the net is on the CPU"):
        copied = through(encoder)
    assert isinstance(moved[0], NextStepNetwork)
    assert encoder.network_ not in (copied.network_, *moved)
    np.testing.assert_array_equal(copied.transform(ragged), expected)
    assert "network_" not in vars(through(RNNFisherVector(**SMALL)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_what_a_gpu_has_fitted_is_unpickled_without_one(ragged, tmp_path):
    encoder = RNNFisherVector(**SMALL, device="auto").fit(ragged)
    assert encoder.network_.output.weight.is_cuda
    assert pickle.loads(pickle.dumps(encoder)).network_.output.weight.is_cuda
    (tmp_path / "encoder").write_bytes(pickle.dumps((encoder, ragged)))
    script = "import pickle, sys; encoder, X = pickle.load(open(sys.argv[1], 'rb')); print(encoder.transform(X).shape)"
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", script, tmp_path / "encoder"]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == str(encoder.transform(ragged).shape)


def test_a_model_of_another_device_loads_on_the_cpu_with_a_word(ragged, tmp_path):
    encoder = RNNFisherVector(**SMALL).fit(ragged)
    encoder.set_params(device="xpu:7").save(tmp_path / "model")
    with pytest.warns(UserWarning, match="the net is on the CPU"):
        again = rnnfv.load(tmp_path / "model")
    np.testing.assert_array_equal(again.transform(ragged), encoder.transform(ragged))
