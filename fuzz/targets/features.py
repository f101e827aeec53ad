"""Feature shards: Parquet."""

import io
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fuzz.target import Target, file_as
from rnnfv.storage import count_sequences, read_features, refuse_repeated_ids, write_features


def _seeds() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        ours = write_features(
            folder, ["a", "b"], [np.ones((3, 2)), np.zeros((1, 2))], metadata={"note": 1}
        ).read_bytes()
    ids = pa.array(["a", "b", None]).dictionary_encode()
    table = pa.table({"id": ids, "features": [[[1.0, 2.0], [3.0, None]], [], None]})
    others = []
    for codec in ("none", "gzip", "zstd"):
        file = io.BytesIO()
        pq.write_table(table, file, compression=codec)
        others.append(file.getvalue())
    return [ours, *others]


def _read(path: Path) -> None:
    count_sequences(path)
    refuse_repeated_ids([path])
    read_features(path)


TARGET = Target(_seeds, file_as("part-00000.parquet"), _read, tokens=(b"PAR1", b"features", b"ARROW:schema"))
