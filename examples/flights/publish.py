"""Events to a running Forebay over HTTP, in batches, on a few connections."""

import http.client
import json
import queue
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

BATCH = 500
CONNECTIONS = 4
TIMEOUT_S = 30

Event = dict[str, Any]


def call(address: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """One request; its status and its JSON, or its text."""
    connection = http.client.HTTPConnection(address, timeout=TIMEOUT_S)
    try:
        return exchange(connection, method, path, body)
    finally:
        connection.close()


def exchange(connection: http.client.HTTPConnection, method: str, path: str, body: Any) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
    connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
    answer = connection.getresponse()
    content, is_json = answer.read(), "json" in answer.getheader("Content-Type", "")
    return answer.status, json.loads(content) if is_json else content.decode()


def batches(events: Iterable[Event]) -> Iterator[list[Event]]:
    iterator = iter(events)
    while batch := list(islice(iterator, BATCH)):
        yield batch


class Publisher:
    """Sends all events of a topic; every one must be accepted."""

    def __init__(self, address: str, topic: str) -> None:
        self.address = address
        self.path = f"/api/v1/events/{topic}/batch"
        self.topic = topic
        self.waiting: queue.Queue[list[Event] | None] = queue.Queue(2 * CONNECTIONS)
        self.failure: BaseException | None = None
        self.accepted = 0
        self.lock = threading.Lock()

    def publish(self, events: Iterable[Event], total: int) -> float:
        """Returns the seconds it took."""
        start = time.monotonic()
        workers = [threading.Thread(target=self.work, daemon=True) for _ in range(CONNECTIONS)]
        for worker in workers:
            worker.start()
        shown = start
        for batch in batches(events):
            self.put(batch)
            if time.monotonic() - shown >= 1:
                shown = time.monotonic()
                self.show(total, shown - start)
        for _ in workers:
            self.put(None)
        for worker in workers:
            worker.join()
        self.raise_failure()
        seconds = time.monotonic() - start
        self.show(total, seconds)
        print(file=sys.stderr)
        return seconds

    def put(self, batch: list[Event] | None) -> None:
        while True:
            self.raise_failure()
            try:
                return self.waiting.put(batch, timeout=0.5)
            except queue.Full:
                continue

    def raise_failure(self) -> None:
        if self.failure is not None:
            raise SystemExit(f"publishing to {self.topic} failed: {self.failure}")

    def work(self) -> None:
        connection = http.client.HTTPConnection(self.address, timeout=TIMEOUT_S)
        try:
            while (batch := self.waiting.get()) is not None:
                self.send(connection, batch)
        except BaseException as failure:  # told to the main thread, which ends the demo
            self.failure = failure
        finally:
            connection.close()

    def send(self, connection: http.client.HTTPConnection, batch: list[Event]) -> None:
        status, answer = exchange(connection, "POST", self.path, {"events": batch})
        if status != 200 or answer["summary"]["accepted"] != len(batch):
            raise RuntimeError(f"HTTP {status}: {json.dumps(answer)[:600]}")
        with self.lock:
            self.accepted += len(batch)

    def show(self, total: int, seconds: float) -> None:
        share = f"{self.accepted:>7,} of {total:,} {self.topic}"
        print(f"\r  {share}, {self.accepted / max(seconds, 1e-9):,.0f} events/s  ", end="", file=sys.stderr, flush=True)
