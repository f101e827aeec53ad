"""The commands of `rnnfv retrieval`. Heavy libraries load only inside a command, so that help is quick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from rnnfv.cli.engine import HERE, Where
from rnnfv.cli.usage import UsageError, at_least_one, check_net, usage
from rnnfv.recipes.sentence_settings import SentenceSettings

retrieval = App(
    name="retrieval",
    help="Images and sentences: compare sentence encoders, fit a model, and search pictures by words.",
    help_format="markdown",
)

DataSet = Literal["flickr8k", "flickr30k"]
Paths = Annotated[tuple[Path, ...], Parameter(negative="")]


@Parameter(name="*")
@dataclass(frozen=True)
class Fitting:
    """How a model is fitted.

    Parameters
    ----------
    sentences
        Options of their own.
    words
        File of word vectors: word2vec (.bin, .txt), fastText (.vec) or GloVe (.txt), also gzipped. Given more than
        once, the vectors of the files are joined side by side.
    cca_words
        In place of --words: a fitted model (mm-ens in the paper) with which every word is encoded.
    corpus
        Mixtures and nets learn from this text, a sentence a line or in the format of the Leipzig corpora, and not from
        the captions.
    corpus_sentences
        Only the first so many of it.
    etas
        Regularisations of the CCA to choose from, with commas between them.
    local_scaling
        Compare by the cosine less what is usual near both sides (CSLS), where that helps in validation. The paper's way
        is --no-local-scaling.
    """

    sentences: Annotated[SentenceSettings, Parameter(name="*")] = field(default_factory=SentenceSettings)
    words: Paths = ()
    cca_words: Path | None = None
    corpus: Path | None = None
    corpus_sentences: int | None = None
    etas: str | None = None
    local_scaling: bool = True

    def rows(self, both_directions: bool, also: Sequence[Path]) -> list[Fitting]:
        """This one and those like it but for the direction of the words and the text that is learnt from."""
        texts: list[Path | None] = list(dict.fromkeys([self.corpus, *also]))
        directions = [self.sentences]
        if both_directions:
            with usage():
                directions.append(replace(self.sentences, reverse=not self.sentences.reverse))
        limit = self.corpus_sentences  # with no text at all it stays, for `check` to refuse
        return [
            replace(self, sentences=way, corpus=text, corpus_sentences=None if text is None and also else limit)
            for text in texts
            for way in directions
        ]

    def check(self) -> None:
        """Refuse options that do not go together."""
        encoder, is_given = self.sentences.encoder, bool(self.words) + (self.cca_words is not None)
        if is_given != (encoder != "tf-idf"):
            needs = "no word vectors: leave --words out" if encoder == "tf-idf" else "either --words or --cca-words"
            raise UsageError(f"{encoder} needs {needs}")
        if self.corpus is not None and (encoder == "tf-idf" or (encoder == "mean" and not self.sentences.ica)):
            raise UsageError(f"{encoder} learns nothing from a text: leave {self.corpus} out")
        if self.corpus is None and self.corpus_sentences is not None:
            raise UsageError("--corpus-sentences counts those of --corpus: give that, too")
        at_least_one(corpus_sentences=self.corpus_sentences)
        check_net(self.sentences.dropout, self.sentences.weight_decay, self.sentences.learning_rate)


@retrieval.command
def evaluate(
    *,
    captions: Path,
    images: Path,
    fitting: Fitting = Fitting(),
    split: str = "test",
    seeds: int = 1,
    json: Path | None = None,
    markdown: Path | None = None,
    latex: Path | None = None,
    published: DataSet | None = None,
    ranks: Path | None = None,
    both_directions: bool = False,
    also_corpus: Paths = (),
    where: Where = HERE,
) -> int:
    """Fit on the split train, choose on the split val, and report on another.

    Prints recall at 1, 5 and 10 and the median and mean rank of the first true result, of annotation (an image asks for
    sentences) and search (a sentence asks for images), and the mean rank of sentence similarity. With `--split val` one
    half of its images chooses and the other is reported on. With --json the same command goes on after a stop. With
    --engine ray the models of all seeds, directions and texts are fitted at once.

    Example: `rnnfv retrieval evaluate --captions dataset_flickr8k.json --images vgg.npy --words glove.txt`

    Parameters
    ----------
    captions
        The field's `dataset_*.json`, or the folder of Flickr8k's own lists.
    images
        Image vectors in the order of the captions' images: .npy, `vgg_feats.mat`, or a folder of features that
        `rnnfv extract --images` wrote.
    split
        The part to report on.
    seeds
        Fit with so many seeds, and show the mean.
    json
        Write the figures, the configuration and the seeds here.
    markdown
        Write the table as Markdown.
    latex
        Write the table as LaTeX (booktabs).
    published
        Show the paper's figures of this data set beside them.
    ranks
        Write a CSV of every query, the rank of its first true result and what was found first, for the first seed of
        the first row.
    both_directions
        Fit nets that read the words the other way, too: another row.
    also_corpus
        Fit what learns from this text, too: another row. May be given more than once; --corpus-sentences counts those
        of each.
    """
    from rnnfv.cli.retrieving import Output, run_evaluate

    rows = fitting.rows(both_directions, also_corpus)
    run_evaluate(captions, images, rows, split, seeds, Output(json, markdown, latex, published, ranks), where)
    return 0


@retrieval.command
def fit(
    *,
    captions: Path,
    images: Path,
    out: Path,
    fitting: Fitting = Fitting(),
    seed: int = 0,
    where: Where = HERE,
) -> int:
    """Fit a model on the split train, choosing on every other image of the split val, and save it.

    The other half of val is left for `combine --split val`. After a stop the same command goes on. Under
    `torchrun -m rnnfv retrieval fit ...` processes share the training of a net.

    Example: `rnnfv retrieval fit --captions dataset_flickr8k.json --images vgg.npy --words glove.txt --out model/`

    Parameters
    ----------
    captions
        The field's `dataset_*.json`, or the folder of Flickr8k's own lists.
    images
        Image vectors: .npy, `vgg_feats.mat`, or a folder of features that `rnnfv extract --images` wrote.
    out
        Folder for the model: the whole chain from a sentence, or an image vector, to the common space.
    seed
        Of the encoder.
    """
    from rnnfv.cli.retrieving import run_fit

    run_fit(captions, images, fitting, seed, out, where)
    return 0


@retrieval.command
def combine(
    *models: Path,
    captions: Path,
    images: Path,
    split: str = "test",
    json: Path | None = None,
    markdown: Path | None = None,
    latex: Path | None = None,
    published: DataSet | None = None,
    ranks: Path | None = None,
) -> int:
    """Report on saved models, and on the mean of their similarities.

    Example: `rnnfv retrieval combine rnn/ reversed/ mm-ens/ --captions dataset_flickr8k.json --images vgg.npy`

    Parameters
    ----------
    models
        Folders of models.
    captions
        The field's `dataset_*.json`, or the folder of Flickr8k's own lists.
    images
        Image vectors, as they were for `fit`.
    split
        The part to report on; of val the half that chose nothing. Images that have fitted a model or chosen it, in
        whatever data set, are refused.
    json
        Write the figures here.
    markdown
        Write the table as Markdown.
    latex
        Write the table as LaTeX (booktabs).
    published
        Show the paper's figures of this data set beside them.
    ranks
        Write a CSV of every query of the combination.
    """
    from rnnfv.cli.retrieving import Output, run_combine

    if not models:
        raise UsageError("give the folders of one or more models")
    run_combine(models, captions, images, split, Output(json, markdown, latex, published, ranks))
    return 0


@retrieval.command
def index_images(
    vectors: Path,
    *,
    model: Paths,
    out: Path,
    captions: Path | None = None,
    split: str | None = None,
    pictures: Path | None = None,
) -> int:
    """Make an index of images for `search`, or add to it.

    Example: `rnnfv retrieval index-images vgg.npy --captions dataset_flickr8k.json --model model/ --out images.index/`

    Parameters
    ----------
    vectors
        Image vectors as for `fit`: .npy or `vgg_feats.mat`, which need --captions; or a folder of features that
        `rnnfv extract --images` wrote.
    model
        Folder of a model; more than once: their similarities are averaged.
    out
        Folder of the index. Images that it has already are passed by.
    captions
        The data set whose images these are, for their names.
    split
        Only the images of this split.
    pictures
        Folder of the pictures, which `search` then shows.
    """
    from rnnfv.cli.searching import run_index_images

    run_index_images(vectors, model, out, captions, split, pictures)
    return 0


@retrieval.command
def index_sentences(texts: Path, *, model: Paths, out: Path, split: str | None = None) -> int:
    """Make an index of sentences for `annotate`, or add to it.

    Example: `rnnfv retrieval index-sentences dataset_flickr8k.json --model model/ --out sentences.index/`

    Parameters
    ----------
    texts
        Captions (`dataset_*.json`, or the folder of Flickr8k's own lists), or a text, a sentence a line.
    model
        Folder of a model; more than once: their similarities are averaged.
    out
        Folder of the index. Sentences that it has already are passed by.
    split
        Only the captions of this split.
    """
    from rnnfv.cli.searching import run_index_sentences

    run_index_sentences(texts, model, out, split)
    return 0


@retrieval.command
def search(
    sentence: str,
    *,
    model: Paths,
    images: Path,
    top: int = 10,
    html: Path = Path("search.html"),
    pictures: Path | None = None,
    json: bool = False,
) -> int:
    """Find the pictures that a sentence describes.

    Example: `rnnfv retrieval search "two dogs run on the beach" --model model/ --images images.index/ --top 10`

    Parameters
    ----------
    sentence
        What is to be seen.
    model
        Folder of a model; the same ones, and in the same order, that made the index.
    images
        Folder that `index-images` wrote.
    top
        How many to show.
    html
        The contact sheet to write.
    pictures
        Folder of the pictures, where they are not where `index-images` was told.
    json
        Print JSON.
    """
    from rnnfv.cli.searching import run_search

    run_search(sentence, model, images, top, html, pictures, json)
    return 0


@retrieval.command
def annotate(
    image: str,
    *,
    model: Paths,
    sentences: Path,
    vectors: Path | None = None,
    captions: Path | None = None,
    weights: Path | None = None,
    top: int = 10,
    json: bool = False,
) -> int:
    """Find the sentences that describe a picture.

    Example: `rnnfv retrieval annotate dog.jpg --model model/ --sentences sentences.index/`

    Parameters
    ----------
    image
        A picture file, where the model knows the backbone of its image vectors; with --vectors the name of an image.
    model
        Folder of a model; the same ones, and in the same order, that made the index.
    sentences
        Folder that `index-sentences` wrote.
    vectors
        Image vectors as for `fit`, to take the image's from.
    captions
        The data set whose images they are, for their names.
    weights
        The file of weights of the model's backbone, to see a picture file with.
    top
        How many to show.
    json
        Print JSON.
    """
    from rnnfv.cli.searching import run_annotate

    run_annotate(image, model, sentences, vectors, captions, weights, top, json)
    return 0
