"""Figures that say how good a representation is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

_BLOCK_VALUES = 1 << 22  # similarities looked at together: 16 MiB in float32


def mean_accuracy(accuracies: Any) -> tuple[float, float]:
    """Mean over splits of the mean over seeds, and the standard deviation over seeds of the mean over splits.

    Parameters
    ----------
    accuracies : array-like of shape (splits, seeds)

    Returns
    -------
    mean : float
    std : float
        0 for a single seed.

    Examples
    --------
    >>> mean_accuracy([[80.0, 82.0], [90.0, 92.0]])
    (86.0, 1.0)
    """
    per_seed = np.asarray(accuracies, dtype=np.float64).mean(axis=0)
    return float(per_seed.mean()), float(per_seed.std())


class Rows(Protocol):
    """A matrix of which only rows are asked for: an array, a memory map, or `Cosines`."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __getitem__(self, rows: slice, /) -> NDArray[Any]: ...


class Cosines:
    """The products of the rows of two matrices, computed only when rows of them are asked for.

    With rows of length one these are cosines, and a matrix of 25,000 x 25,000 of them need never be in memory.

    Parameters
    ----------
    left : ndarray of shape (n, d)
    right : ndarray of shape (m, d)

    Examples
    --------
    >>> Cosines(np.eye(3), np.eye(3)[:2])[1:].tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """

    def __init__(self, left: NDArray[Any], right: NDArray[Any]) -> None:
        if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[1]:
            raise ValueError(f"the two matrices must be of one width; got shapes {left.shape} and {right.shape}")
        self.left, self.right = left, right

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.left), len(self.right)

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        products: NDArray[Any] = self.left[rows] @ self.right.T
        return products


