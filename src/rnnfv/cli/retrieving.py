"""What `rnnfv retrieval evaluate`, `fit` and `combine` do and show."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape

from rnnfv import __version__
from rnnfv.cli.engine import HERE, Where, open_where
from rnnfv.cli.retrieval import Fitting
from rnnfv.cli.terminal import notes, print_table, write_text
from rnnfv.cli.usage import UsageError, at_least_one, check_outputs, usage
from rnnfv.datasets.captions import Captions, read_captions
from rnnfv.datasets.image_vectors import read_image_vectors
from rnnfv.recipes._work import job_of, open_work
from rnnfv.recipes.evaluation import (
    Combination,
    Parts,
    Trial,
    encoded,
    evaluate_models,
    fit_models,
    mean_report,
    parts_of,
    query_rows,
    seen_images,
    words_known,
)
from rnnfv.recipes.published import published_reports
from rnnfv.recipes.recognizer import backbone_of_features
from rnnfv.recipes.retrieval import ETAS, FOLDER, RetrievalModel, load_retrieval, report_of
from rnnfv.storage import as_path, atomic_file
from rnnfv.tables import as_latex, as_markdown
from rnnfv.text.corpora import Corpus

_FIGURES = {"r@1": "r@1", "r@5": "r@5", "r@10": "r@10", "median_rank": "median", "mean_rank": "mean"}


@dataclass(frozen=True)
class Output:
    """Where results go, besides the terminal."""

    json: Path | None
    markdown: Path | None
    latex: Path | None
    published: str | None
    ranks: Path | None

    def check(self) -> None:
        """Refuse, before the work, what could not be written after it."""
        check_outputs(self.json, self.markdown, self.latex, self.ranks)


def run_evaluate(
    captions: Path,
    images: Path,
    fittings: Sequence[Fitting],
    split: str,
    seeds: int,
    output: Output,
    where: Where = HERE,
) -> None:
    """Fit with every seed, a row of the table for each way of fitting; report, print it, and write what was asked for.

    All ways have the same words, etas and local scaling.
    """
    at_least_one(seeds=seeds)
    for fitting in fittings:
        fitting.check()
    output.check()
    first, *others = fittings
    parts = parts_of(*_data(captions, images, split), split)
    if first.cca_words is not None:
        _refuse_seen(str(first.cca_words), load_retrieval(first.cca_words), parts)
    rows = _trials(fittings, seeds)
    trials = [trial for row in rows for trial in row]
    job = _job("retrieval evaluate", captions, images, first, {"split": split, **_further_rows(others)})
    with open_work(output.json, job) as work:
        found = {trial.name: work.found(trial.name) for trial in trials}
        ranks = None if output.ranks is None else work.found("ranks")
        ranked = [trials[0].name] if output.ranks is not None and ranks is None else []
        # Ranks are of vectors, which are not kept: what was done without ranks is done again.
        missing = [trial for trial in trials if found[trial.name] is None or trial.name in ranked]
        with open_where(where if missing else HERE) as engine, _status() as report:
            options = _options(first) | {"engine": engine, "report": report, "work": work}
            for name, record in evaluate_models(parts, missing, ranked=ranked, **options):
                single = record.pop("ranks")
                if single is not None:
                    ranks = single
                    work.keep("ranks", ranks)
                found[name] = record
                work.keep(name, record)
        words = found[trials[0].name]["words"]
        _tell_words(words)
        _write_ranks(output.ranks, ranks or ())
        table = [_row(fitting, [found[t.name] for t in row]) for fitting, row in zip(fittings, rows, strict=True)]
        protocol = _protocol(captions, images, split, parts) | {"seeds": list(range(seeds)), "words": words}
        content = table[0] | {"protocol": protocol | table[0]["protocol"]}
        if others:
            content["others"] = table[1:]
        write_text(output.json, json.dumps(content, indent=2, default=str) + "\n")
    title = f"{captions.stem}, {split}: {len(parts.test.images)} images"
    _show(title, dict(zip(_row_names(fittings), table, strict=True)), output)


def _trials(fittings: Sequence[Fitting], seeds: int) -> list[list[Trial]]:
    """For every row of the table a model for every seed. Rows of one text share it, and so what is read of it."""
    corpora = {fitting.corpus: _corpus(fitting) for fitting in fittings}
    return [
        [
            Trial(
                f"row {n}, seed {seed}" if n > 1 else f"seed {seed}", fitting.sentences, seed, corpora[fitting.corpus]
            )
            for seed in range(seeds)
        ]
        for n, fitting in enumerate(fittings, 1)
    ]


def _further_rows(others: Sequence[Fitting]) -> dict[str, Any]:
    """What of a job tells those of the rows after the first."""
    rows = [
        job_of("", {"sentences": other.sentences.fitting, "limit": other.corpus_sentences}, {"corpus": other.corpus})
        for other in others
    ]
    return {"further rows": rows} if rows else {}


def _row_names(fittings: Sequence[Fitting]) -> Iterator[str]:
    for fitting in fittings:
        text = f", learnt from {fitting.corpus}" if fitting.corpus is not None and len(fittings) > 1 else ""
        yield _name(fitting) + text


def _row(fitting: Fitting, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The mean of what was found with each seed, and all of it."""
    reports = [record["report"] for record in records]
    protocol = {"fitting": asdict(fitting), "chosen": [record["chosen"] for record in records]}
    return {"protocol": protocol, **mean_report(reports), "by_seed": reports}


