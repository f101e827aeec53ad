"""Inputs near the seeds, as hypothesis draws them: where atheris is not installed, and in the tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from fuzz.target import Target

__all__ = ["inputs_of"]

_NUMBERS = tuple(
    value.to_bytes(size, order)
    for size in (1, 2, 4, 8)
    for order in ("little", "big")
    for value in (0, 1, (1 << (8 * size - 1)) - 1, 1 << (8 * size - 1), (1 << (8 * size)) - 1)
)
_TEXT = (b"\n", b"\r\n", b"\0", b"\xff", b"nan", b"-1", b"1e999", b"9" * 20, b"9" * 5000, b'"', b",", b"\t", b" ")


def inputs_of(target: Target) -> st.SearchStrategy[bytes]:
    """A seed with some changes: bytes replaced, put in, taken out, repeated, cut off; or any bytes at all."""
    return _near(target.seeds(), target.tokens)


@st.composite
def _near(draw: Any, seeds: list[bytes], tokens: tuple[bytes, ...]) -> bytes:
    data = bytearray(draw(st.one_of(st.sampled_from(seeds), st.binary(max_size=64))))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(data)))
        size = draw(st.sampled_from((1, 2, 4, 8, 64)))
        piece = draw(st.one_of(st.sampled_from((*_NUMBERS, *_TEXT, *tokens)), st.binary(max_size=8)))
        match draw(st.sampled_from(("replace", "put in", "take out", "repeat", "cut off", "splice"))):
            case "replace":
                data[at : at + len(piece)] = piece
            case "put in":
                data[at:at] = piece
            case "take out":
                del data[at : at + size]
            case "repeat":
                data[at:at] = data[at : at + size] * draw(st.integers(1, 50))
            case "cut off":
                del data[at:]
            case "splice":
                other = draw(st.sampled_from(seeds))
                data[at:] = other[draw(st.integers(0, len(other))) :]
    return bytes(data)
