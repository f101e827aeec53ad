"""Models on the Hugging Face hub: put there with a card, and read by the safe loaders alone."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnfv.extras import wanted
from rnnfv.model_card import MADE_BY, model_card
from rnnfv.recipes.recognizer import FOLDER as RECOGNIZER
from rnnfv.recipes.recognizer import load_recognizer
from rnnfv.recipes.retrieval import FOLDER as RETRIEVAL
from rnnfv.recipes.retrieval import load_retrieval
from rnnfv.storage import MODEL_FILES, ModelFolderError, as_path, atomic_folder, load, local_copy, save

__all__ = ["from_pretrained", "pull_folder", "push_to_hub"]

_CARD = "README.md"
_NEEDS = "models on the hub need huggingface_hub"


@dataclass(frozen=True)
class _Kind:
    """A kind of model folder: the file that tells it, its loader, and the files that can be in it."""

    record: str
    load: Callable[[Path], Any]
    files: tuple[str, ...]  # * is any one name


_KINDS = {
    "recognizer": _Kind(RECOGNIZER.record, load_recognizer, RECOGNIZER.files),
    "retrieval": _Kind(RETRIEVAL.record, load_retrieval, RETRIEVAL.files),
    "estimator": _Kind("config.json", load, MODEL_FILES),
}


def push_to_hub(
    model: Any,
    repo_id: str,
    *,
    data: str | None = None,
    figures: str | Path | None = None,
    licence: str | None = None,
    private: bool | None = None,
    revision: str | None = None,
    token: str | None = None,
) -> str:
    """Put a model on the Hugging Face hub, with a card.

    The card tells what the model is, how to use it, on what data and by what protocol it was fitted, its figures and
    its licence. A card that a person wrote, and that is there already, is left as it is.

    Parameters
    ----------
    model : estimator, Pipeline, ActionRecognizer, RetrievalModel, or str or Path
        What can be saved, or the folder where it was saved.
    repo_id : str
        "user/name"; made where it is not there yet.
    data : str, optional
        What the model was fitted on, in a sentence, for the card.
    figures : str or Path, optional
        The file that ``rnnfv action evaluate`` or ``rnnfv retrieval evaluate`` wrote with ``--json``, for the card.
    licence : str, optional
        The hub's short name of the model's licence, such as "cc-by-4.0". It is yours to choose: the data has a say.
    private : bool, optional
        Of a new repository. Default: as your account says.
    revision : str, optional
        The branch to write to. Default: main.
    token : str, optional
        Default: what ``hf auth login`` kept, or HF_TOKEN.

    Returns
    -------
    str
        The commit, for ``from_pretrained(repo_id, revision=commit)``.

    Raises
    ------
    ImportError
        If huggingface_hub is not installed.
    ModelFolderError
        If the folder is none of a model, or damaged.
    ConnectionError
        If the hub cannot be reached or refuses.
    ValueError
        If the repository holds a model of another kind, or the figures are of another form.
    """
    with wanted("hub", _NEEDS):
        from huggingface_hub import CommitOperationAdd, HfApi
    with _folder_of(model) as folder:
        kind = _kind_of(folder, folder.name)
        loaded = _KINDS[kind].load(folder)
        card = model_card(loaded, kind, repo_id, data=data, figures=figures, licence=licence)
        files = _files(folder, _KINDS[kind])
        with _told(repo_id):
            api = HfApi(token=token, library_name="rnnfv")
            api.create_repo(repo_id, private=private, exist_ok=True)
            there = api.list_repo_files(repo_id, revision=revision)
            _refuse_other_kind(repo_id, kind, there)
            added = [CommitOperationAdd(name, str(path)) for name, path in files.items()]
            if _CARD not in there or _is_ours(api, repo_id, revision):
                added.append(CommitOperationAdd(_CARD, card.encode()))
            commit = api.create_commit(repo_id, added, commit_message="A model of rnnfv", revision=revision)
    return str(commit.oid)


def from_pretrained(repo_id: str, *, revision: str | None = None, token: str | None = None) -> Any:
    """Read a model from the Hugging Face hub.

    Safe for repositories of unknown origin: only the files of a model folder are fetched, and the loaders that read
    them run no code and unpickle nothing. What was fetched once is kept by huggingface_hub; with a full commit as
    ``revision`` it is read without the network, and it is the same model for ever.

    Parameters
    ----------
    repo_id : str
        "user/name".
    revision : str, optional
        A commit, a tag or a branch. Default: the newest.
    token : str, optional
        For private models. Default: what ``hf auth login`` kept, or HF_TOKEN.

    Returns
    -------
    estimator, Pipeline, ActionRecognizer or RetrievalModel
        What was pushed.

    Raises
    ------
    ImportError
        If huggingface_hub is not installed.
    ModelFolderError
        If it is not a model of rnnfv, or damaged.
    ConnectionError
        If the hub cannot be reached, or has no such model or revision.
    """
    with wanted("hub", _NEEDS):
        from huggingface_hub import cached_assets_path, constants
    snapshot = _fetched(repo_id, revision, token)
    kind = _KINDS[_kind_of(snapshot, repo_id)]
    # The hub's cache is made of links, and the loaders follow none: a folder beside it has the same files.
    folder = cached_assets_path("rnnfv", repo_id, assets_dir=constants.HF_ASSETS_CACHE) / snapshot.name
    if not folder.exists():
        _copy(snapshot, kind, folder)
    return kind.load(folder)


def pull_folder(repo_id: str, out: str | Path, *, revision: str | None = None, token: str | None = None) -> str:
    """Write a model of the hub to a folder of one's own; the commit that it is of.

    Parameters
    ----------
    repo_id, revision, token
        As for `from_pretrained`.
    out : str or Path
        A new or an empty folder.

    Returns
    -------
    str

    Raises
    ------
    ModelFolderError
        If the folder is not empty; else as `from_pretrained`.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ModelFolderError(f"{out}: a model would replace what is there; give a new or an empty folder")
    snapshot = _fetched(repo_id, revision, token)
    kind = _KINDS[_kind_of(snapshot, repo_id)]
    _copy(snapshot, kind, out)
    return snapshot.name


