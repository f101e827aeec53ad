"""The commands of `rnnfv hub`. Heavy libraries load only inside a command, so that help is quick."""

from __future__ import annotations

import json as json_
from pathlib import Path

from cyclopts import App

hub = App(name="hub", help="Models on the Hugging Face hub: push one there, pull one here.", help_format="markdown")


@hub.command
def push(
    model: Path,
    name: str,
    *,
    data: str | None = None,
    figures: Path | None = None,
    licence: str | None = None,
    private: bool = False,
    revision: str | None = None,
    json: bool = False,
) -> int:
    """Put a saved model on the hub, with a card that tells its data, protocol, figures and licence.

    Sign in before with `hf auth login`. A card that a person wrote there is left as it is.

    Example: `rnnfv hub push model/ user/name --figures table.json --licence cc-by-4.0 --data "UCF101, split 1"`

    Parameters
    ----------
    model
        The folder of an encoder, a pipeline, a recogniser (`rnnfv action fit`) or a model of `rnnfv retrieval fit`.
    name
        user/name; made where it is not there yet.
    data
        What it was fitted on, in a sentence.
    figures
        What `evaluate --json` wrote, for the card.
    licence
        The hub's short name of the model's licence, such as cc-by-4.0.
    private
        A new one is seen by its owner alone.
    revision
        The branch to write to. Default: main.
    json
        Print JSON.
    """
    from rnnfv.cli.terminal import notes
    from rnnfv.hub import push_to_hub

    commit = push_to_hub(
        model, name, data=data, figures=figures, licence=licence, private=private or None, revision=revision
    )
    if json:
        print(json_.dumps({"model": name, "revision": commit}))
    else:
        notes().print(f"{name} is on the hub, revision {commit}")
    return 0


@hub.command
def pull(name: str, *, out: Path, revision: str | None = None, json: bool = False) -> int:
    """Write a model of the hub to a folder, which the other commands take with --model.

    Only the files of a model are fetched; nothing of them is run.

    Example: `rnnfv hub pull user/name --revision 6c0e6080 --out model/`

    Parameters
    ----------
    name
        user/name.
    out
        A new or an empty folder.
    revision
        A commit, a tag or a branch. Default: the newest.
    json
        Print JSON.
    """
    from rnnfv.cli.terminal import notes
    from rnnfv.hub import pull_folder

    commit = pull_folder(name, out, revision=revision)
    if json:
        print(json_.dumps({"model": name, "revision": commit, "folder": str(out)}))
    else:
        notes().print(f"{name} is in {out}, revision {commit}")
    return 0
