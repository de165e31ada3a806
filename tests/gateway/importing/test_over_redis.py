"""Imports with Redis as the broker: noted here, set off by the dispatcher, done by a Celery worker; three processes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.utils import timezone
from safetensors.numpy import save

from accounts.models import User
from gateway.importing import import_begin, import_retry
from gateway.models import ImportState, ModelImport
from inference.models import ImageModel
from tests.faults.scene import wait_until
from tests.support.receiver import Receiver, receiving, reply
from tests.support.service import Service

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.redis,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(400),
]
WEIGHTS = save({"layer.weight": np.arange(4096, dtype=np.float32)})
DIGEST = hashlib.sha256(WEIGHTS).hexdigest()


@pytest.fixture
def web() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def workers(tmp_path: Path, child_database: None, redis_url: str, settings: Any) -> Iterator[Service]:
    """The processes that work, on this test's database; neither the web nor a render worker is needed."""
    models = tmp_path / "models"
    models.mkdir()
    settings.MODEL_DIR, settings.ALLOW_PRIVATE_ADDRESSES = str(models), ["loopback"]
    env = {
        "DATABASE_URL": os.environ["DATABASE_URL"],
        "REDIS_URL": redis_url,
        "MODEL_DIR": str(models),
        "ALLOW_PRIVATE_ADDRESSES": "loopback",
    }
    service = Service(tmp_path, env=env)
    try:
        service.start("worker", "dispatcher")
        yield service
    finally:
        service.discard()


def test_a_file_and_an_address_come_in_and_what_failed_is_begun_again(
    workers: Service, catalogue: None, web: Receiver, settings: Any
) -> None:
    operator = User.objects.create_user("operator@operator.example")
    (Path(settings.MODEL_DIR) / "one.safetensors").write_bytes(WEIGHTS)
    url = web.on("/model.safetensors", reply(body=WEIGHTS))

    def bring(kind: str, asked: str, model_id: str, sha256: str = "") -> ModelImport:
        row = {"model_id": model_id, "name": model_id, "price_code": "sd15", "operations": ["text2img"]}
        return import_begin(
            kind=kind, asked=asked, family="sd15", row=row, by=operator, now=timezone.now(), sha256=sha256
        )

    def ended(one: ModelImport) -> bool:
        one.refresh_from_db()
        return one.state in (ImportState.DONE, ImportState.FAILED)

    brought = bring("file", "one.safetensors", "a"), bring("url", url, "b"), bring("url", url, "c", sha256="0" * 64)
    wait_until(lambda: all(ended(one) for one in brought), "three imports", timeout_s=180)
    assert [one.state for one in brought] == ["done", "done", "failed"], workers.logs()
    assert [one.sha256 for one in brought[:2]] == [DIGEST] * 2
    assert DIGEST in brought[2].problem
    assert set(ImageModel.objects.filter(model_id__in="abc").values_list("model_id", "published")) == {
        ("a", False),
        ("b", False),
    }
    ModelImport.objects.filter(pk=brought[2].pk).update(sha256=DIGEST)
    assert import_retry(model_import=brought[2])
    wait_until(lambda: ended(brought[2]), "the import once more", timeout_s=180)
    assert brought[2].state == ImportState.DONE, workers.logs()
