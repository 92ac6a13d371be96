"""What the lake holds, asked with DuckDB, against what the source says."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import data
import duckdb

SUMS = ["distance", "dep_delay", "arr_delay", "air_time"]


class Report:
    """Prints each figure beside its source, and remembers whether all were equal."""

    def __init__(self, lake: Path) -> None:
        self.lake = lake
        self.database = duckdb.connect()
        self.equal = True

    def files(self, topic: str) -> str:
        return f"read_parquet('{self.lake}/{topic}/**/*.parquet', hive_partitioning = false)"

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.database.execute(sql).fetchall()

    def compare(self, name: str, in_lake: Any, in_source: Any) -> None:
        same = in_lake == in_source
        self.equal &= same
        print(f"  {name:<34}{in_lake!s:>16}{in_source!s:>16}  {'equal' if same else 'DIFFERENT'}")

    def flights(self) -> None:
        source = list(data.flights())
        print(f"\nflights{'':<29}{'in the lake':>16}{'in the source':>16}")
        self.compare("rows", self.rows(f"SELECT count(*) FROM {self.files('flights')}")[0][0], data.FLIGHTS)
        for column in SUMS:
            lake = self.rows(f"SELECT sum({column})::BIGINT FROM {self.files('flights')}")[0][0]
            self.compare(f"sum of {column}", lake, sum(row[column] or 0 for row in source))
        by_carrier = self.rows(f"SELECT carrier, count(*) FROM {self.files('flights')} GROUP BY 1 ORDER BY 2 DESC, 1")
        counts = Counter(row["carrier"] for row in source)
        self.compare("carriers", len(by_carrier), len(counts))
        for carrier, count in by_carrier:
            self.compare(f"rows of carrier {carrier}", count, counts[carrier])

    def weather(self) -> None:
        source = list(data.weather())
        print(f"\nweather{'':<29}{'in the lake':>16}{'in the source':>16}")
        self.compare("rows", self.rows(f"SELECT count(*) FROM {self.files('weather')}")[0][0], data.READINGS)
        for column in ["temp", "wind_speed", "pressure"]:
            values = self.rows(f"SELECT {column} FROM {self.files('weather')} WHERE {column} IS NOT NULL")
            in_source = [row[column] for row in source if row[column] is not None]
            self.compare(f"readings of {column}", len(values), len(in_source))
            # fsum is exact whatever the order, so equal sets of values give equal sums.
            self.compare(f"sum of {column}", math.fsum(v for (v,) in values), math.fsum(in_source))

    def duplicates(self) -> None:
        print(f"\nduplicates by (topic, partition, offset){'':>13}found{'':>8}expected")
        for topic in ["flights", "weather"]:
            place = "(_topic, _partition, _offset)"
            sql = f"SELECT count(*) - count(DISTINCT {place}) FROM {self.files(topic)}"
            self.compare(topic, self.rows(sql)[0][0], 0)
