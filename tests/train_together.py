"""What tests have several processes do: fit small nets, and say in a file what came of it.

python -m torch.distributed.run --nproc-per-node 2 train_together.py FOLDER WHAT [HOW]
"""

import os
import signal
import sys
from pathlib import Path

import numpy as np

import rnnfv.training
from rnnfv import RNNFisherVector, Sequences
from rnnfv.processes import place
from rnnfv.storage import write_checkpoint

SMALL = {"hidden_size": 5, "projection_size": 4, "max_epochs": 4, "batch_size": 4, "random_state": 3}


def vectors():
    """Thirteen sequences: the last batch of an epoch has one, and none for a second process."""
    rng = np.random.default_rng(0)
    return Sequences.from_list([rng.normal(size=(n, 3)) for n in (5, 1, 9, 14, 2, 7, 7, 3, 11, 6, 4, 8, 2)])


def symbols():
    """Symbols of which a third, unevenly spread, are no targets."""
    seqs, rng = vectors(), np.random.default_rng(1)
    return Sequences(rng.integers(0, 6, len(seqs.values)), seqs.offsets, rng.normal(size=(6, 3)))


LABELS = np.arange(13) % 2
FITS = {
    "regression": lambda **more: RNNFisherVector(dropout=0.0, early_stopping=None, dtype="float64", **SMALL | more).fit(
        vectors()
    ),
    "single precision": lambda **more: RNNFisherVector(dropout=0.0, **SMALL | more).fit(vectors()),
    "symbols": lambda **more: RNNFisherVector(
        objective="classification", n_symbols=4, dropout=0.0, dtype="float64", **SMALL | more
    ).fit(symbols()),
    "dropout": lambda path=None, **more: RNNFisherVector(dropout=0.5, **SMALL | more).fit(
        vectors(), LABELS, checkpoint=path
    ),
    "own generators": lambda **more: RNNFisherVector(
        **SMALL | {"random_state": np.random.RandomState(place()[0]) if place()[0] else None} | more
    ).fit(vectors()),
}


def write(folder, name, encoder):
    weights = {f"net.{key}": tensor.numpy() for key, tensor in encoder.network_.state_dict().items()}
    np.savez(folder / f"{name}-{place()[0]}.npz", **encoder.history_, **weights)


def die_after_writes(count):
    """End this process as a power cut would, behind so many checkpoints."""
    writes = iter(range(1, count + 1))

    def stop(*arguments):
        write_checkpoint(*arguments)
        if next(writes) == count:
            os.kill(os.getpid(), signal.SIGKILL)

    rnnfv.training.write_checkpoint = stop


def die_in_an_epoch():
    if place()[0] == 1:
        rnnfv.training._one_epoch = lambda *_: os.kill(os.getpid(), signal.SIGKILL)


def run():
    folder, what, how = Path(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else ""
    match what:
        case "all":
            for name, fit in FITS.items():
                write(folder, name, fit())
        case "checkpoint":
            if how:
                die_after_writes(int(how))
            write(folder, "resumed", FITS["dropout"](folder / "checkpoint"))
        case "die":
            die_in_an_epoch()
            FITS["regression"]()
        case "differ":
            FITS["regression"](hidden_size=5 + place()[0])
        case "judge":
            rnnfv.RNNFisherVector(**SMALL).fit(vectors(), judge=lambda _: 1 / 0)


if __name__ == "__main__":
    run()
