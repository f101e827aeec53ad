import numpy as np
import pytest

from rnnfv import MeanPooling, Sequences


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_mean_of_each_sequence(ragged, dtype):
    sequences = [sequence.astype(dtype) for sequence in ragged]
    got = MeanPooling().fit_transform(sequences)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, [s.astype(np.float64).mean(axis=0) for s in sequences], rtol=1e-6)


def test_long_float16_sequences_do_not_overflow():
    np.testing.assert_allclose(MeanPooling().fit_transform([np.full((5000, 1), 100, np.float16)]), [[100]])


def test_symbols_are_pooled_by_their_vectors():
    seqs = Sequences.from_list([[0, 1], [2]], vectors=[[1.0], [3.0], [7.0]])
    np.testing.assert_array_equal(MeanPooling().fit_transform(seqs), [[2], [7]])


def test_symbols_without_vectors_are_refused():
    with pytest.raises(ValueError, match="symbols without vectors"):
        MeanPooling().fit([[0, 1], [2]])
