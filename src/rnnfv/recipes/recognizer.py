"""A recogniser of actions: the whole chain from a video, or its features, to a class, kept in one folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from rnnfv.datasets.labelled import load_labelled
from rnnfv.datasets.manifest import Manifest, read_manifest
from rnnfv.encoders.canonical import CanonicalSteps
from rnnfv.recipes._chain_folder import ChainFolder
from rnnfv.recipes._scores import by_class
from rnnfv.recipes._work import NO_WORK, Work
from rnnfv.recipes.action import Settings, fit_action
from rnnfv.storage import feature_shards, file_identity
from rnnfv.storage.remote import opened
from rnnfv.video.backbones import Backbone, from_description
from rnnfv.video.backbones.c3d import mean_identity
from rnnfv.video.decode import Sampling

__all__ = ["FOLDER", "ActionRecognizer", "backbone_of_features", "fit_recognizer", "load_recognizer"]

FOLDER = ChainFolder("a recogniser", "rnnfv action fit", "action.json", {"recognizer": Pipeline})


@dataclass(frozen=True)
class ActionRecognizer:
    """The chain from a video to a class: backbone, preparation, encoder, normalisation, classifier.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted, from sequences of features to classes, as `rnnfv.recipes.action.fit_action` gives it.
    backbone_description : dict, optional
        What made the features, as its ``description()`` says; None for features of another kind, such as skeletons.
    sampling : Sampling, optional
        Which frames the backbone saw; given where the backbone is.
    weights : Path, optional
        The backbone's file of weights; for a model of the hub a local folder, if it is not to be taken from the hub.
    mean : Path, optional
        The file of the mean cube, where C3D was made with one.

    Raises
    ------
    ValueError
        If a backbone is given without sampling, or the other way round.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from rnnfv import LinearSVM, MeanPooling
    >>> from rnnfv.recipes.recognizer import ActionRecognizer, load_recognizer
    >>> seqs = [np.full((n, 2), n % 2) for n in (3, 4, 5, 6)]
    >>> pipeline = make_pipeline(MeanPooling(), LinearSVM()).fit(seqs, ["run", "sit", "run", "sit"])
    >>> folder = tempfile.mkdtemp()
    >>> ActionRecognizer(pipeline).save(folder)
    >>> recognizer = load_recognizer(folder)
    >>> recognizer.classes.tolist(), recognizer.scores(seqs).shape
    (['run', 'sit'], (4, 2))
    """

    pipeline: Pipeline
    backbone_description: dict[str, Any] | None = None
    sampling: Sampling | None = None
    weights: Path | None = None
    mean: Path | None = None

    def __post_init__(self) -> None:
        if (self.backbone_description is None) != (self.sampling is None):
            raise ValueError("backbone_description and sampling go together: give both, or none")

    @property
    def classes(self) -> NDArray[Any]:
        """The classes, in the order of the columns of `scores`: shape (C,)."""
        return self.pipeline[-1].classes_

    def scores(self, seqs: Any) -> NDArray[np.floating[Any]]:
        """The classifier's decision values: above 0 speaks for the class. They are no probabilities.

        Parameters
        ----------
        seqs : Sequences, list of ndarray of shape (N_i, D), or ndarray of shape (n, N, D)

        Returns
        -------
        ndarray of shape (n, C)
            Of two classes, one column is the other's negative.
        """
        return by_class(self.pipeline.decision_function(seqs))

    def backbone(self, device: str = "auto") -> Backbone:
        """Make the backbone again.

        Parameters
        ----------
        device : str
            Where it computes: auto, cpu, cuda, ...

        Returns
        -------
        Backbone

        Raises
        ------
        ValueError
            If no backbone made the features, its weights are not here, or they are not those that made the features.
        """
        description = self.backbone_description
        if description is None:
            raise ValueError("this recogniser has no backbone: it takes features such as it was fitted on, not videos")
        if self.weights is None and "file" in description["weights"]:
            raise ValueError(
                f"this recogniser is without the weights of {description['name']}, "
                f"{description['weights']['file']}: give them with --weights"
            )
        return from_description(description, self.weights, mean=self.mean, device=device)

    def save(self, folder: str | Path) -> None:
        """Write all of it to a folder, which appears whole or not at all.

        ``recognizer/`` is the pipeline (`rnnfv.load` reads it), ``backbone/`` has the backbone's weights where they are
        a file (an ONNX model must be one file), ``action.json`` says the rest. A model of the hub is named by id and
        revision, not copied.

        Parameters
        ----------
        folder : str or Path
            A new or empty folder, or one of a recogniser, which is replaced.

        Raises
        ------
        ModelFolderError
            If the folder holds other things.
        """
        description, sampling = self.backbone_description, self.sampling
        files = {}
        if self.weights is not None and description is not None and "file" in description["weights"]:
            files["weights"] = (self.weights, Path(description["weights"]["file"]).name)
        if self.mean is not None:
            files["mean"] = (self.mean, "mean.npy")
        note = {"backbone": description, "sampling": None if sampling is None else asdict(sampling)}
        FOLDER.write(Path(folder), {"recognizer": self.pipeline}, note, files)


def load_recognizer(
    folder: str | Path, *, weights: str | Path | None = None, mean: str | Path | None = None
) -> ActionRecognizer:
    """Read a recogniser from the folder that `ActionRecognizer.save` wrote. No code comes from there.

    Parameters
    ----------
    folder : str or Path
    weights, mean : str or Path, optional
        Files of the backbone, in place of those in the folder; for a recogniser that was saved without them.

    Returns
    -------
    ActionRecognizer

    Raises
    ------
    ModelFolderError
        If the folder is missing, damaged, changed, of another kind, or of a newer format.
    """
    estimators, note, files = FOLDER.read(Path(folder))
    files |= {role: Path(file) for role, file in (("weights", weights), ("mean", mean)) if file is not None}
    try:
        description, sampling = _description(note["backbone"]), note["sampling"]
        sampling = None if sampling is None else Sampling(**sampling)
        return ActionRecognizer(
            estimators["recognizer"], description, sampling, files.get("weights"), files.get("mean")
        )
    except (KeyError, TypeError, ValueError) as error:
        FOLDER.fail(Path(folder), f"it tells of no usable backbone ({error})", cause=error)


# -- fitting ---------------------------------------------------------------------------------------


def fit_recognizer(
    features: str | Path,
    manifest: str | Path | Manifest,
    settings: Settings,
    *,
    split: str | None = None,
    weights: str | Path | None = None,
    mean: str | Path | None = None,
    through: CanonicalSteps | None = None,
    skip_missing: bool = False,
    work: Work = NO_WORK,
) -> ActionRecognizer:
    """Fit a recogniser on a folder of features.

    Parameters
    ----------
    features : str or Path
        A folder of shards, or one shard.
    manifest : str, Path or Manifest
        Labels and groups.
    settings : Settings
        The first of its poolings is fitted.
    split : str, optional
        Fit on the training part of this split. Without it: on all items that have a label.
    weights : str or Path, optional
        The backbone's file of weights, which `ActionRecognizer.save` copies. Without it the recogniser takes features.
    mean : str or Path, optional
        The file of the mean cube, where C3D was made with one; then it must be given with the weights.
    through : CanonicalSteps, optional
        Maps every step, as `rnnfv.recipes.action.evaluate_actions` says.
    skip_missing : bool
        Leave out items that have no features.
    work : Work
        Keeps what is finished. Under torchrun, with the work of a command, only the first process returns.

    Returns
    -------
    ActionRecognizer

    Raises
    ------
    ValueError
        If there is no such split, nothing to fit on, or the weights or the mean are not those that made the features.
    """
    description, sampling = backbone_of_features(features)
    if sampling is None:
        description = None  # features of pictures, or of something else: no videos can follow
    weights, mean = (None if file is None else Path(file) for file in (weights, mean))
    _check_files(features, description, weights, mean)
    listed = manifest if isinstance(manifest, Manifest) else read_manifest(manifest)
    data = load_labelled(features, listed.part(_rows(listed, split)), skip_missing=skip_missing)
    train = (data.sequences, data.manifest.labels, data.manifest.groups)
    pipeline = fit_action(train, settings, through=through, work=work)
    return ActionRecognizer(pipeline, description, sampling, weights, mean)


def backbone_of_features(folder: str | Path) -> tuple[dict[str, Any] | None, Sampling | None]:
    """What made a folder of features, as `rnnfv.recipes.extraction.extract_features` noted it.

    Parameters
    ----------
    folder : str or Path
        A folder of shards, or one shard.

    Returns
    -------
    (dict or None, Sampling or None)
        The backbone's description, None where something else made the features; and which frames it saw, None for
        pictures.

    Raises
    ------
    FileNotFoundError
        If there are no features.
    ValueError
        If a shard is damaged, or shards were made in different ways.
    """
    origins = {path: _origin(path) for path in feature_shards(folder)}
    (first, origin), *others = origins.items()
    for path, other in others:
        if other != origin:
            raise ValueError(f"{first} and {path} were made in different ways: keep such features in separate folders")
    return origin


def _origin(shard: Path) -> tuple[dict[str, Any] | None, Sampling | None]:
    try:
        metadata = pq.read_metadata(opened(shard)).metadata or {}  # the copy over which the shard's checksum goes
        note = json.loads(metadata.get(b"rnnfv", b"{}"))
        if "backbone" not in note:
            return None, None
        sampling = Sampling(**note["sampling"]) if "sampling" in note else None  # pictures are not sampled
        return _description(note["backbone"]), sampling
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{shard} is damaged or not a Parquet file: write it again, or move it away") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{shard} does not say rightly what made it ({error}): write it again") from error


def _description(value: Any) -> dict[str, Any] | None:
    """The value, if it can be a backbone's description."""
    if value is not None and (
        not isinstance(value, dict)
        or type(value.get("name")) is not str
        or not all(type(value.get(key)) is dict for key in ("settings", "weights"))
    ):
        raise ValueError("the backbone lacks name, settings or weights")
    return value


