"""What the paper reports, for comparison: actions in its Tables 1 and 2, images and sentences in 3 and 4."""

from __future__ import annotations

from typing import Any

__all__ = ["ACTIONS", "FUSION", "PUBLISHED", "published_reports"]

# Accuracy in percent of mean pooling, GMM-FV and RNN-FV, by data set and features.
ACTIONS: dict[str, dict[str, tuple[float, float, float]]] = {
    "HMDB51": {"VGG-PCA": (42.16, 36.80, 45.62), "VGG-CCA": (43.05, 39.61, 46.14), "C3D": (51.20, 45.82, 52.88)},
    "UCF101": {"VGG-PCA": (75.51, 76.53, 79.29), "VGG-CCA": (77.49, 76.84, 79.49), "C3D": (81.05, 80.04, 82.33)},
}
# Accuracy in percent of the RNN-FV on HMDB51 and UCF101. Transfer: nets trained on UCF101 encode HMDB51.
FUSION: dict[str, tuple[float | None, float | None]] = {
    "C3D + VGG-CCA": (54.33, 88.01),
    "C3D + VGG-CCA + idt": (67.71, 94.08),
    "C3D + VGG-CCA, transfer": (54.47, None),
    "C3D + VGG-CCA + idt, transfer": (66.99, None),
}

# Annotation r@1, r@5, r@10, median and mean rank; the same of search; mean rank of sentence similarity.
PUBLISHED: dict[str, dict[str, tuple[float, ...]]] = {
    "flickr8k": {
        "MeanVector": (22.6, 48.8, 61.2, 6, 28.7, 19.1, 45.3, 60.4, 7, 27.0, 12.5),
        "GMM-FV": (28.4, 57.7, 70.1, 4, 20.1, 20.6, 48.6, 64.2, 6, 21.8, 10.8),
        "MM-ENS": (31.0, 59.3, 73.7, 4, 18.4, 21.3, 50.1, 64.8, 5, 21.0, 10.5),
        "RNN-FV wiki,w2v": (29.3, 57.8, 70.8, 4, 21.4, 19.8, 48.5, 62.9, 6, 25.2, 10.0),
        "RNN-FV w2v": (27.4, 57.9, 70.5, 4, 22.7, 20.4, 49.1, 63.4, 6, 25.5, 10.4),
        "RNN-FV w2v,clsf": (28.3, 57.2, 69.8, 4, 19.9, 20.0, 47.8, 62.8, 6, 27.0, 13.2),
        "RNN-FV cca": (30.9, 60.1, 73.1, 4, 19.4, 20.7, 48.7, 63.8, 6, 29.2, 11.3),
        "RNN-FV cca,rvrs": (29.1, 57.3, 71.7, 4, 18.4, 20.8, 48.5, 62.9, 6, 30.2, 12.5),
        "RNN-FV cca + rvrs": (30.8, 59.8, 72.9, 4, 18.2, 21.8, 49.6, 64.4, 6, 27.3, 11.2),
        "RNN-FV cca + MM-ENS": (32.9, 61.7, 74.9, 3, 16.8, 22.0, 51.5, 66.5, 5, 20.7, 9.4),
        "all + MM-ENS": (31.6, 61.2, 74.3, 3, 17.4, 23.2, 53.3, 67.8, 5, 19.4, 8.5),
    },
    "flickr30k": {
        "MeanVector": (24.9, 52.5, 64.4, 5, 27.3, 20.5, 46.4, 59.3, 6.8, 32.3, 16.2),
        "GMM-FV": (33.0, 60.8, 72.0, 3, 19.0, 23.9, 51.7, 64.9, 5, 24.8, 15.0),
        "MM-ENS": (35.0, 62.1, 73.8, 3, 17.4, 25.1, 52.8, 66.1, 5, 23.7, 14.1),
        "RNN-FV cca": (33.6, 60.5, 73.0, 3, 15.7, 24.5, 52.5, 66.3, 5, 27.7, 16.9),
        "all + MM-ENS": (35.6, 62.5, 74.2, 3, 15.0, 27.4, 55.9, 70.0, 4, 20.0, 12.2),
    },
}
_FIGURES = ("r@1", "r@5", "r@10", "median_rank", "mean_rank")


def published_reports(dataset: str) -> dict[str, dict[str, Any]]:
    """The paper's rows in the form of `rnnfv.recipes.retrieval.report_of`.

    Parameters
    ----------
    dataset : {"flickr8k", "flickr30k"}

    Examples
    --------
    >>> from rnnfv.recipes.published import published_reports
    >>> published_reports("flickr8k")["MM-ENS"]["annotation"]["r@1"]
    31.0
    """
    if dataset not in PUBLISHED:
        raise ValueError(f"no figures of {dataset!r} are known: choose among {', '.join(PUBLISHED)}")
    return {
        name: {
            "annotation": dict(zip(_FIGURES, row[:5], strict=True)),
            "search": dict(zip(_FIGURES, row[5:10], strict=True)),
            "sentence": {"mean_rank": row[10]},
        }
        for name, row in PUBLISHED[dataset].items()
    }
