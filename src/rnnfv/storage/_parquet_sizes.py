"""How much a Parquet file says that its columns hold. Arrow tells it too, but a damaged file ends the process there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, BinaryIO

__all__ = ["declared_size"]

# Thrift's compact protocol, and the fields of parquet.thrift that lead to the numbers.
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = (4, 5, 6)
_SCHEMA, _NAME, _CHILDREN = 2, 4, 5
_NUM_ROWS = 3  # of the file, and of a row group
_ROW_GROUPS, _COLUMNS, _META_DATA = 4, 1, 3
_TYPE, _NUM_VALUES, _COMPRESSED, _DATA_OFFSET, _DICTIONARY_OFFSET = 1, 5, 7, 9, 11
_UNCOMPRESSED_PAGE, _COMPRESSED_PAGE, _DATA_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_V2 = 2, 3, 5, 7, 8
_NONE = {1: 0}  # what a page says that holds none of a kind
_SIZES = {0: 1, 2: 8, 3: 12, 5: 8}  # bytes a value: BOOLEAN, INT64, INT96, DOUBLE; of a text 4, for where it begins
_DICTIONARY_ENTRY = 16  # bytes that Arrow takes for one, before it reads it
_DEEPEST = 50  # structures in one another; a footer has less than ten
_SHORT_HEADER, _LONGEST_HEADER = 1 << 9, 1 << 24  # bytes of a page's; Arrow reads no longer one
_PADDING = 100  # bytes that Arrow reads beyond the end, of files of some writers


def declared_size(file: BinaryIO, columns: Sequence[str]) -> int:
    """Bytes of memory that these columns ask for, by the footer or by the headers of their pages, whichever is more.

    Values count at their own size, however few bytes encode them, and pages as they are when they are decompressed.

    Raises
    ------
    ValueError
        If the footer or a header is damaged. Rows that no column has values for are damage, too: Arrow would make
        room for them.
    """
    names = [name.encode() for name in columns]
    try:
        chunks = list(_chunks(_footer(file), names))
        if sum(column[_COMPRESSED] for column in chunks) > file.seek(0, 2):
            raise _damage()  # the same pages more than once, which would take for ever
        return sum(max(_sizes_of(file, column)) for column in chunks)
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, OSError) as error:
        raise _damage() from error


def _footer(file: BinaryIO) -> dict[int, Any]:
    size = file.seek(0, 2)
    file.seek(max(0, size - 8))
    length = int.from_bytes(file.read(4), "little")
    if length > size - 8:
        raise _damage()
    file.seek(size - 8 - length)
    return _Reader(file.read(length)).structure(0)


def _chunks(footer: dict[int, Any], wanted: Sequence[bytes]) -> Iterator[dict[int, Any]]:
    """What the footer says of the part of each wanted column in each row group."""
    names, rows = _names(footer[_SCHEMA]), 0
    for group in footer[_ROW_GROUPS]:
        if len(group[_COLUMNS]) != len(names):
            raise _damage()
        for name, column in zip(names, group[_COLUMNS], strict=True):
            if name in wanted:
                if not (column[_META_DATA][_NUM_VALUES] >= group[_NUM_ROWS] >= 0 <= column[_META_DATA][_COMPRESSED]):
                    raise _damage()
                yield column[_META_DATA]
        rows += group[_NUM_ROWS]
    if rows != footer[_NUM_ROWS]:
        raise _damage()


def _names(schema: list[dict[int, Any]]) -> list[bytes]:
    """For each column that is stored, the name of the field at the top of which it is a part.

    That is how Arrow finds a column; the path that a column has with it may be forged.
    """
    names, at = [], 1
    for _ in range(schema[0][_CHILDREN]):
        name, left = schema[at][_NAME], 1
        while left > 0:
            children = schema[at].get(_CHILDREN, 0)
            names += [name] if children == 0 else []
            left += children - 1
            at += 1
    return names


def _sizes_of(file: BinaryIO, column: dict[int, Any]) -> tuple[int, int, int, int]:
    """By the footer's values, the pages' values, the dictionary's, and the pages' bytes."""
    width = _SIZES.get(column[_TYPE], 4)
    values = entries = uncompressed = 0
    at = min(column[_DATA_OFFSET], column.get(_DICTIONARY_OFFSET) or column[_DATA_OFFSET])
    end = at + column[_COMPRESSED] + _PADDING
    while at < end and values < column[_NUM_VALUES]:  # as far as Arrow reads
        page, length = _header(file, at)
        held = [page.get(kind, _NONE)[1] for kind in (_DATA_PAGE, _DATA_PAGE_V2, _DICTIONARY_PAGE)]
        if min(*held, page[_UNCOMPRESSED_PAGE], page[_COMPRESSED_PAGE]) < 0:
            raise _damage()
        values += held[0] + held[1]
        entries += held[2]
        uncompressed += page[_UNCOMPRESSED_PAGE]
        at += length + page[_COMPRESSED_PAGE]
    return column[_NUM_VALUES] * width, values * width, entries * _DICTIONARY_ENTRY, uncompressed


def _header(file: BinaryIO, at: int) -> tuple[dict[int, Any], int]:
    """A page's header, and its length."""
    size = _SHORT_HEADER
    while size <= _LONGEST_HEADER:
        file.seek(at)
        reader = _Reader(file.read(size))
        with suppress(IndexError):  # it is longer
            return reader.structure(0), reader.at
        size *= 8
    raise _damage()


def _damage() -> ValueError:
    return ValueError("its footer, or the header of a page, is damaged")


class _Reader:
    """Reads what is in a footer or a header, one thing after another. Each takes a byte or more of it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0  # how many bytes were read

    def structure(self, depth: int) -> dict[int, Any]:
        """Fields by their numbers."""
        fields: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) & 15:
            number = number + (head >> 4) if head >> 4 else self._integer()
            kind = head & 15
            fields[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if depth > _DEEPEST:
            raise _damage()
        if kind in (_TRUE, _FALSE, _BYTE):
            return self._byte()
        if kind in _INTEGERS:
            return self._integer()
        if kind in (_DOUBLE, _BINARY):
            length = 8 if kind == _DOUBLE else self._varint()
            self.at += length
            if self.at > len(self._data):
                raise IndexError
            return self._data[self.at - length : self.at]
        if kind in (_LIST, _SET):
            head = self._byte()
            count = self._varint() if head >> 4 == 15 else head >> 4
            return [self._value(head & 15, depth + 1) for _ in range(count)]
        if kind == _STRUCT:
            return self.structure(depth + 1)
        raise _damage()  # maps, of which Parquet has none

    def _byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def _varint(self) -> int:
        value, shift = 0, 0
        while shift < 70:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
        raise _damage()

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
