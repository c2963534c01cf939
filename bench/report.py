"""Tables of `compare`, from its raw figures: no measuring and no I/O, so that an old run can be read again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bench.drivers import DRIVERS, REFERENCE
from bench.figures import MISSING, Table, median, number, paired_ratio, percent, spread, times
from bench.workloads import ROW, WORKLOADS

HEADLINE_TASKS = 20
US_PER_MS = 1_000

Row = dict[str, Any]
Cell = tuple[str, str, int]


def tables(document: dict[str, Any]) -> list[Table]:
    """All tables of one `compare` run: the headline in detail, then a grid of tasks per loop, workload and figure.

    Where only one number of tasks was measured each cell is shown in detail instead.
    """
    measured = _Comparison(document)
    if len(measured.tasks) == 1:
        return [measured.detail((loop, workload, measured.tasks[0])) for loop, workload in measured.groups]
    found = [
        measured.detail((loop, workload, HEADLINE_TASKS))
        for loop, workload in measured.groups
        if workload == ROW.name and HEADLINE_TASKS in measured.tasks
    ]
    for loop, workload in measured.groups:
        found.extend(measured.grids(loop, workload))
    return found


class _Comparison:
    def __init__(self, document: dict[str, Any]) -> None:
        self._pool_size: int = document["options"]["pool_size"]
        self._floors: list[Row] = document["floors"]
        self._rows: dict[tuple[str, Cell], Row] = {
            (row["driver"], (row["loop"], row["workload"], row["tasks"])): row for row in document["rows"]
        }
        cells = [cell for _, cell in self._rows]
        self.tasks = _unique(cell[2] for cell in cells)
        self.groups = _unique(cell[:2] for cell in cells)
        self._drivers = _unique(driver for driver, _ in self._rows)

    def detail(self, cell: Cell) -> Table:
        """One cell: a line per driver with every figure."""
        columns = ("driver", "queries/s", "ratio", "CPU us/query", "ratio", "p50 ms", "p99 ms", "spread")
        lines = [
            (
                DRIVERS[driver].title,
                number(self._median(driver, cell, "queries_per_second")),
                times(self._ratio(driver, cell, "queries_per_second")),
                number(self._median(driver, cell, "cpu_us"), 1),
                times(self._ratio(driver, cell, "cpu_us")),
                self._milliseconds(driver, cell, "p50_us"),
                self._milliseconds(driver, cell, "p99_us"),
                self._spread(driver, cell),
            )
            for driver in self._drivers
            if (driver, cell) in self._rows
        ]
        for floor in self._floors_of(cell):
            lines.append(
                (
                    floor["title"],
                    number(_median_of(floor, "queries_per_second")),
                    times(self._floor_ratio(floor, cell, "queries_per_second")),
                    number(_median_of(floor, "cpu_us"), 1),
                    times(self._floor_ratio(floor, cell, "cpu_us")),
                    *(MISSING, MISSING, MISSING),
                )
            )
        return Table(columns, lines, title=f"{_title(cell)}, {_tasks(cell[2])}; ratios to {DRIVERS[REFERENCE].title}")

    def grids(self, loop: str, workload: str) -> list[Table]:
        """One loop and workload: a grid of drivers by tasks for each of throughput, CPU and latency."""
        return [
            self._grid(loop, workload, "thousand queries/s and ratio", self._throughput, self._floor_throughput),
            self._grid(loop, workload, "CPU us per query and ratio", self._cpu, self._floor_cpu),
            self._grid(loop, workload, "p50 / p99 in ms", self._latency, None),
        ]

    def _grid(
        self,
        loop: str,
        workload: str,
        what: str,
        show: Callable[[str, Cell], str],
        show_floor: Callable[[Row, Cell], str] | None,
    ) -> Table:
        cells: list[Cell] = [(loop, workload, tasks) for tasks in self.tasks]
        lines: list[Sequence[str]] = [
            [DRIVERS[driver].title, *(show(driver, cell) for cell in cells)] for driver in self._drivers
        ]
        if show_floor is not None:
            for title in _unique(floor["title"] for floor in self._floors):
                line = [title]
                for cell in cells:
                    found = [floor for floor in self._floors_of(cell) if floor["title"] == title]
                    line.append(show_floor(found[0], cell) if found else MISSING)
                lines.append(line)
        return Table(["driver", *map(_tasks, self.tasks)], lines, title=f"{_title(cells[0])}: {what}")

    def _throughput(self, driver: str, cell: Cell) -> str:
        value = self._median(driver, cell, "queries_per_second")
        return _with_ratio(value and value / 1_000, self._ratio(driver, cell, "queries_per_second"))

    def _cpu(self, driver: str, cell: Cell) -> str:
        return _with_ratio(self._median(driver, cell, "cpu_us"), self._ratio(driver, cell, "cpu_us"))

    def _latency(self, driver: str, cell: Cell) -> str:
        return f"{self._milliseconds(driver, cell, 'p50_us')} / {self._milliseconds(driver, cell, 'p99_us')}"

    def _floor_throughput(self, floor: Row, cell: Cell) -> str:
        value = _median_of(floor, "queries_per_second")
        return _with_ratio(value and value / 1_000, self._floor_ratio(floor, cell, "queries_per_second"))

    def _floor_cpu(self, floor: Row, cell: Cell) -> str:
        return _with_ratio(_median_of(floor, "cpu_us"), self._floor_ratio(floor, cell, "cpu_us"))

    def _floors_of(self, cell: Cell) -> list[Row]:
        clients = min(cell[2], self._pool_size)
        return [floor for floor in self._floors if floor["workload"] == cell[1] and floor["clients"] == clients]

    def _values(self, driver: str, cell: Cell, figure: str) -> list[float | None]:
        row = self._rows.get((driver, cell))
        return [] if row is None else _values_of(row, figure)

    def _median(self, driver: str, cell: Cell, figure: str) -> float | None:
        return median([value for value in self._values(driver, cell, figure) if value is not None])

    def _ratio(self, driver: str, cell: Cell, figure: str) -> float | None:
        return paired_ratio(self._values(driver, cell, figure), self._values(REFERENCE, cell, figure))

    def _floor_ratio(self, floor: Row, cell: Cell, figure: str) -> float | None:
        return paired_ratio(_values_of(floor, figure), self._values(REFERENCE, cell, figure))

    def _milliseconds(self, driver: str, cell: Cell, figure: str) -> str:
        value = self._median(driver, cell, figure)
        return number(value and value / US_PER_MS, 2)

    def _spread(self, driver: str, cell: Cell) -> str:
        values = self._values(driver, cell, "queries_per_second")
        return percent(spread([value for value in values if value is not None]))


def _title(cell: Cell) -> str:
    return f"{WORKLOADS[cell[1]].title}, {cell[0]}"


def _tasks(count: int) -> str:
    return f"{count} task" if count == 1 else f"{count} tasks"


def _with_ratio(value: float | None, against: float | None) -> str:
    return f"{number(value, 1)} {times(against):>6}"


def _values_of(row: Row, figure: str) -> list[float | None]:
    return [None if sample is None else sample[figure] for sample in row["rounds"]]


def _median_of(row: Row, figure: str) -> float | None:
    return median([value for value in _values_of(row, figure) if value is not None])


def _unique(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))