# -- folders ---------------------------------------------------------------------------------------


@contextmanager
def _folder_of(model: Any) -> Iterator[Path]:
    """The folder of a model: its own, or one that is gone after the block."""
    if isinstance(model, (str, os.PathLike)):
        yield local_copy(as_path(os.fspath(model)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        if hasattr(model, "save"):
            model.save(folder)
        else:
            save(model, folder)
        yield folder


def _kind_of(folder: Path, name: str) -> str:
    found = [kind for kind, each in _KINDS.items() if (folder / each.record).is_file()]
    if len(found) != 1:
        records = ", ".join(each.record for each in _KINDS.values())
        what = "more than one" if found else "none"
        raise ModelFolderError(f"{name} is not a model of rnnfv: it has {what} of the files {records}")
    return found[0]


def _files(folder: Path, kind: _Kind) -> dict[str, Path]:
    """The files of a model, by their names in it. Others that lie there are passed by."""
    return {
        path.relative_to(folder).as_posix(): path
        for pattern in kind.files
        for path in sorted(folder.glob(pattern))
        if path.is_file()
    }


def _copy(snapshot: Path, kind: _Kind, folder: Path) -> None:
    """The same files, without links to elsewhere; on one disk they take no second place."""
    with atomic_folder(folder) as new:
        for name, path in _files(snapshot, kind).items():
            target = new / name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path.resolve(), target)
            except OSError:  # another disk, or a file system without such links
                shutil.copyfile(path, target)


# -- the hub ---------------------------------------------------------------------------------------


def _fetched(repo_id: str, revision: str | None, token: str | None) -> Path:
    """The folder in the hub's cache with a model's files; its name is the commit."""
    with wanted("hub", _NEEDS):
        from huggingface_hub import snapshot_download
    patterns = sorted({file for kind in _KINDS.values() for file in kind.files})
    with _told(repo_id):
        return Path(
            snapshot_download(repo_id, revision=revision, token=token, allow_patterns=patterns, library_name="rnnfv")
        )


def _refuse_other_kind(repo_id: str, kind: str, there: list[str]) -> None:
    others = [each.record for name, each in _KINDS.items() if name != kind and each.record in there]
    if others:
        raise ValueError(f"{repo_id} holds a model of another kind ({others[0]}): give another name")


def _is_ours(api: Any, repo_id: str, revision: str | None) -> bool:
    """Whether the card that is there was made here."""
    path = api.hf_hub_download(repo_id, _CARD, revision=revision)
    return MADE_BY in Path(path).read_text(encoding="utf-8", errors="replace")


@contextmanager
def _told(repo_id: str) -> Iterator[None]:
    """Failures of the hub in one line that names the model."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        yield
    except HFValidationError as error:
        raise ValueError(f"{repo_id!r} is not the name of a model on the hub: give user/name") from error
    except HfHubHTTPError as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        raise ConnectionError(f"{repo_id}: {_reason(error, status)}") from error
    except LocalEntryNotFoundError as error:
        raise ConnectionError(
            f"{repo_id}: the hub cannot be reached, and there is no copy of this model here: check the connection"
        ) from error
    except OSError as error:
        raise ConnectionError(f"{repo_id}: {_reason(error, None)}") from error


def _reason(error: Exception, status: int | None) -> str:
    known = {
        401: "the hub has no such model, or it is private: check the name, or sign in with `hf auth login`",
        403: "you may not do that with this model: sign in with `hf auth login` as one who may",
        404: "the hub has no such model or revision, or it is private: check both, or sign in with `hf auth login`",
    }
    said = re.sub(r"\(Request ID: [^)]*\)", "", str(error)).strip().splitlines()
    return known.get(status or 0) or f"the hub cannot be used ({said[0] if said else type(error).__name__})"
