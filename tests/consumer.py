"""A small program that uses the public API: mypy reads it as strictly as it can."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import rnnfv
from rnnfv import FisherInformationScaler, LinearSVM, MeanPooling, MixtureFisherVector, PowerNormalizer, RNNFisherVector
from rnnfv.metrics import retrieval_report


def vectors(folder: Path) -> NDArray[np.float32]:
    seqs = rnnfv.Sequences.from_list([np.zeros((n, 3), np.float32) for n in (3, 4)])
    lengths: NDArray[np.int64] = seqs.lengths
    encoder: RNNFisherVector = RNNFisherVector(hidden_size=4, random_state=0).fit(seqs)
    encoder.save(folder)
    MixtureFisherVector(n_components=int(lengths.max()), family="gaussian").fit(seqs)
    scaled = FisherInformationScaler("kronecker").fit(encoder.transform(seqs)).transform(encoder.transform(seqs))
    LinearSVM().fit(PowerNormalizer().fit(scaled).transform(scaled), [0, 1])
    return MeanPooling().fit(seqs).transform(seqs)


def search(sentences: NDArray[np.float32], images: NDArray[np.float32], image_of_sentence: NDArray[np.int64]) -> float:
    cca: rnnfv.RegularizedCCA = rnnfv.RegularizedCCA(1e-3).fit(sentences, images)
    report = retrieval_report(cca.similarity(sentences, images), image_of_sentence)
    return float(report["search"]["r@1"])


def share(folder: str) -> str:
    commit: str = rnnfv.push_to_hub(rnnfv.load(folder), "user/name")
    rnnfv.from_pretrained("user/name", revision=commit)
    return rnnfv.__version__
