"""Where the demo's log and lake are: in folders, or on a Kafka and an S3 server that it starts for itself."""

import json
import os
import select
import subprocess
from pathlib import Path
from typing import Protocol

START_S = 120
STOP_S = 30


class Places(Protocol):
    """What differs between the two: a few variables of one forebay.yaml, and how its lake is read."""

    def variables(self) -> dict[str, str]:
        """For forebay.yaml and for the AWS client."""

    def lake(self) -> Path:
        """A folder that holds what the lake holds now."""

    def pids(self) -> list[int]:
        """Processes that were started."""

    def close(self) -> None:
        """Ends what was started."""


class Folders:
    """The embedded log and a directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def variables(self) -> dict[str, str]:
        return {"DEMO_LOG_URL": f"local://{self.folder}/log", "DEMO_LAKE_URL": f"file://{self.folder}/lake"}

    def lake(self) -> Path:
        return self.folder / "lake"

    def pids(self) -> list[int]:
        return []

    def close(self) -> None:
        pass


class Servers:
    """Apache Kafka and an S3 server, held by a process that ends them when it is ended."""

    def __init__(self, folder: Path, components: str) -> None:
        self.folder = folder
        print("Starting Apache Kafka and an S3 server", flush=True)
        self.holder = subprocess.Popen(
            [components, "kafka", "s3"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C comes to the demo first, which ends Forebay before its servers
        )
        try:
            self.kafka, self.s3 = self.started()
        except BaseException:
            self.close()
            raise
        print(f"  kafka://{self.kafka}, {self.s3['endpoint']}")

    def started(self) -> tuple[str, dict[str, str]]:
        assert self.holder.stdout is not None
        line = b""
        if select.select([self.holder.stdout], [], [], START_S)[0]:
            line = self.holder.stdout.readline()
        if not line:
            raise SystemExit("the servers did not start: see above")
        places = json.loads(line)
        return places["kafka"]["brokers"], places["s3"]

    def variables(self) -> dict[str, str]:
        return {
            "DEMO_LOG_URL": f"kafka://{self.kafka}",
            "DEMO_LAKE_URL": f"s3://{self.s3['bucket']}/lake",
            "AWS_ENDPOINT_URL_S3": self.s3["endpoint"],
            "AWS_REGION": self.s3["region"],
            "AWS_ACCESS_KEY_ID": self.s3["access_key"],
            "AWS_SECRET_ACCESS_KEY": self.s3["secret_key"],
        }

    def lake(self) -> Path:
        """Every object is fetched over S3, as any reader of the lake would do."""
        import boto3  # only here: the other demo needs no AWS client

        client = boto3.client(
            "s3",
            endpoint_url=self.s3["endpoint"],
            region_name=self.s3["region"],
            aws_access_key_id=self.s3["access_key"],
            aws_secret_access_key=self.s3["secret_key"],
        )
        fetched, objects = self.folder / "fetched", 0
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.s3["bucket"], Prefix="lake/")
        for page in pages:
            for found in page.get("Contents", []):
                file = fetched / found["Key"]
                file.parent.mkdir(parents=True, exist_ok=True)
                client.download_file(self.s3["bucket"], found["Key"], str(file))
                objects += 1
        print(f"  fetched {objects} objects from s3://{self.s3['bucket']}/lake")
        return fetched / "lake"

    def pids(self) -> list[int]:
        return [self.holder.pid]

    def close(self) -> None:
        self.holder.terminate()
        try:
            self.holder.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.holder.pid, 9)