def run_fit(captions: Path, images: Path, fitting: Fitting, seed: int, out: Path, where: Where = HERE) -> None:
    """Fit one model and save it."""
    fitting.check()
    FOLDER.check_replaceable(out)
    listed, vectors = _data(captions, images)
    parts = parts_of(listed, vectors, "val")
    backbone = backbone_of_features(images)[0] if as_path(images).is_dir() else None
    job = _job("retrieval fit", captions, images, fitting, {"seed": seed})
    with open_work(out, job) as work, open_where(where) as engine, _status() as report:
        options = _options(fitting) | {"corpus": _corpus(fitting), "engine": engine, "report": report, "work": work}
        (model,) = fit_models(parts, fitting.sentences, seeds=[seed], others=listed.sentences, **options)
        _tell_words(words_known(model, parts))
        model.note.update(captions=str(captions), images=str(images), chosen_on="every other image of val")
        model.note.update(words=list(map(str, fitting.words)), backbone=backbone)
        model.save(out)
    chosen = ", ".join(
        f"{name} {model.note['chosen'][name]:g}" for name in ("eta", "epoch") if name in model.note["chosen"]
    )
    console = notes()
    console.print(f"{_name(fitting)} is in {out} ({chosen}). Next: rnnfv retrieval index-images --help")


def run_combine(folders: Iterable[Path], captions: Path, images: Path, split: str, output: Output) -> None:
    """Report on saved models and on their combination."""
    output.check()
    parts = parts_of(*_data(captions, images, split), split)
    models = {str(folder): load_retrieval(folder) for folder in folders}
    for name, model in models.items():
        _refuse_seen(name, model, parts)
    rows, vectors_of = {}, []
    with _status() as report:
        for name, model in models.items():
            report(escape(name))
            vectors_of.append(encoded(model, parts))
            rows[name] = report_of(*vectors_of[-1], parts.test.image_of_sentence)
        report("their mean")
        joint = Combination(tuple(models.values()))
        vectors = (joint.join([s for s, _ in vectors_of]), joint.join([i for _, i in vectors_of]))
        combination = report_of(*vectors, parts.test.image_of_sentence)
        _write_ranks(output.ranks, query_rows(*vectors, parts.test_captions))
    _show(f"{captions.stem}, {split}: {len(parts.test.images)} images", rows | {"mean of all": combination}, output)
    content = {"protocol": _protocol(captions, images, split, parts), "models": rows, "combination": combination}
    write_text(output.json, json.dumps(content, indent=2) + "\n")


def _data(captions: Path, images: Path, split: str = "val") -> tuple[Captions, NDArray[Any]]:
    """A data set, which has the split to report on, and its image vectors."""
    if split == "train":
        raise UsageError("models are fitted on the split train: report on another")
    if captions.is_dir() and images.suffix == ".mat":
        raise UsageError(f"the order of {images} is that of a dataset_*.json: give that one with --captions")
    listed = read_captions(captions)
    with usage():
        listed.part(split)
    return listed, read_image_vectors(images, listed)


