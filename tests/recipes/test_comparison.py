import numpy as np
import pytest

from rnnfv import Sequences
from rnnfv.metrics import mean_accuracy
from rnnfv.recipes.comparison import POOLINGS, candidate, choose, evaluate, shuffle_steps

NET = {"hidden_size": 8, "projection_size": None, "max_epochs": 2}
PREPARATIONS = {"deltas": [0, 1]}


@pytest.fixture(scope="module")
def rising_or_falling():
    """Two classes that only order tells apart: each falling sequence is a rising one backwards."""
    rng = np.random.default_rng(0)
    rising = [np.sort(rng.normal(size=(n, 2)), axis=0) for n in rng.integers(5, 9, size=40)]
    seqs = Sequences.from_list(rising + [sequence[::-1] for sequence in rising])
    labels = np.repeat(["rising", "falling"], 40)
    return seqs, labels, np.tile([f"g{i}" for i in range(40)], 2)  # a sequence and its mirror image are one group


@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_pooling_runs_and_only_the_ordered_ones_see_order(rising_or_falling, pooling):
    made = candidate(pooling, {"deltas": [0]}, components=[2], **NET)
    choice = choose(made, *rising_or_falling)
    result = evaluate(made, choice, rising_or_falling, rising_or_falling, seed=0)
    assert result.predictions.shape == (80,)
    if pooling in ("rnn-fv", "rnn-fv-kron"):
        assert result.accuracy > 90
    elif pooling != "hidden":
        assert result.accuracy < 70


def test_nothing_is_learnt_from_the_test_part(rising_or_falling):
    made = candidate("rnn-fv-kron", PREPARATIONS, **NET)
    choice = choose(made, *rising_or_falling)
    seqs, labels, groups = rising_or_falling
    clean = evaluate(made, choice, rising_or_falling, rising_or_falling, seed=1)
    poisoned = (Sequences(seqs.values * 1000, seqs.offsets), labels[::-1], groups)
    spoilt = evaluate(made, choice, rising_or_falling, poisoned, seed=1)
    wanted = clean.pipeline[:-1].transform(seqs)
    np.testing.assert_array_equal(spoilt.pipeline[:-1].transform(seqs), wanted)


def test_choice_keeps_groups_together(rising_or_falling):
    # The labels follow the groups at random: only a classifier that has seen the group can be right.
    seqs, _, groups = rising_or_falling
    of_group = dict(zip(np.unique(groups), np.random.default_rng(1).integers(0, 2, 40).astype(str), strict=True))
    labels = np.array([of_group[g] for g in groups])
    choice = choose(candidate("mean", {"deltas": [0]}), seqs, labels, groups)
    assert choice.validation_accuracy < 75


def test_two_runs_with_one_seed_are_the_same(rising_or_falling):
    made = candidate("rnn-fv", PREPARATIONS, **NET)
    first, second = (evaluate(made, choose(made, *rising_or_falling), *[rising_or_falling] * 2, 3) for _ in range(2))
    np.testing.assert_array_equal(first.predictions, second.predictions)
    np.testing.assert_array_equal(first.pipeline[-1].coef_, second.pipeline[-1].coef_)


def test_unknown_pooling_lists_the_known():
    with pytest.raises(ValueError, match="no pooling 'max': choose among mean, gmm-fv"):
        candidate("max", {})


def test_shuffled_steps_stay_in_their_sequence(ragged):
    seqs = Sequences.from_list(ragged)
    shuffled = shuffle_steps(seqs, 0)
    for before, after in zip(seqs, shuffled, strict=True):
        assert sorted(map(tuple, before)) == sorted(map(tuple, after))
    assert not np.array_equal(seqs.values, shuffled.values)
    np.testing.assert_array_equal(shuffle_steps(seqs, 0).values, shuffled.values)


def test_mean_accuracy_is_over_splits_then_seeds():
    assert mean_accuracy([[80, 90], [60, 70], [70, 80]]) == (75, 5)
    assert mean_accuracy([[80]]) == (80, 0)
