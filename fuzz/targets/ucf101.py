"""The split lists of UCF101."""

from fuzz.target import Target, files_as
from rnnfv.datasets.ucf101 import ucf101_manifest

_NAMES = ("classInd.txt", *(f"{part}list0{split}.txt" for split in (1, 2, 3) for part in ("train", "test")))


def _seeds() -> list[bytes]:
    train, test = (b"Archery/v_Archery_g%02d_c01.avi" % group for group in (8, 1))
    return [b"\n=====8<=====\n".join([b"1 Archery\n2 Bowling\n", *[train + b" 1\n", test + b"\n"] * 3])]


TARGET = Target(
    _seeds, files_as(*_NAMES), ucf101_manifest, tokens=(b"Bowling/v_Bowling_g01_c01.avi", b" 2\n", b"\0", b"\xff")
)
