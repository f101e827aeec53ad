import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rnnfv import Sequences
from rnnfv.sequences import as_sequences

finite = st.floats(-1e3, 1e3, width=16)


@st.composite
def lists_of_arrays(draw):
    dim = draw(st.integers(1, 4))
    dtype = draw(st.sampled_from([np.float16, np.float32, np.float64]))
    lengths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=8))
    return [draw(hnp.arrays(dtype, (n, dim), elements=finite)) for n in lengths]


@given(lists_of_arrays())
def test_list_comes_back_item_by_item(arrays):
    seqs = Sequences.from_list(arrays)
    assert len(seqs) == len(arrays)
    assert seqs.dtype == arrays[0].dtype
    assert seqs.lengths.tolist() == [len(a) for a in arrays]
    for got, wanted in zip(seqs, arrays, strict=True):
        np.testing.assert_array_equal(got, wanted)


@given(lists_of_arrays(), st.data())
def test_indexing_agrees_with_a_list(arrays, data):
    seqs = Sequences.from_list(arrays)
    chosen = data.draw(st.lists(st.integers(-len(arrays), len(arrays) - 1), max_size=10))
    part = seqs[chosen]
    assert [a.tolist() for a in part] == [arrays[i].tolist() for i in chosen]
    start, stop = data.draw(st.integers(-9, 9)), data.draw(st.integers(-9, 9))
    assert [a.tolist() for a in seqs[start:stop]] == [a.tolist() for a in arrays[start:stop]]
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(arrays), max_size=len(arrays))))
    assert [a.tolist() for a in seqs[mask]] == [a.tolist() for a, m in zip(arrays, mask, strict=True) if m]


@given(lists_of_arrays())
def test_reversed_is_each_sequence_backwards_and_twice_is_nothing(arrays):
    seqs = Sequences.from_list(arrays)
    assert [a.tolist() for a in seqs.reversed()] == [a[::-1].tolist() for a in arrays]
    np.testing.assert_array_equal(seqs.reversed().reversed().values, seqs.values)


@given(lists_of_arrays(), st.integers(1, 30), st.sampled_from([0.0, 0.25, 1.0]), st.none() | st.integers(1, 3))
def test_batches_hold_every_sequence_once_and_keep_their_bounds(arrays, max_steps, max_padding, batch_size):
    seqs = Sequences.from_list(arrays)
    for rng in (None, np.random.default_rng(0)):
        batches = seqs.batches(max_steps, max_padding, batch_size, rng)
        assert sorted(np.concatenate(batches).tolist()) == list(range(len(arrays)))
        for batch in batches:
            lengths = seqs.lengths[batch]
            padded = len(batch) * lengths.max()
            assert len(batch) == 1 or padded <= max_steps
            assert padded - lengths.sum() <= max_padding * padded
            assert batch_size is None or len(batch) <= batch_size


@given(lists_of_arrays())
def test_padded_and_back(arrays):
    seqs = Sequences.from_list(arrays)
    padded = seqs.padded()
    assert padded.shape == (len(arrays), max(len(a) for a in arrays), arrays[0].shape[1])
    for row, array in zip(padded, arrays, strict=True):
        assert not row[len(array) :].any()
    again = Sequences.from_padded(padded, seqs.lengths)
    np.testing.assert_array_equal(again.values, seqs.values)


def test_random_batches_differ_and_repeat_with_the_generator(ragged):
    seqs = Sequences.from_list(ragged * 5)

    def order(seed):
        return np.concatenate(seqs.batches(batch_size=4, rng=np.random.default_rng(seed))).tolist()

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_items_and_slices_share_memory(ragged):
    seqs = Sequences.from_list(ragged)
    assert np.shares_memory(seqs[3], seqs.values)
    assert np.shares_memory(seqs[2:5].values, seqs.values)
    values = np.ones((6, 2), np.float32)
    assert Sequences(values, [0, 2, 6]).values is values
    assert np.shares_memory(Sequences.from_array(values.reshape(2, 3, 2)).values, values)


