"""How many values a Parquet file says its columns hold. Arrow tells it too, but a damaged one ends the process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["declared_values"]

# Thrift's compact protocol, and the fields of parquet.thrift that lead to the numbers.
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = (4, 5, 6)
_NUM_ROWS = 3  # of the file, and of a row group
_ROW_GROUPS, _COLUMNS, _META_DATA, _TYPE, _NUM_VALUES = 4, 1, 3, 1, 5
_SIZES = {0: 1, 2: 8, 3: 12, 5: 8}  # bytes a value: BOOLEAN, INT64, INT96, DOUBLE; of a text 4, for where it begins
_DEEPEST = 50  # structures in one another; a footer has less than ten


def declared_values(path: Path) -> int:
    """Bytes of all values of all columns by the footer, each at its own size, however few bytes encode them.

    Raises
    ------
    ValueError
        If the footer is damaged. Rows that no column has values for are damage: Arrow would make room for them.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 8))
        length = int.from_bytes(file.read(4), "little")
        if length > size - 8:
            raise ValueError("its footer is damaged")
        file.seek(size - 8 - length)
        footer = file.read(length)
    try:
        whole = _Reader(footer).structure(0)
        rows, declared = 0, 0
        for group in whole[_ROW_GROUPS]:
            columns = [column[_META_DATA] for column in group[_COLUMNS]]
            if not all(column[_NUM_VALUES] >= group[_NUM_ROWS] >= 0 for column in columns):
                raise ValueError("its footer is damaged")
            rows += group[_NUM_ROWS]
            declared += sum(column[_NUM_VALUES] * _SIZES.get(column[_TYPE], 4) for column in columns)
        if rows != whole[_NUM_ROWS]:
            raise ValueError("its footer is damaged")
        return declared
    except (IndexError, KeyError, TypeError) as error:
        raise ValueError("its footer is damaged") from error


class _Reader:
    """Reads what is in a footer, one thing after another. Whatever it is, it takes a byte or more of it."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def structure(self, depth: int) -> dict[int, Any]:
        """Fields by their numbers."""
        if depth > _DEEPEST:
            raise ValueError("its footer is damaged")
        fields: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) & 15:
            number = number + (head >> 4) if head >> 4 else self._integer()
            kind = head & 15
            fields[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (_TRUE, _FALSE, _BYTE):
            return self._byte()
        if kind in _INTEGERS:
            return self._integer()
        if kind in (_DOUBLE, _BINARY):
            length = 8 if kind == _DOUBLE else self._varint()
            self._at += length
            if self._at > len(self._data):
                raise IndexError
            return None
        if kind in (_LIST, _SET):
            head = self._byte()
            count = self._varint() if head >> 4 == 15 else head >> 4
            return [self._value(head & 15, depth + 1) for _ in range(count)]
        if kind == _STRUCT:
            return self.structure(depth + 1)
        raise ValueError("its footer is damaged")  # maps, of which Parquet has none

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _varint(self) -> int:
        value, shift = 0, 0
        while shift < 70:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
        raise ValueError("its footer is damaged")

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
