"""Flickr8k's own lists."""

from fuzz.target import Target, files_as
from rnnfv.datasets.captions import read_captions

_NAMES = ("Flickr8k.token.txt", *(f"Flickr_8k.{part}Images.txt" for part in ("train", "dev", "test")))


def _seeds() -> list[bytes]:
    text = b"".join(b"%d.jpg#%d\tA dog runs .\n" % (i, k) for i in range(3) for k in range(2))
    return [b"\n=====8<=====\n".join([text, b"0.jpg\n", b"1.jpg\n", b"2.jpg\n"])]


TARGET = Target(_seeds, files_as(*_NAMES), read_captions, tokens=(b"#", b"\t", b"\n", b"\r", b"\0", b"0.jpg", b"\xff"))
