"""results.csv of a sweep: a row a network, appended as it ends, in the order of the grid once the sweep is done.

A row is written after the files that it tells of. Of two rows of one network the later one counts; a line that was
cut short by a kill is no row.
"""

import contextlib
import csv
import io
import json
import os
from pathlib import Path

import numpy as np

from ..files import read_text, sync_file_system, write_file
from ..trainer import RunError
from .network import DIVERGED, DONE, MEASURES

RESULTS = "results.csv"
_LAST = ("attempts", "seconds", "host", "reason")
_TEXT = {"run", "status", "host", "reason"}


def columns(plan):
    """The names of the columns; a setting that is also measured is under ``grid_`` and its name."""
    taken = {"run", "seed", "status", *MEASURES, *_LAST}
    grid = [f"grid_{name}" if name in taken else name for name in plan.grid]
    return ["run", "seed", *grid, "status", *MEASURES, *_LAST]


class Table:
    """results.csv of one sweep, while it goes on."""

    def __init__(self, folder, plan):
        self.path, self.plan, self.columns = Path(folder) / RESULTS, plan, columns(plan)
        self._waiting: list[str] = []

    def begin(self):
        """Make the file if it is not there; returns {run: status} of the rows in it."""
        if self.path.is_symlink() or (self.path.exists() and not self.path.is_file()):
            raise RunError(f"{self.path} must be a file, and no link to one: rows are appended to it")
        if not self.path.exists():
            write_file(self.path, _line(self.columns))
            return {}
        found = {}
        with self.path.open("rb") as file:
            if file.readline().decode(errors="replace") != _line(self.columns):
                raise RunError(f"{self.path} is not the table of this sweep: move it away, its rows are made again")
            status, end = self.columns.index("status"), file.tell()
            for line in file:
                if not line.endswith(b"\n"):
                    break
                end += len(line)
                with contextlib.suppress(ValueError, IndexError, csv.Error):
                    row = next(csv.reader([line.decode()]))
                    if len(row) == len(self.columns):
                        found[row[0]] = row[status]
        if end < self.path.stat().st_size:  # cut short by a kill
            os.truncate(self.path, end)
        return found

    def add(self, network, result, attempts):
        """Keep the row of a network for the next `flush`."""
        row = {
            "run": network.name, "status": result["status"], "attempts": attempts, "host": result["host"],
            "seconds": f"{result['seconds']:.3f}", "reason": result["reason"], **result["measures"],
        }  # fmt: skip
        row["seed"] = network.options["seed"]
        for column, name in zip(self.columns[2:], self.plan.grid):
            row[column] = network.options[name]
        self._waiting.append(_line([row.get(column, "") for column in self.columns]))

    @property
    def waiting(self):
        """How many rows."""
        return len(self._waiting)

    def flush(self):
        """Make the files of the networks last, then append their rows."""
        if not self._waiting:
            return
        sync_file_system(self.path.parent)
        lines, self._waiting = "".join(self._waiting).encode(), []
        with self.path.open("ab") as file:
            start = file.tell()
            try:
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                with contextlib.suppress(OSError):
                    os.truncate(self.path, start)
                raise

    def finish(self):
        """The rows in the order of the grid, each network once."""
        places = {}  # and not the rows themselves: there can be a hundred thousand
        with self.path.open("rb") as file:
            start = len(file.readline())
            for line in file:
                places[line.partition(b",")[0]] = start, len(line)
                start += len(line)
            rows = [_line(self.columns).encode()]
            for network in self.plan:
                if place := places.get(network.name.encode()):
                    file.seek(place[0])
                    rows.append(file.read(place[1]))
        write_file(self.path, b"".join(rows))


def _line(cells):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(
        repr(cell) if isinstance(cell, float) else json.dumps(cell) if isinstance(cell, dict | list) else cell
        for cell in cells
    )
    return text.getvalue()


def read_sweep(folder):
    """The table of a sweep as arrays, a row a network: ``pandas.DataFrame(ei.read_sweep(folder))`` is its data frame.

    Parameters
    ----------
    folder : path
        Of a sweep that is done or not.

    Returns
    -------
    dict of str to (N,) array
        The columns of results.csv (docs/sweeps.md says what each is): int64 where all are whole numbers, float64 with
        NaN for what is missing where they are numbers, text elsewhere.

    Raises
    ------
    RunError
        The folder holds no sweep, or its table cannot be read.
    """
    path = Path(folder) / RESULTS
    try:
        head, *rows = csv.reader(read_text(path).splitlines())
        if head[:2] != ["run", "seed"]:
            raise ValueError("its first columns are not run and seed")
        table = {row[0]: row for row in rows if len(row) == len(head)}.values()  # a line cut short is none
        return {name: _array(name, [row[c] for row in table]) for c, name in enumerate(head)}
    except OSError as error:
        raise RunError(f"{folder} holds no sweep: cannot read {RESULTS} ({error.strerror})") from None
    except (ValueError, csv.Error) as error:
        raise RunError(f"{path} is not the table of a sweep: {error}") from None


def _array(name, cells):
    """Cells of a column as numbers where they are."""
    if name in _TEXT:
        return np.array(cells, dtype=str)
    try:
        return np.array([int(cell) for cell in cells], dtype=np.int64)
    except ValueError:
        pass
    try:
        return np.array([float(cell) if cell else np.nan for cell in cells])
    except ValueError:
        return np.array(cells, dtype=str)


def succeeded(status):
    """Is there nothing to try again? What diverged would diverge again."""
    return status in (DONE, DIVERGED)