def _job(command: str, captions: Path, images: Path, fitting: Fitting, more: dict[str, Any]) -> dict[str, Any]:
    """What tells this job from others."""
    files = {"captions": captions, "images": images, "cca_words": fitting.cca_words, "corpus": fitting.corpus}
    files |= {f"words {i}": path for i, path in enumerate(fitting.words)}
    decides = {name: value for name, value in asdict(fitting).items() if name not in {*files, "words"}}
    return job_of(command, decides | {"sentences": fitting.sentences.fitting} | more, files)


def _options(fitting: Fitting) -> dict[str, Any]:
    """What all models have of it."""
    words: Any = [str(path) for path in fitting.words]
    return {
        "words": words if fitting.cca_words is None else load_retrieval(fitting.cca_words),
        "etas": ETAS if fitting.etas is None else _numbers(fitting.etas),
        "local_scaling": fitting.local_scaling,
    }


def _corpus(fitting: Fitting) -> Corpus | None:
    return None if fitting.corpus is None else Corpus(fitting.corpus, fitting.corpus_sentences)


def _refuse_seen(name: str, model: RetrievalModel, parts: Parts) -> None:
    """Refuse to report on images that have fitted a model, or chosen it."""
    if "seen" not in model.note:
        notes().print(f"{name} does not tell what images it was fitted on: see that they are not those reported on")
    if (found := seen_images(model, parts.test_captions.filenames.tolist())) is not None:
        how, names = found
        of = f"{len(names)} of the {len(parts.test.images)} images to report on, the first {names[0]!r}"
        raise UsageError(f"{name} was {how} {of}: choose another --split, or fit a model on these captions")


def _tell_words(known: dict[str, str] | None) -> None:
    """Say on stderr which words have vectors."""
    console = notes()
    for name, told in (known or {}).items():
        console.print(f"{name}: {told}")


def _show(title: str, rows: dict[str, dict[str, Any]], output: Output) -> None:
    """Print the figures, a task a line; write them as the paper's wide table where asked for."""
    published = {} if output.published is None else published_reports(output.published)
    rows = rows | {f"{name} (paper)": row for name, row in published.items()}
    lines, wide = [], []
    for name, row in rows.items():
        tasks = {task: [f"{row[task][figure]:.1f}" for figure in _FIGURES] for task in ("annotation", "search")}
        rank = row["sentence"]["mean_rank"]
        siblings = "" if rank is None else f"{rank:.1f}"
        wide.append([name, *tasks["annotation"], *tasks["search"], siblings])
        lines += [[name, "annotation", *tasks["annotation"]], ["", "search", *tasks["search"]]]
        lines.append(["", "sentence", "", "", "", "", siblings])
    caption = "Recall at 1, 5, 10 in percent; rank of the first true result."
    print_table(title, ["encoder", "task", *_FIGURES.values()], lines, caption)
    header = ["encoder", *(f"{task} {short}" for task in ("annotation", "search") for short in _FIGURES.values())]
    header.append("sentence mean")
    write_text(output.markdown, as_markdown(header, wide))
    write_text(output.latex, as_latex(header, wide))


def _write_ranks(path: Path | None, rows: Iterable[Sequence[Any]]) -> None:
    if path is None:
        return
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["task", "query", "rank", "first"])
        writer.writerows(rows)


def _protocol(captions: Path, images: Path, split: str, parts: Parts) -> dict[str, Any]:
    sizes = {"train": parts.train, "validation": parts.validation, "reported on": parts.test}
    return {
        "captions": str(captions),
        "images": str(images),
        "split": split,
        "sizes": {name: {"images": len(p.images), "sentences": len(p.texts)} for name, p in sizes.items()},
        "ties": "a wrong result as similar as the true one stands before it",
        "rnnfv": __version__,
    }


def _name(fitting: Fitting) -> str:
    settings = fitting.sentences
    parts = {"cca words": fitting.cca_words is not None, "reversed": settings.reverse, "ica": settings.ica}
    return ", ".join([settings.encoder, *(name for name, is_so in parts.items() if is_so)])


def _numbers(text: str) -> list[float]:
    try:
        etas = [float(part) for part in text.split(",")]
    except ValueError:
        etas = [-1.0]
    if not all(0 <= eta < float("inf") for eta in etas):
        raise UsageError(f"--etas is {text!r}: give numbers from 0 on with commas between them, such as 0.001,0.01")
    return etas


@contextmanager
def _status() -> Iterator[Callable[[str], None]]:
    """A line on stderr that says what is going on."""
    with Console(stderr=True).status("") as spinner:
        yield spinner.update
