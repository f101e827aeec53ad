"""Japanese Vowels: a small real data set that comes with the package."""

from __future__ import annotations

from importlib.resources import as_file, files

from rnnfv.datasets.labelled import LabelledSequences, load_labelled


def load_japanese_vowels() -> LabelledSequences:
    """Utterances of the vowels /ae/ by nine speakers; the task is to name the speaker.

    640 sequences of 7 to 29 steps of 12 LPC cepstrum coefficients, float32; "split1" is the official division: 270
    to learn from, 370 to test on.

    References
    ----------
    M. Kudo, J. Toyama, M. Shimbo. Japanese Vowels. UCI Machine Learning Repository, 1999. doi:10.24432/C5NS47.
    CC BY 4.0.

    Examples
    --------
    >>> from rnnfv.datasets.japanese_vowels import load_japanese_vowels
    >>> vowels = load_japanese_vowels()
    >>> seqs, labels, groups = vowels.part("split1", "train")
    >>> seqs
    Sequences(n=270, steps=4274, dim=12, dtype=float32)
    """
    with as_file(files("rnnfv.datasets") / "data" / "japanese_vowels") as folder:
        return load_labelled(folder / "features.parquet", folder / "manifest.csv")