def retrieval_ranks(similarity: Rows, image_of_sentence: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rank, from 1, of the first true result of every query, be it an image or a sentence (SPEC S20).

    A wrong result that is as similar as the first true one stands before it: ties never flatter.

    Parameters
    ----------
    similarity : array-like of shape (n_sentences, n_images), or `Cosines`
        Read by blocks of rows, twice.
    image_of_sentence : array-like of shape (n_sentences,), integer
        The column of the true image of each sentence.

    Returns
    -------
    annotation : ndarray of shape (n_images,), int64
        For each image the rank of the best of its sentences; 0 for an image without any.
    search : ndarray of shape (n_sentences,), int64
        For each sentence the rank of its image.

    Raises
    ------
    ValueError
        If shapes do not fit, or a similarity is NaN.

    Examples
    --------
    >>> annotation, search = retrieval_ranks(np.array([[0.9, 0.1], [0.8, 0.3], [0.5, 0.5]]), [0, 1, 1])
    >>> annotation.tolist(), search.tolist()  # the last sentence is as near to the wrong image
    ([1, 1], [1, 2, 2])
    """
    similarity, images = _checked(similarity, image_of_sentence)
    n_images = similarity.shape[1]
    wrong = np.flatnonzero((images < 0) | (images >= n_images))
    if wrong.size:
        raise ValueError(f"sentence {wrong[0]} belongs to image {images[wrong[0]]}, but there are {n_images} images")
    true = np.concatenate([block[np.arange(len(block)), images[rows]] for rows, block in _row_blocks(similarity)])
    best = np.full(n_images, -np.inf)
    np.maximum.at(best, images, true)
    annotation, search = np.ones(n_images, np.int64), np.empty(len(images), np.int64)
    for rows, block in _row_blocks(similarity):
        wrong_ones = block.copy()
        wrong_ones[np.arange(len(block)), images[rows]] = -np.inf
        annotation += (wrong_ones >= best).sum(axis=0)
        search[rows] = 1 + (wrong_ones >= true[rows, None]).sum(axis=1)
    annotation[np.bincount(images, minlength=n_images) == 0] = 0
    return annotation, search


def sibling_ranks(similarity: Rows, image_of_sentence: ArrayLike) -> NDArray[np.int64]:
    """Rank of the nearest other sentence of the same image, for every sentence, itself excluded (SPEC S20).

    Ties count as in `retrieval_ranks`.

    Parameters
    ----------
    similarity : array-like of shape (n_sentences, n_sentences), or `Cosines`
    image_of_sentence : array-like of shape (n_sentences,), integer

    Returns
    -------
    ndarray of shape (n_sentences,), int64
        0 for a sentence whose image has no other.

    Examples
    --------
    >>> sibling_ranks(np.array([[1, 0.2, 0.7], [0.2, 1, 0.1], [0.7, 0.1, 1]]), [0, 0, 1]).tolist()
    [2, 1, 0]
    """
    similarity, images = _checked(similarity, image_of_sentence)
    if similarity.shape[1] != len(images):
        raise ValueError(f"similarities of sentences must be a square matrix; got shape {similarity.shape}")
    ranks = np.empty(len(images), np.int64)
    for rows, block in _row_blocks(similarity):
        here = np.arange(len(block))
        siblings = images[rows, None] == images
        siblings[here, np.arange(len(images))[rows]] = False
        best = np.where(siblings, block, -np.inf).max(axis=1)
        others = images[rows, None] != images
        ranks[rows] = np.where(siblings.any(axis=1), 1 + ((block >= best[:, None]) & others).sum(axis=1), 0)
    return ranks


def rank_figures(ranks: ArrayLike) -> dict[str, float]:
    """Recall at 1, 5 and 10 in percent, median and mean rank; ranks of 0 are no queries and are left out.

    Parameters
    ----------
    ranks : array-like of shape (q,), int
        As `retrieval_ranks` gives them.

    Returns
    -------
    dict of str to float
        ``"r@1"``, ``"r@5"``, ``"r@10"``, ``"median_rank"``, ``"mean_rank"``.

    Examples
    --------
    >>> rank_figures([1, 3, 14, 2, 0])
    {'r@1': 25.0, 'r@5': 75.0, 'r@10': 75.0, 'median_rank': 2.5, 'mean_rank': 5.0}
    """
    ranks = np.asarray(ranks)
    ranks = ranks[ranks > 0]
    if ranks.size == 0:
        raise ValueError("no query has a true result: nothing can be said of its rank")
    recalls = {f"r@{k}": 100 * float(np.mean(ranks <= k)) for k in (1, 5, 10)}
    return {**recalls, "median_rank": float(np.median(ranks)), "mean_rank": float(ranks.mean())}


def retrieval_report(similarity: Rows, image_of_sentence: ArrayLike) -> dict[str, dict[str, float]]:
    """How well sentences and images find each other (SPEC S20).

    Parameters
    ----------
    similarity : array-like of shape (n_sentences, n_images), or `Cosines`
    image_of_sentence : array-like of shape (n_sentences,), integer
        The column of the true image of each sentence.

    Returns
    -------
    dict
        ``"annotation"`` (an image asks for sentences) and ``"search"`` (a sentence asks for images), each with
        ``"r@1"``, ``"r@5"``, ``"r@10"`` in percent, ``"median_rank"`` and ``"mean_rank"``, ranks from 1.

    Raises
    ------
    ValueError
        If shapes do not fit, or a similarity is NaN.

    Notes
    -----
    The rank is that of the first true result; a wrong result that is exactly as similar stands before it.

    Examples
    --------
    >>> report = retrieval_report(np.array([[0.9, 0.1], [0.8, 0.3], [0.2, 0.5]]), [0, 1, 1])
    >>> report["annotation"]["r@1"], report["search"]["mean_rank"]
    (100.0, 1.3333333333333333)
    """
    annotation, search = retrieval_ranks(similarity, image_of_sentence)
    return {"annotation": rank_figures(annotation), "search": rank_figures(search)}


def _checked(similarity: Any, image_of_sentence: ArrayLike) -> tuple[Rows, NDArray[np.int64]]:
    if not hasattr(similarity, "shape"):
        similarity = np.asarray(similarity)
    images = np.asarray(image_of_sentence)
    if images.ndim != 1 or not np.issubdtype(images.dtype, np.integer):
        raise ValueError(f"image_of_sentence must be an integer a sentence; got {images.dtype} of shape {images.shape}")
    if len(similarity.shape) != 2 or similarity.shape[0] != len(images):
        raise ValueError(f"similarity has shape {tuple(similarity.shape)}, but there are {len(images)} sentences")
    return similarity, images.astype(np.int64)


def _row_blocks(similarity: Rows) -> Iterator[tuple[slice, NDArray[Any]]]:
    size = max(1, _BLOCK_VALUES // max(1, similarity.shape[1]))
    for start in range(0, similarity.shape[0], size):
        rows = slice(start, min(start + size, similarity.shape[0]))
        block = np.asarray(similarity[rows])
        if not np.issubdtype(block.dtype, np.floating):
            block = block.astype(np.float64)
        if np.isnan(block).any():
            at = int(np.argmax(np.isnan(block).any(axis=1)))
            raise ValueError(f"the similarities of sentence {start + at} hold NaN")
        yield rows, block
