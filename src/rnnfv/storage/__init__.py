"""Files: feature shards, model folders, and the atomic writing below both."""

from rnnfv.storage.arrays import write_npy
from rnnfv.storage.atomic import atomic_file, atomic_folder, move_file, one_writer, remove_folder
from rnnfv.storage.checkpoint import parse_checkpoint, write_checkpoint
from rnnfv.storage.features import (
    FeatureShard,
    count_sequences,
    feature_shards,
    read_all_features,
    read_features,
    refuse_repeated_ids,
    write_features,
)
from rnnfv.storage.identity import check_same_job, data_identity, ends_identity, file_identity
from rnnfv.storage.index import VectorIndex, open_index
from rnnfv.storage.models import MODEL_FILES, ModelFolderError, load, model_checksum, save
from rnnfv.storage.remote import as_path, is_remote, local_copy
from rnnfv.storage.tree import SaveMixin

__all__ = [
    "MODEL_FILES",
    "FeatureShard",
    "ModelFolderError",
    "SaveMixin",
    "VectorIndex",
    "as_path",
    "atomic_file",
    "atomic_folder",
    "check_same_job",
    "count_sequences",
    "data_identity",
    "ends_identity",
    "feature_shards",
    "file_identity",
    "is_remote",
    "load",
    "local_copy",
    "model_checksum",
    "move_file",
    "one_writer",
    "open_index",
    "parse_checkpoint",
    "read_all_features",
    "read_features",
    "refuse_repeated_ids",
    "remove_folder",
    "save",
    "write_checkpoint",
    "write_features",
    "write_npy",
]
