"""Order-aware, fixed-length vectors of sequences: the Fisher vector of a recurrent net."""

TYPE_CHECKING = False  # as typing's, whose import would take longer than this whole file
if TYPE_CHECKING:
    from typing import Any

    from rnnfv import metrics as metrics
    from rnnfv.cca import RegularizedCCA as RegularizedCCA
    from rnnfv.classification import LinearSVM as LinearSVM
    from rnnfv.decomposition import GramPCA as GramPCA
    from rnnfv.decomposition import KroneckerPCA as KroneckerPCA
    from rnnfv.encoders.canonical import CanonicalSteps as CanonicalSteps
    from rnnfv.encoders.mean import MeanPooling as MeanPooling
    from rnnfv.encoders.mixture import MixtureFisherVector as MixtureFisherVector
    from rnnfv.encoders.recurrent import RNNFisherVector as RNNFisherVector
    from rnnfv.encoders.recurrent import RNNHiddenState as RNNHiddenState
    from rnnfv.encoders.steps import StepPreprocessor as StepPreprocessor
    from rnnfv.hub import from_pretrained as from_pretrained
    from rnnfv.hub import push_to_hub as push_to_hub
    from rnnfv.local_scaling import LocalScaling as LocalScaling
    from rnnfv.normalization import FisherInformationScaler as FisherInformationScaler
    from rnnfv.normalization import PowerNormalizer as PowerNormalizer
    from rnnfv.recipes.trajectories import TrajectoryFisherVector as TrajectoryFisherVector
    from rnnfv.sequences import Sequences as Sequences
    from rnnfv.storage import load as load
    from rnnfv.storage import save as save
    from rnnfv.text.bag import BagOfWords as BagOfWords
    from rnnfv.text.sentences import SentenceReader as SentenceReader

__version__ = "0.1.0"

# Where each public name lives. It is imported when first asked for, so that `import rnnfv` and the
# command line's help cost nothing; torch and scikit-learn are loaded with the first estimator.
_HOMES = {
    "BagOfWords": "rnnfv.text.bag",
    "CanonicalSteps": "rnnfv.encoders.canonical",
    "FisherInformationScaler": "rnnfv.normalization",
    "GramPCA": "rnnfv.decomposition",
    "KroneckerPCA": "rnnfv.decomposition",
    "LinearSVM": "rnnfv.classification",
    "LocalScaling": "rnnfv.local_scaling",
    "MeanPooling": "rnnfv.encoders.mean",
    "MixtureFisherVector": "rnnfv.encoders.mixture",
    "PowerNormalizer": "rnnfv.normalization",
    "RNNFisherVector": "rnnfv.encoders.recurrent",
    "RNNHiddenState": "rnnfv.encoders.recurrent",
    "RegularizedCCA": "rnnfv.cca",
    "SentenceReader": "rnnfv.text.sentences",
    "Sequences": "rnnfv.sequences",
    "StepPreprocessor": "rnnfv.encoders.steps",
    "TrajectoryFisherVector": "rnnfv.recipes.trajectories",
    "from_pretrained": "rnnfv.hub",
    "load": "rnnfv.storage",
    "push_to_hub": "rnnfv.hub",
    "save": "rnnfv.storage",
}

__all__ = [*_HOMES, "metrics"]  # noqa: PLE0604


def __getattr__(name: str) -> "Any":
    from importlib import import_module

    if name == "metrics":
        return import_module("rnnfv.metrics")
    if name not in _HOMES:
        raise AttributeError(f"module 'rnnfv' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
