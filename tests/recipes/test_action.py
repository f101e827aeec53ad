import numpy as np
import pytest

from rnnfv import Sequences
from rnnfv.datasets.labelled import LabelledSequences
from rnnfv.datasets.manifest import Manifest
from rnnfv.recipes._action_chain import Chain
from rnnfv.recipes._work import Work
from rnnfv.recipes.action import Settings, as_json, evaluate_actions, fit_action
from rnnfv.recipes.streaming import ActionStream

FAST = {"hidden_size": 6, "projection_size": 6, "max_epochs": 2, "components": (1, 2), "deltas": (0,)}
WIDE = {"hidden_size": 6, "projection_size": 6, "max_epochs": 2, "components": (1, 2), "n_reduced": 10}

SMALL_CHOICES = {
    "prepare__n_components": (40, 500),
    "prepare__deltas": (0, 1),
    "encoder__max_epochs": (1, 4, 8),
}


def made(dim, n_groups=9, splits=1, seed=0):
    """Two classes that only order tells apart: walks that rise, and the same walks backwards."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(2, dim))
    walks = [np.sort(rng.normal(size=(n, 2)), axis=0) @ mixing for n in rng.integers(5, 9, 4 * n_groups)]
    seqs = Sequences.from_list(walks + [walk[::-1] for walk in walks])
    groups = np.tile([f"g{i % n_groups}" for i in range(len(walks))], 2)
    labels = np.repeat(["rising", "falling"], len(walks))
    parts = {
        f"split{k + 1}": np.where(np.isin(groups, [f"g{3 * k + i}" for i in range(3)]), "test", "train")
        for k in range(splits)
    }
    ids = np.array([f"clip{i}" for i in range(len(seqs))])
    return LabelledSequences(seqs, Manifest(ids, labels, groups, parts))


@pytest.mark.parametrize(("dim", "options"), [(4, FAST), (520, WIDE | {"deltas": (0,)})])
def test_every_pooling_on_narrow_and_wide_features(dim, options):
    settings = Settings(seeds=2, **options)
    rows = evaluate_actions(made(dim, splits=2), settings)
    assert list(rows) == list(settings.poolings)
    for row in rows.values():
        assert {split: len(values) for split, values in row.accuracies.items()} == {"split1": 2, "split2": 2}
        assert row.mean == pytest.approx(np.mean(list(row.accuracies.values())))
    assert abs(rows["mean"].mean - 50) < 15  # a walk and its mirror image are one to it, but for rounding
    assert rows["rnn-fv-kron"].mean > 80
    figures = as_json(rows, {"features": "made"}, settings)
    assert figures["poolings"]["rnn-fv"]["split1"] == rows["rnn-fv"].accuracies["split1"]
    assert figures["protocol"]["settings"]["seeds"] == 2


@pytest.mark.parametrize(("dim", "options"), [(4, FAST), (520, WIDE)])
@pytest.mark.parametrize("pooling", ["mean", "gmm-fv", "hidden", "rnn-fv", "rnn-fv-kron"])
def test_nothing_is_learnt_from_the_test_part(dim, options, pooling):
    clean, spoilt = made(dim), made(dim)
    is_test = np.repeat(spoilt.manifest.splits["split1"] == "test", spoilt.sequences.lengths)
    spoilt.sequences.values[is_test] *= 1000
    spoilt.manifest.labels[spoilt.manifest.splits["split1"] == "test"] = "rising"
    fitted = []
    for data in (clean, spoilt):
        evaluate_actions(data, Settings(poolings=(pooling,), **options), keep=fitted.append)
    train = fitted[0].train[0]
    scores = [one.pipeline.decision_function(train) for one in fitted]
    np.testing.assert_array_equal(scores[0], scores[1])


def test_what_poolings_share_is_made_once(monkeypatch):
    """Here, without a folder of work, and over choices and fits: no part is prepared before it is needed, or twice."""
    seen = []

    class Seen(Chain):
        def __init__(self, settings, train, *rest):
            seen.append("fit")
            super().__init__(settings, train, *rest)

        def prepare(self, part):
            seen.append("test" if set(part[2]) <= {"g0", "g1", "g2"} else "train")
            return super().prepare(part)

    monkeypatch.setattr("rnnfv.recipes._action_cells.Chain", Seen)
    evaluate_actions(made(4), Settings(poolings=("mean", "hidden"), seeds=2, **FAST))
    assert seen == ["fit", "train", "test"]
    seen.clear()
    evaluate_actions(made(4, splits=2), Settings(poolings=("mean",), **FAST))
    assert seen.count("fit") == 2


def test_what_is_kept_of_an_earlier_call_is_not_handed_on(tmp_path):
    data, settings = made(4), Settings(poolings=("mean",), **FAST)
    handed = []
    rows = [evaluate_actions(data, settings, keep=handed.append, work=Work(tmp_path)) for _ in range(2)]
    assert len(handed) == 1
    assert rows[0] == rows[1]


def test_playing_backwards_turns_one_class_into_the_other():
    rows = evaluate_actions(made(4), Settings(poolings=("mean", "rnn-fv"), **FAST), reverse_test=True)
    assert rows["mean"].changed["split1"][0] < 20
    assert rows["rnn-fv"].reversed_accuracies["split1"][0] < rows["rnn-fv"].mean
    assert rows["rnn-fv"].changed["split1"][0] > 50


def test_a_net_of_another_set_is_taken_as_it_is():
    source = made(4, seed=1)
    model = fit_action(source.part("split1", "train"), Settings(poolings=("rnn-fv",), **FAST))
    fitted = []
    rows = evaluate_actions(
        made(4), Settings(poolings=("rnn-fv", "rnn-fv-kron"), **FAST), transfer=model, keep=fitted.append
    )
    assert rows["rnn-fv"].mean > 70
    for one in fitted:
        assert one.pipeline["encoder"] is model["encoder"]
        assert one.pipeline["prepare"] is model["prepare"]


def test_a_split_whose_parts_share_a_group_is_refused():
    data = made(4)
    data.manifest.groups[:] = "g1"
    settings = Settings(poolings=("mean",), **FAST)
    with pytest.raises(ValueError, match=r"split1 has 1 groups in both .* \(such as 'g1'\)"):
        evaluate_actions(data, settings)


def test_overlap_can_be_allowed():
    data = made(4)
    first_test = np.flatnonzero(data.manifest.splits["split1"] == "test")[0]
    data.manifest.groups[first_test] = "g5"
    rows = evaluate_actions(data, Settings(poolings=("mean",), **FAST), allow_overlap=True)
    assert len(rows["mean"].accuracies["split1"]) == 1


def test_small_sets_of_wide_features_choose_and_large_ones_go_the_papers_way(monkeypatch):
    settings = Settings(poolings=("rnn-fv",), hidden_size=6, projection_size=6)
    small, large = [], []
    rows = evaluate_actions(made(520), settings, keep=small.append)
    chosen = rows["rnn-fv"].chosen["split1"]
    assert all(chosen[name] in values for name, values in SMALL_CHOICES.items())
    assert "reduce" not in small[0].pipeline.named_steps
    monkeypatch.setattr("rnnfv.recipes._action_chain._LARGE", 10)
    rows = evaluate_actions(made(520), settings, keep=large.append)
    assert rows["rnn-fv"].chosen["split1"] == {"validation": None}
    encoder, prepare = large[0].pipeline["encoder"], large[0].pipeline["prepare"]
    assert (encoder.early_stopping, encoder.max_epochs) == ("probe", 8)
    assert (prepare.n_components, prepare.deltas, prepare.unit_steps) == (500, 0, True)
    assert large[0].pipeline["reduce"].n_components == 1000


@pytest.mark.parametrize("pooling", ["mean", "rnn-fv-kron"])
def test_the_whole_pipeline_does_what_was_tested(pooling):
    fitted = []
    evaluate_actions(made(520), Settings(poolings=(pooling,), **WIDE), keep=fitted.append)
    (one,) = fitted
    assert list(one.pipeline.named_steps)[:2] == ["prepare", "encoder"]
    np.testing.assert_array_equal(one.pipeline.predict(one.test[0]), one.result.predictions)


def test_small_sets_of_wide_features_choose_their_differences():
    fitted = []
    evaluate_actions(made(520), Settings(poolings=("mean",), **WIDE), keep=fitted.append)
    assert fitted[0].pipeline["prepare"].deltas == 1  # the difference of the ends tells rising from falling
    assert fitted[0].result.accuracy > 90
    evaluate_actions(made(520), Settings(poolings=("mean",), deltas=(0,), **WIDE), keep=fitted.append)
    assert fitted[1].result.accuracy < 65


def test_wrong_settings():
    with pytest.raises(ValueError, match="no pooling 'max': choose among mean"):
        Settings(poolings=("max",))
    with pytest.raises(ValueError, match="the pooling 'mean' is named twice"):
        Settings(poolings=("mean", "rnn-fv", "mean"))
    with pytest.raises(ValueError, match="seeds is 0"):
        Settings(seeds=0)
    with pytest.raises(ValueError, match="hidden_size is 0: it must be at least 1"):
        Settings(hidden_size=0)
    with pytest.raises(ValueError, match="only rnn-fv and rnn-fv-kron can be streamed"):
        Settings(poolings=("mean",), is_streamed=True)
    data = made(4)
    data.manifest.splits["split1"][:] = "train"
    with pytest.raises(ValueError, match="split1 has no test items"):
        evaluate_actions(data, Settings())


def test_a_streamed_recogniser_needs_no_whole_sequence():
    train = made(4).part("split1", "train")
    model = fit_action(train, Settings(poolings=("rnn-fv",), is_streamed=True, **FAST))
    assert not model["prepare"].scale_sequences
    stream = ActionStream(model)
    scores = stream.push(train[0][0]).scores()
    np.testing.assert_allclose(scores[1], model.decision_function(train[0][:1])[0], rtol=1e-4)


def test_another_encoder_cannot_be_transferred():
    model = fit_action(made(4).part("split1", "train"), Settings(poolings=("rnn-fv",), **FAST))
    with pytest.raises(ValueError, match="RNNFisherVector, which is not that of hidden"):
        evaluate_actions(made(4), Settings(poolings=("mean", "hidden"), **FAST), transfer=model)


def test_items_without_a_label_are_named():
    data = made(4)
    data.manifest.labels[3] = ""
    with pytest.raises(ValueError, match="'clip3' is in split1 but has no label"):
        evaluate_actions(data, Settings(poolings=("mean",), **FAST))
