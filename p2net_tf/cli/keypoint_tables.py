"""Tables of keypoints, one row a person, frame and keypoint, that grow row by row: CSV or Parquet."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from p2net_tf.utils.exceptions import UserError
from p2net_tf.utils.files import replacing

Add = Callable[[Iterable[tuple]], None]
"""Writes some more rows."""
DIGITS = {"time": 6, "x": 3, "y": 3, "score": 4}
"""Decimals in a CSV; a Parquet file has float64."""
_GROUP = 50_000
"""Rows that are kept in memory before they are written: those of a Parquet file stand together in groups."""


def open_table(path: Path, columns: Mapping[str, type]) -> AbstractContextManager[Add]:
    """The table as a context; the file stands there, whole, when it is left.

    Args:
        path: ends in `.csv` or `.parquet`.
        columns: names, and the type of what stands there: int, float or str.

    Raises:
        UserError: Parquet without pyarrow.
    """
    return (_parquet if path.suffix == ".parquet" else _csv)(path, columns)


@contextmanager
def _csv(path: Path, columns: Mapping[str, type]) -> Iterator[Add]:
    with replacing(path) as scratch, open(scratch, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        forms = [f"{{:.{DIGITS[name]}f}}".format if name in DIGITS else str for name in columns]

        def add(rows: Iterable[tuple]) -> None:
            writer.writerows([form(value) for form, value in zip(forms, row, strict=True)] for row in rows)

        yield add


@contextmanager
def _parquet(path: Path, columns: Mapping[str, type]) -> Iterator[Add]:
    arrow, parquet = _pyarrow()
    kinds = {int: arrow.int64(), float: arrow.float64(), str: arrow.string()}
    schema = arrow.schema([(name, kinds[kind]) for name, kind in columns.items()])
    kept: list[tuple] = []
    with replacing(path) as scratch, parquet.ParquetWriter(scratch, schema) as writer:

        def write() -> None:
            arrays = zip(*kept, strict=True) if kept else [()] * len(columns)
            writer.write_table(arrow.table(dict(zip(columns, map(list, arrays), strict=True)), schema))
            kept.clear()

        def add(rows: Iterable[tuple]) -> None:
            kept.extend(rows)
            if len(kept) >= _GROUP:
                write()

        yield add
        write()


def _pyarrow():
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UserError("Parquet needs pyarrow: pip install 'p2net_tf[parquet]'") from None
    return pyarrow, pyarrow.parquet