def _rows(manifest: Manifest, split: str | None) -> NDArray[np.bool_]:
    """The items to fit on."""
    if split is not None and split not in manifest.splits:
        raise ValueError(f"there is no split {split!r} in the manifest: choose one of {', '.join(manifest.splits)}")
    rows = (manifest.labels != "") & (True if split is None else manifest.splits[split] == "train")
    if not rows.any():
        raise ValueError("no item of the manifest has a label" if split is None else f"{split} has no train items")
    if len(set(labels := manifest.labels[rows])) == 1:
        raise ValueError(f"all items to fit on are of the class {labels[0]!s}: a recogniser needs two classes or more")
    return rows


def _check_files(
    features: str | Path, description: dict[str, Any] | None, weights: Path | None, mean: Path | None
) -> None:
    """Refuse files that did not make the features, before the long work of fitting."""
    if weights is not None:
        made_with = {} if description is None else description["weights"]
        if "file" not in made_with:
            raise ValueError(f"{features} was not made with a file of weights: leave --weights out")
        if file_identity(weights)["sha256"] != made_with.get("sha256"):
            raise ValueError(f"{weights} is not the {made_with['file']} that made {features}: give that one")
    cube = None if description is None else description["settings"].get("mean")
    if not isinstance(cube, dict):  # three numbers are in the description, and need no file
        if mean is not None:
            raise ValueError(f"{features} was not made with a mean cube: leave --mean out")
    elif mean is None:
        if weights is not None:
            raise ValueError(f"{features} was made with a mean cube: give its .npy file with --mean, too")
    elif mean_identity(mean) != cube:
        raise ValueError(f"{mean} is not the mean cube that made {features}: give that one with --mean")
