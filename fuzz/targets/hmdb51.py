"""The split lists of HMDB51."""

from fuzz.target import Target, files_as
from rnnfv.datasets.hmdb51 import hmdb51_manifest

_NAMES = tuple(f"{label}_test_split{split}.txt" for label in ("run", "ride_bike") for split in (1, 2, 3))


def _seeds() -> list[bytes]:
    clips = (b"Film_%s_f_cm_np1_fr_goo_0.avi" % label for label in (b"run", b"ride_bike"))
    return [b"\n=====8<=====\n".join([clip + b" %d \n" % flag for clip in clips for flag in (1, 2, 0)])]


TARGET = Target(
    _seeds, files_as(*_NAMES), hmdb51_manifest, tokens=(b" 1\n", b" 2\n", b"_run_f_cm_np1_fr_goo_0.avi", b"\0", b"\xff")
)
