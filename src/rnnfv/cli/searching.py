"""What `rnnfv retrieval index-images`, `index-sentences`, `search` and `annotate` do and show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rnnfv.cli.terminal import notes
from rnnfv.cli.usage import UsageError, at_least_one, check_outputs, usage
from rnnfv.datasets.captions import read_captions
from rnnfv.datasets.image_vectors import image_blocks
from rnnfv.recipes.search import Searcher, picture_files
from rnnfv.sheet import write_sheet
from rnnfv.storage import as_path
from rnnfv.text.corpora import Corpus


def run_index_images(
    vectors: Path,
    models: tuple[Path, ...],
    out: Path,
    captions: Path | None,
    split: str | None,
    pictures: Path | None,
) -> None:
    """Encode images and add them to the index."""
    if split is not None and captions is None:
        raise UsageError("--split is of the captions: give --captions, too")
    if pictures is not None and not pictures.is_dir():
        raise FileNotFoundError(f"{pictures} is not a folder of pictures")
    blocks, found = _images(vectors, captions, split), 0

    def counted() -> Iterator[tuple[list[str], NDArray[Any]]]:
        nonlocal found
        for names, values in blocks:
            found += len(names)
            yield names, values

    with _status("encoding images"):
        place = "" if pictures is None else str(pictures.resolve())
        added = Searcher(models).index_images(counted(), out, place)
    notes().print(f"{added} of {found} images were added to {out}")


def run_index_sentences(texts: Path, models: tuple[Path, ...], out: Path, split: str | None) -> None:
    """Encode sentences and add them to the index."""
    sentences: Any
    if texts.suffix == ".json" or texts.is_dir():
        captions = read_captions(texts)
        with usage():
            sentences = (captions if split is None else captions.part(split)).raw
    elif split is not None:
        raise UsageError("--split is for captions; a text has no splits")
    else:
        sentences = Corpus(texts)
    with _status("encoding sentences"):
        added, unknown = Searcher(models).index_sentences(sentences, out)
    left_out = f"; {unknown} have no known word and were left out" if unknown else ""
    notes().print(f"{added} different sentences were added to {out}{left_out}")


def run_search(
    sentence: str,
    models: tuple[Path, ...],
    images: Path,
    top: int,
    html: Path,
    pictures: Path | None,
    as_json: bool,
) -> None:
    """Print the pictures found, and write the sheet."""
    at_least_one(top=top)
    check_outputs(html)
    searcher = Searcher(models)
    found, place = searcher.find_images(sentence, images, top)
    folder = pictures if pictures is not None else place
    files = picture_files(folder, [name for name, _ in found]) if folder else [None] * len(found)
    _show(sentence, "picture", found, searcher.score_meaning, as_json)
    listed = [(name, score, file) for (name, score), file in zip(found, files, strict=True)]
    write_sheet(html, sentence, listed, searcher.score_meaning)
    notes().print(f"The pictures are in {html}")


def run_annotate(
    image: str,
    models: tuple[Path, ...],
    sentences: Path,
    vectors: Path | None,
    captions: Path | None,
    weights: Path | None,
    top: int,
    as_json: bool,
) -> None:
    """Print the sentences found."""
    at_least_one(top=top)
    if vectors is None and captions is not None:
        raise UsageError("--captions names the images of --vectors: give that, too, or leave it out")
    if vectors is not None and weights is not None:
        raise UsageError("--weights is for picture files: leave it out with --vectors")
    searcher = Searcher(models)
    if vectors is None:
        vector = searcher.picture_vector(image, weights)
    else:
        blocks = _images(vectors, captions, None)
        found = [values[names.index(image)] for names, values in blocks if image in names]
        if not found:
            raise ValueError(f"{vectors} has no image {image!r}: give its name as the captions or features have it")
        vector = found[0]
    found_sentences = searcher.find_sentences(vector, sentences, top)
    _show(image, "sentence", found_sentences, searcher.score_meaning, as_json)


def _images(vectors: Path, captions: Path | None, split: str | None) -> Iterator[tuple[list[str], NDArray[Any]]]:
    """Names and vectors of images, in blocks: of a data set, or of a folder of features."""
    if captions is None:
        if not as_path(vectors).is_dir():
            raise UsageError(f"{vectors} has vectors without names: give the data set with --captions")
        return image_blocks(vectors)
    listed = read_captions(captions)
    with usage():
        part = listed if split is None else listed.part(split)
    return image_blocks(vectors, listed, part)


def _show(query: str, kind: str, found: list[tuple[str, float]], meaning: str, as_json: bool) -> None:
    if as_json:
        results = [{kind: name, "score": score} for name, score in found]
        print(json.dumps({"query": query, "results": results}, indent=2, ensure_ascii=False))
        return
    table = Table(title=Text(query), title_justify="left")
    table.add_column("", justify="right")
    table.add_column("score", justify="right")
    table.add_column(kind, overflow="fold")
    for place, (name, score) in enumerate(found, start=1):
        table.add_row(str(place), f"{score:.3f}", Text(name))
    Console().print(table)
    notes().print(meaning)


def _status(text: str) -> Any:
    return Console(stderr=True).status(text)
