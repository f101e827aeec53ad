"""The commands of `rnnfv action`. Heavy libraries load only inside a command, so that help is quick."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from rnnfv.cli.codes import SOME_FAILED
from rnnfv.cli.engine import HERE, Where
from rnnfv.cli.usage import UsageError, at_least_one, check_borrowed, check_net, names, numbers, usage

action = App(
    name="action",
    help="Recognise actions: compare poolings on labelled sequences, fit a recogniser, and use it.",
    help_format="markdown",
)


@action.command
def evaluate(
    *,
    features: Path,
    manifest: Path,
    poolings: str = "mean,gmm-fv,hglmm-fv,hidden,rnn-fv,rnn-fv-kron",
    seeds: int = 1,
    json: Path | None = None,
    markdown: Path | None = None,
    latex: Path | None = None,
    splits: str | None = None,
    deltas: str | None = None,
    components: str = "1,2,4,8,16,32",
    hidden_size: int | None = None,
    projection_size: int | None = None,
    epochs: int | None = None,
    dropout: float = 0.5,
    weight_decay: float = 1e-4,
    learning_rate: float = 1e-3,
    transfer: Path | None = None,
    through: Path | None = None,
    vectors: Path | None = None,
    reverse_test: bool = False,
    allow_overlap: bool = False,
    skip_missing: bool = False,
    device: str = "auto",
    jobs: int | None = None,
    where: Where = HERE,
) -> int:
    """Compare poolings on the same features, split by split, and print the table.

    Everything is chosen and fitted on a split's training part, validation parts never sharing a group with the rest.
    Features of 500 values a step or more go the paper's way: PCA to 500, L2, a net stopped by its probe, PCA to 1000,
    power, L2, linear SVM; small sets choose their differences, too. Narrower features, such as skeletons, choose their
    preparation for each pooling by cross-validation. With --json the same command goes on after a stop; until it has
    ended, what is done is kept beside that file.

    Example: `rnnfv action evaluate --features features/ --manifest ucf101.csv --seeds 3 --json table.json`

    Parameters
    ----------
    features
        Folder of Parquet shards, as `rnnfv extract` writes it.
    manifest
        CSV with the columns `id`, `label`, `group`, `split1`, ...; `rnnfv manifest` writes those of known data sets.
    poolings
        Names, with commas between them.
    seeds
        Fit everything with so many seeds, and show the mean.
    json
        Write the figures, the configuration and the seeds here.
    markdown
        Write the table as Markdown.
    latex
        Write the table as LaTeX (booktabs).
    splits
        Only these, such as `split1,split2`.
    deltas
        Lags of differences to choose from, 0 for none. Default: `1,3` for narrow features; `0,1` for wide ones,
        `0` where there are 2000 training sequences or more.
    components
        Sizes of mixtures to choose from.
    hidden_size
        Units of the recurrent part. Default: 200 for wide features, 100 for narrow ones.
    projection_size
        Units of the layer before it; the same default.
    epochs
        Train for at most so many. Default: 8; for narrow features 1, 4 or 8, chosen by cross-validation.
    dropout
        Share of units dropped in training.
    weight_decay
        Of the net.
    learning_rate
        Of the net.
    transfer
        A recogniser fitted on another data set (`rnnfv action fit`): its preparation and its net are used as they are.
    through
        A model of images and sentences (`rnnfv retrieval fit`) whose image vectors came from the same backbone: frames
        are mapped to its first 500 canonical dimensions.
    vectors
        Keep all vectors in this folder, one folder a pooling, for `rnnfv action fuse`.
    reverse_test
        Also test on clips played backwards, and tell how many predictions that changes.
    allow_overlap
        Go on where a group is in both parts of a split, as in HMDB51's official lists.
    skip_missing
        Leave out items without features, such as videos that could not be read.
    device
        Where nets are trained: auto, cpu, cuda, ...
    jobs
        Processes for choosing parameters. Default: one.
    """
    from rnnfv.cli.evaluate import run_evaluate
    from rnnfv.recipes.action import Settings

    at_least_one(seeds=seeds, hidden_size=hidden_size, projection_size=projection_size, epochs=epochs, jobs=jobs)
    check_net(dropout, weight_decay, learning_rate)
    chosen = {"--deltas": deltas, "--hidden-size": hidden_size, "--projection-size": projection_size}
    check_borrowed(transfer, through, chosen | {"--epochs": epochs})
    with usage():
        settings = Settings(
            poolings=tuple(poolings.split(",")),
            seeds=seeds,
            deltas=numbers(deltas, "--deltas"),
            components=numbers(components, "--components"),
            hidden_size=hidden_size,
            projection_size=projection_size,
            max_epochs=epochs,
            dropout=dropout,
            weight_decay=weight_decay,
            learning_rate=learning_rate,
            device=device,
            jobs=jobs,
        )
    run_evaluate(
        features,
        manifest,
        settings,
        splits=names(splits),
        transfer=transfer,
        through=through,
        vectors=vectors,
        allow_overlap=allow_overlap,
        reverse_test=reverse_test,
        skip_missing=skip_missing,
        where=where,
        figures=json,
        markdown=markdown,
        latex=latex,
    )
    return 0


@action.command
def fuse(*runs: Path, manifest: Path, seeds: int = 1, splits: str | None = None, json: Path | None = None) -> int:
    """Join the vectors of several runs side by side, and test one linear SVM on them (early fusion).

    Example: `rnnfv action fuse vectors-c3d/rnn-fv vectors-vgg/rnn-fv --manifest ucf101.csv`

    Parameters
    ----------
    runs
        Folders of vectors: `VECTORS/POOLING` of `rnnfv action evaluate --vectors VECTORS`.
    manifest
        CSV with labels and splits.
    seeds
        Fuse the seeds 0, 1, ... of each run.
    splits
        Only these, such as `split1,split2`.
    json
        Write the figures here.
    """
    from rnnfv.cli.evaluate import run_fuse

    if len(runs) < 1:
        raise UsageError("give the folders of the runs that are to be fused")
    run_fuse(runs, manifest, seeds, names(splits), json)
    return 0


@action.command
def fit(
    features: Path,
    *,
    manifest: Path,
    out: Path,
    pooling: str = "rnn-fv-kron",
    split: str | None = None,
    weights: Path | None = None,
    mean: Path | None = None,
    through: Path | None = None,
    deltas: str | None = None,
    components: str = "1,2,4,8,16,32",
    hidden_size: int | None = None,
    projection_size: int | None = None,
    epochs: int | None = None,
    streamed: bool = False,
    skip_missing: bool = False,
    device: str = "auto",
    jobs: int | None = None,
) -> int:
    """Fit a recogniser on labelled features, and keep the whole chain in one folder.

    After a stop the same command goes on. Under `torchrun -m rnnfv action fit ...` processes share the training of a
    net.

    Example: `rnnfv action fit --features features/ --manifest ucf101.csv --weights vgg19.pth --out model/`

    Parameters
    ----------
    features
        Folder of Parquet shards, as `rnnfv extract` writes it.
    manifest
        CSV with the columns `id`, `label`, `group`, `split1`, ...; items without a label are left out.
    out
        The folder of the recogniser.
    pooling
        mean, gmm-fv, hglmm-fv, hidden, rnn-fv or rnn-fv-kron.
    split
        Fit on the training part of this split, such as `split1`. Default: on all labelled items.
    weights
        The backbone's file of weights, to be kept with the recogniser, so that it takes videos.
    mean
        The `.npy` file with the mean of all clips, where c3d was used with one; needed beside its weights.
    through
        A model of images and sentences (`rnnfv retrieval fit`), whose image side maps every frame.
    deltas
        Lags of differences to choose from, 0 for none. Default: `1,3` for narrow features; `0,1` for wide ones,
        `0` where there are 2000 training sequences or more.
    components
        Sizes of mixtures to choose from.
    hidden_size
        Units of the recurrent part. Default: 200 for wide features, 100 for narrow ones.
    projection_size
        Units of the layer before it; the same default.
    epochs
        Train for at most so many. Default: 8; for narrow features 1, 4 or 8, chosen by cross-validation.
    streamed
        Choose only what `rnnfv action watch` can follow, which sees no sequence as a whole (narrow features).
    skip_missing
        Leave out items without features, such as videos that could not be read.
    device
        Where nets are trained: auto, cpu, cuda, ...
    jobs
        Processes for choosing parameters. Default: one.
    """
    from rnnfv.cli.fit import run_fit
    from rnnfv.recipes.action import Settings

    at_least_one(hidden_size=hidden_size, projection_size=projection_size, epochs=epochs, jobs=jobs)
    with usage():
        settings = Settings(
            poolings=(pooling,),
            deltas=numbers(deltas, "--deltas"),
            components=numbers(components, "--components"),
            hidden_size=hidden_size,
            projection_size=projection_size,
            max_epochs=epochs,
            is_streamed=streamed,
            device=device,
            jobs=jobs,
        )
    run_fit(
        features,
        manifest,
        out,
        settings,
        split=split,
        weights=weights,
        mean=mean,
        through=through,
        skip_missing=skip_missing,
    )
    return 0


@action.command
def predict(
    *videos: Path,
    model: Path,
    json: Path | None = None,
    explain: Path | None = None,
    weights: Path | None = None,
    mean: Path | None = None,
    workers: int | None = None,
    device: str = "auto",
) -> int:
    """Name the actions in videos: the five classes with the highest scores for each.

    Scores are the classifier's decision values, not probabilities. Videos that cannot be read are listed with the
    reason and do not stop the run (exit code 3).

    Example: `rnnfv action predict new.mp4 more-videos/ --model model/ --json out.json --explain pictures/`

    Parameters
    ----------
    videos
        Videos, folders of image files, and folders of videos, all of which are taken.
    model
        Folder that `rnnfv action fit` wrote.
    json
        Write all scores here, and with --explain what each step adds.
    explain
        Tell which moments spoke most for the class, and draw them in this folder; for rnn-fv and rnn-fv-kron.
    weights
        The backbone's weights, where the model is without them.
    mean
        The `.npy` file with the mean of all clips, where the model is without it.
    workers
        Processes that decode; 0 decodes in this one.
    device
        Of the backbone: auto, cpu, cuda, ...
    """
    from rnnfv.cli.predict import run_predict

    if not videos:
        raise UsageError("give a video, or a folder of videos")
    failed = run_predict(
        model, videos, weights=weights, mean=mean, figures=json, explain=explain, device=device, workers=workers
    )
    return SOME_FAILED if failed else 0


@action.command
def watch(
    source: str,
    *,
    model: Path,
    json: bool = False,
    weights: Path | None = None,
    mean: Path | None = None,
    device: str = "auto",
) -> int:
    """Name the action in a video while it runs, from a file, a camera or an address.

    Every frame is used once, as it comes, and memory does not grow. A terminal shows the five best classes; elsewhere
    there is a line for each second of video. Ctrl-C ends it, and the last line is the result so far.

    Example: `rnnfv action watch /dev/video0 --model model/`

    Parameters
    ----------
    source
        A video file, a camera's device file (Linux), or an address that FFmpeg opens, such as rtsp://...
    model
        Folder written by `rnnfv action fit` with `--pooling rnn-fv` or `rnn-fv-kron`.
    json
        Print lines of JSON: time in seconds, steps, the score of every class, and whether it is the last line.
    weights
        The backbone's file of weights, where the model is without it.
    mean
        The `.npy` file with the mean of all clips, where the model is without it.
    device
        Of the backbone: auto, cpu, cuda, ...
    """
    from rnnfv.cli.watch import run_watch

    run_watch(model, source, weights=weights, mean=mean, as_json=json, device=device)
    return 0


@action.command
def idt(
    trajectories: Path,
    *,
    manifest: Path,
    vectors: Path | None = None,
    json: Path | None = None,
    seeds: int = 1,
    splits: str | None = None,
    components: int = 256,
    allow_overlap: bool = False,
    skip_missing: bool = False,
) -> int:
    """Evaluate Fisher vectors of improved dense trajectories, split by split, and print the table.

    Reductions and mixtures are learnt from a split's training files alone. All files are read once beforehand, to see
    that they can be read. With the default components a vector takes 436 kB of memory.

    Example: `rnnfv action idt trajectories/ --manifest ucf101.csv --vectors vectors/`

    Parameters
    ----------
    trajectories
        Folder of files of the program DenseTrackStab: .txt, .features or .gz, named as the manifest's ids.
    manifest
        CSV with labels and splits.
    vectors
        Keep all vectors in this folder's `idt`, for `rnnfv action fuse`.
    json
        Write the figures here.
    seeds
        Fit everything with so many seeds, and show the mean.
    splits
        Only these, such as `split1,split2`.
    components
        Gaussians of each mixture.
    allow_overlap
        Go on where a group is in both parts of a split, as in HMDB51's official lists.
    skip_missing
        Leave out items whose file is missing or cannot be read; they are listed.
    """
    from rnnfv.cli.idt import run_idt

    run_idt(
        trajectories,
        manifest,
        components=components,
        seeds=seeds,
        splits=names(splits),
        vectors=vectors,
        allow_overlap=allow_overlap,
        skip_missing=skip_missing,
        figures=json,
    )
    return 0
