"""Manifests."""

from pathlib import Path

from fuzz.target import Target, file_as
from rnnfv.datasets.manifest import check_splits, read_manifest


def _seeds() -> list[bytes]:
    plain = b"id,label,group,split1,split2\na,run,film,train,test\nb,walk,,test,train\n"
    paths = b'id,path,label,split1\na,"x/a, 1.avi",run,train\nb,b.avi,walk,test\n'
    return [plain, paths, b"\xef\xbb\xbf" + plain.replace(b"\n", b"\r\n")]


def _read(path: Path) -> None:
    manifest = read_manifest(path)
    try:
        check_splits(manifest)
    except ValueError as error:  # tells of a manifest, not of a file
        raise ValueError(f"{path}: {error}") from error


TARGET = Target(
    _seeds, file_as("manifest.csv"), _read, tokens=(b'"', b",", b"\n", b"\r", b"\0", b"train", b"split3", b"a" * 200)
)
