from __future__ import annotations

import uuid

import boto3
import pytest
from moto.server import ThreadedMotoServer

from inference.storage import FileStorage
from inference.storage.s3 import S3Address, S3Storage


@pytest.fixture(scope="session")
def s3_endpoint():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_endpoint, monkeypatch):
    """A new bucket of a local S3-compatible server; its STORAGE_URL."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    name = f"pictures-{uuid.uuid4().hex[:12]}"
    client = boto3.client("s3", endpoint_url=s3_endpoint, region_name="us-east-1")
    client.create_bucket(Bucket=name)
    yield f"s3://{name}?endpoint={s3_endpoint}&region=us-east-1"
    client.close()


@pytest.fixture(params=["files", "s3"])
def storage(request, tmp_path):
    if request.param == "files":
        yield FileStorage(tmp_path / "media")
        return
    store = S3Storage(S3Address.parse(request.getfixturevalue("bucket")))
    yield store
    store._client.close()