def test_accepted_forms_agree(ragged):
    array = np.stack([a[:1] for a in ragged])
    wanted = Sequences.from_array(array)
    as_object = np.empty(2, dtype=object)
    as_object[:] = [array[0], array[1]]
    for X in (
        list(array),
        array,
        torch.from_numpy(array),
        [torch.from_numpy(a) for a in array],
        array.tolist(),
        wanted,
    ):
        got = as_sequences(X)
        np.testing.assert_allclose(got.values, wanted.values)
    as_lists = pd.Series([array[0].tolist(), array[1].tolist()], index=[7, 8])
    for X in (as_object, as_lists):
        np.testing.assert_allclose(as_sequences(X).values, wanted.values[:2])


def test_integers_become_floats_wide_enough():
    assert Sequences.from_list([np.ones((2, 2), np.int8)]).dtype == np.float32
    assert Sequences.from_list([np.ones((2, 2), np.int64)]).dtype == np.float64


def test_symbols_look_their_vectors_up_only_when_asked():
    table = np.arange(8.0).reshape(4, 2)
    seqs = Sequences.from_list([[3, 1], [0, 2, 2]], vectors=table)
    assert seqs.values.ndim == 1
    assert seqs.dim == 2
    assert seqs.is_symbolic
    np.testing.assert_array_equal(seqs[0], table[[3, 1]])
    np.testing.assert_array_equal(seqs.reversed()[1], table[[2, 2, 0]])
    np.testing.assert_array_equal(seqs.steps(1, 3), table[[1, 0]])
    assert Sequences.from_list([[3, 1]]).dim is None
    assert Sequences.from_list([[3, 1]]).with_vectors(table).dim == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sequences.from_list([]), "list is empty"),
        (lambda: Sequences.from_list([np.ones((2, 3)), np.ones((0, 3))]), "sequence 1 is empty"),
        (lambda: Sequences.from_list([np.ones((2, 3)), []]), "sequence 1 is empty"),
        (lambda: Sequences.from_list([np.ones((2, 3)), np.ones((2, 4))]), "sequence 1 has 4 values a step.*has 3"),
        (lambda: Sequences.from_list([np.ones((2, 3)), np.ones(3, int)]), r"sequence 1 has shape \(3,\)"),
        (lambda: Sequences.from_list([np.ones((2, 3)), np.ones((1, 2, 3))]), "sequence 1 has rank 3"),
        (lambda: Sequences.from_list([np.ones(4)]), "sequence 0 has rank 1.*reshape"),
        (lambda: Sequences.from_list([np.ones((2, 1)), [[1.0], [np.nan]]]), "sequence 1 has NaN.*at step 1"),
        (lambda: Sequences.from_list([[[1.0]], [[np.inf]]]), "sequence 1 has NaN or an infinite value at step 0"),
        (lambda: Sequences.from_list([[[1.0], [1.0, 2.0]]]), "sequence 0 is not an array"),
        (lambda: Sequences.from_list([[0, 1], [2]], vectors=np.ones((2, 3))), "sequence 1 has a symbol outside 0..1"),
        (lambda: Sequences.from_list([[0, -1]]), "sequence 0 has a symbol"),
        (lambda: Sequences.from_list([[0]], vectors=[[np.nan]]), "vector of symbol 0"),
        (lambda: Sequences.from_list([np.ones((2, 3))], vectors=np.ones((2, 3))), "needs sequences of integer symbols"),
        (lambda: Sequences.from_padded(np.ones((2, 3, 1)), [1, 4]), "sequence 1 has length 4"),
        (lambda: Sequences(np.ones((3, 1)), [0, 2]), "offsets must run from 0 to"),
        (lambda: Sequences.from_list([np.ones((2, 0))]), "width is 0"),
        (lambda: as_sequences(np.ones((4, 3))), r"For a single sequence pass \[array\]"),
    ],
)
def test_bad_input_names_the_item(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("X", ["abc", {"a": 1}, 3, [["a", "b"]], [np.array([[1j]])], [np.array([[True]])]])
def test_what_is_no_sequence_of_numbers_is_a_type_error(X):
    with pytest.raises(TypeError):
        as_sequences(X)
