"""An S3 server on this machine (moto), and one bucket of it to work in."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

KEYS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "secret"}
_numbers = itertools.count()


@dataclass(frozen=True)
class Server:
    """Where it listens, and another library's client for it."""

    endpoint: str  # HOST:PORT
    client: Any

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which the server is reached."""
        return {**KEYS, "AWS_ENDPOINT_URL": f"http://{self.endpoint}", "AWS_EC2_METADATA_DISABLED": "true"}


@dataclass(frozen=True)
class Bucket:
    """A new bucket of a server."""

    server: Server
    name: str

    def put(self, key: str, content: bytes) -> None:
        self.server.client.put_object(Bucket=self.name, Key=key, Body=content)

    def delete(self, key: str) -> None:
        self.server.client.delete_object(Bucket=self.name, Key=key)

    def contents(self, prefix: str = "") -> dict[str, bytes]:
        """Return what lies below a prefix, the records of what was made left out."""
        pages = self.server.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        get = self.server.client.get_object
        return {
            key.removeprefix(prefix): get(Bucket=self.name, Key=key)["Body"].read()
            for key in keys
            if "/." not in f"/{key}"
        }


@contextmanager
def serve() -> Iterator[Server]:
    """Start a server, and stop it at the end."""
    boto3 = pytest.importorskip("boto3")
    moto = pytest.importorskip("moto.server")
    for name in ("werkzeug", "moto.server"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    server = moto.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = "{}:{}".format(*server.get_host_and_port())
    names = {"aws_access_key_id": KEYS["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": KEYS["AWS_SECRET_ACCESS_KEY"]}
    try:
        yield Server(endpoint, boto3.client("s3", endpoint_url=f"http://{endpoint}", region_name="us-east-1", **names))
    finally:
        server.stop()


def new_bucket(server: Server) -> Bucket:
    """Make an empty bucket."""
    name = f"pictures-{next(_numbers)}"
    server.client.create_bucket(Bucket=name)
    return Bucket(server, name)
