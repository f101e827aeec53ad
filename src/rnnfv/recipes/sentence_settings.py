"""How sentences are encoded: the settings alone, which load no heavy library."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

__all__ = ["ENCODERS", "Encoder", "SentenceSettings", "is_net"]

Encoder = Literal["mean", "tf-idf", "gmm-fv", "lmm-fv", "hglmm-fv", "mm-ens", "rnn-fv", "rnn-fv-clsf"]
ENCODERS: tuple[str, ...] = get_args(Encoder)


@dataclass(frozen=True)
class SentenceSettings:
    """How sentences are encoded (SPEC S14 to S18); also options of the command line, with these names and words.

    Parameters
    ----------
    encoder : str
        How sentences become vectors. tf-idf needs no word vectors.
    reverse : bool
        Read the words from the last to the first; the end stays the end.
    ica : bool
        Turn the word vectors to independent components first (mean and mixtures).
    components : int
        Of a mixture.
    hidden_size : int, optional
        Units of a net. Default: 100; 512 for rnn-fv-clsf.
    coordinates : int, optional
        Keep so many random numbers of a net's vectors. Default: all; 72,000 for rnn-fv-clsf.
    pca : int, optional
        Reduce the vectors to so many numbers by PCA, fitted on 300,000 training sentences at most, before the CCA.
    epochs : int
        Train a net for so many at most; of 1, 2, 4, 8, ... and the last, the one that val favours is kept.
    dropout : float
        Share of units dropped in training.
    weight_decay : float
        Of the net.
    learning_rate : float
        Of the net.
    batch_size : int
        Sentences of one training step.
    device : str
        Where nets and mixtures are trained: auto, cpu, cuda, ...
    """

    encoder: Encoder = "rnn-fv"
    reverse: bool = False
    ica: bool = False
    components: int = 30
    hidden_size: int | None = None
    coordinates: int | None = None
    pca: int | None = None
    epochs: int = 8
    dropout: float = 0.0
    weight_decay: float = 0.0
    learning_rate: float = 1e-3
    batch_size: int = 16
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.encoder not in ENCODERS:
            raise ValueError(f"there is no encoder {self.encoder!r}: choose among {', '.join(ENCODERS)}")
        for name in ("components", "hidden_size", "coordinates", "pca", "epochs", "batch_size"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} is {value}: it must be at least 1")
        if self.reverse and not is_net(self.encoder):
            raise ValueError(f"{self.encoder} does not see the order of words: reversing them changes nothing")
        if self.ica and (is_net(self.encoder) or self.encoder == "tf-idf"):
            raise ValueError(f"ICA is for mean pooling and mixtures, not for {self.encoder}")

    @property
    def fitting(self) -> dict[str, Any]:
        """What decides the result of a fit with one seed: not the device."""
        return {name: value for name, value in asdict(self).items() if name != "device"}


def is_net(encoder: str) -> bool:
    """Whether the encoder is a recurrent net."""
    return encoder.startswith("rnn-fv")
