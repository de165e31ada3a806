"""The console on a running service: machines obey and say so in their own messages, and models come in over the broker.

One service for all tests here, with a render worker that draws; every action is a form that is sent by HTTP.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.numpy import save

from gateway.templatetags.units import spent
from tests.support import tiny_models
from tests.support.receiver import Receiver, receiving, reply
from tests.support.service import Service, running_service

# A service that loads torch, on a busy machine.
pytestmark = [pytest.mark.service, pytest.mark.timeout(900)]
PATIENCE_S = 240.0
WORKER = "test"
WEIGHTS = save({"layer.weight": np.arange(4096, dtype=np.float32)})
DIGEST = hashlib.sha256(WEIGHTS).hexdigest()


@dataclass
class Console:
    """The operator's browser, and what the service's database holds meanwhile."""

    service: Service
    client: httpx.Client
    key: str

    def post(self, path: str, **form: Any) -> httpx.Response:
        answer = self.client.post(path, data=form, headers={"X-CSRFToken": self.client.cookies["csrftoken"]})
        assert answer.status_code in (200, 302), f"{path}: {answer.status_code}"
        return answer

    def tell(self, command: str, **form: Any) -> None:
        """Send the form of a command, which is on record from then on."""
        self.post(f"/console/workers/{WORKER}/{command}", **form)
        newest = self.rows("SELECT action, target FROM gateway_staffaction ORDER BY id DESC LIMIT 1")
        assert newest == [(f"worker {command}", f"worker:{WORKER}")]

    def rows(self, sql: str, *values: Any) -> list[Any]:
        with sqlite3.connect(f"file:{self.service.run_dir / 'gateway.sqlite3'}?mode=ro", uri=True) as database:
            return database.execute(sql, values).fetchall()

    def report(self) -> dict[str, Any]:
        """What the worker last said of itself."""
        found = self.rows("SELECT report FROM inference_renderworker WHERE name = ?", WORKER)
        return dict(json.loads(found[0][0])) if found else {}

    def demo(self) -> str:
        """What the worker says of the demo model."""
        pinned = {one["model_id"]: one["pinned"] for one in self.report().get("resident_models", [])}
        return {None: "absent", False: "loaded", True: "pinned"}[pinned.get("demo")]

    def wait(self, what: str, done: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + PATIENCE_S
        while not (found := done()):
            assert time.monotonic() < deadline, f"Not within {PATIENCE_S} s: {what}\n{self.service.logs()}"
            time.sleep(0.1)
        return found

    def reports_pass(self, count: int) -> None:
        """So many further messages of the worker; each says how long it has been up."""
        for _ in range(count):
            before = self.report()["uptime_s"]
            self.wait("another message", lambda before=before: self.report()["uptime_s"] > before)

    def call(self, **fields: Any) -> dict[str, Any]:
        asked = {"key": self.key, "prompt": "a red circle", "width": 64, "height": 64, "num_inference_steps": 2}
        return dict(self.client.post("/api/v6/images/text2img", json=asked | fields, timeout=60).json())

    def imported(self, model_id: str, kind: str, asked: str, **more: Any) -> tuple[str, str, str]:
        """The state, the problem and the digest of an import once it has ended."""
        form = {"kind": kind, "asked": asked, "model_id": model_id, "name": model_id, "family": "sd15"}
        self.post("/console/models/import", **form, price_code="sd15", reason="asked for", **more)
        sql = "SELECT state, problem, sha256 FROM gateway_modelimport WHERE asked = ? AND state IN ('done', 'failed')"
        return tuple(self.wait(f"the import of {asked}", lambda: self.rows(sql, asked))[0])


@pytest.fixture(scope="module")
def web() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory, web: Receiver) -> Iterator[Console]:
    models = tmp_path_factory.mktemp("models")
    tiny_models.save(tiny_models.sd15(), models / "tiny")
    (models / "one.safetensors").write_bytes(WEIGHTS)
    env = {
        "MODEL_DIR": str(models),
        "ALLOW_PRIVATE_ADDRESSES": "loopback",
        "HF_ENDPOINT": web.url,
        "WAIT_TIMEOUT_S": "2",
        "WEB_THREADS": "40",
        "RENDER_COST_MICROUSD_PER_HOUR": "900000",
    }
    with running_service(tmp_path_factory.mktemp("console"), env=env, real_engine=True, pages=True) as service:
        facts = json.loads(service.manage("demo_account").stdout)
        made = service.manage("account_create", "client@example.org", "--plan", "payg", "--funds", "10")
        with httpx.Client(base_url=service.url, follow_redirects=True, timeout=60) as client:
            client.get("/accounts/login/")
            console = Console(service, client, made.stdout.strip().splitlines()[-1])
            console.post("/accounts/login/", login=facts["admin_email"], password=facts["admin_password"])
            account_id = console.rows("SELECT max(id) FROM accounts_account")[0][0]
            limits = {"limits-free_calls_per_day": "0", "limits-reason": "it pays for every call"}
            console.post(f"/console/customers/{account_id}/limits", **limits)
            yield console


class TestMachines:
    def test_a_model_is_loaded_pinned_kept_unpinned_and_evicted(self, console: Console) -> None:
        console.tell("preload", model="demo")
        console.wait("the demo model in memory", lambda: console.demo() == "loaded")
        console.tell("pin", model="demo")
        console.wait("the pin in the worker's message", lambda: console.demo() == "pinned")
        page = console.client.get("/console/workers").text
        assert "Pinned" in page
        assert f"{WORKER}/evict" not in page
        console.tell("evict", model="demo")
        console.reports_pass(2)
        assert console.demo() == "pinned"
        console.tell("unpin", model="demo")
        console.wait("the pin's end", lambda: console.demo() == "loaded")
        console.tell("evict", model="demo")
        console.wait("the model out of memory", lambda: console.demo() == "absent")

    def test_a_pin_before_the_load_is_shown_and_holds(self, console: Console) -> None:
        console.tell("evict", model="demo")
        console.wait("no model in memory", lambda: console.demo() == "absent")
        console.tell("pin", model="demo")
        console.wait("the pin in the worker's message", lambda: console.report()["pinned"] == ["demo"])
        assert "pinned, not in memory" in console.client.get("/console/workers").text
        console.tell("preload", model="demo")
        console.wait("the model in memory, pinned", lambda: console.demo() == "pinned")
        console.tell("unpin", model="demo")
        console.wait("the pin's end", lambda: console.report()["pinned"] == [])

    def test_a_drained_worker_takes_nothing_until_it_is_resumed_and_then_earns(self, console: Console) -> None:
        console.tell("drain")
        console.wait("its own word", lambda: console.report()["state"] == "draining")
        waiting = console.call()
        assert waiting["status"] == "processing"
        console.reports_pass(1)
        sql = "SELECT state FROM inference_generation WHERE id = ?"
        assert console.rows(sql, waiting["id"]) == [("waiting",)]
        console.tell("resume")
        console.wait("the picture", lambda: console.rows(sql, waiting["id"]) == [("succeeded",)])
        console.wait("its own word", lambda: console.report()["state"] == "idle")
        charged = console.rows("SELECT charged_microusd FROM inference_generation WHERE id = ?", waiting["id"])[0][0]
        assert charged > 0
        page = console.client.get("/console/workers").text
        assert f"Earned in the last hour</dt><dd>{spent(charged)}" in page
        assert "Cost an hour</dt><dd>$0.9000" in page


class TestImports:
    """Noted by the web process, taken by the worker over the broker, drawn with by the render worker."""

    def test_a_folder_is_imported_published_and_drawn_with(self, console: Console) -> None:
        assert console.imported("from-folder", "folder", "tiny")[:2] == ("done", "")
        assert console.call(model_id="from-folder")["status"] == "error"
        console.post("/console/models/from-folder/publish", published="yes", reason="checked")
        call = console.wait(
            "the catalogue", lambda: (one := console.call(model_id="from-folder"))["status"] != "error" and one
        )
        sql = "SELECT state, images_delivered FROM inference_generation WHERE id = ?"
        console.wait("the picture", lambda: console.rows(sql, call["id"]) == [("succeeded", 1)])

    def test_a_file_is_checked_against_its_hash(self, console: Console) -> None:
        state, problem, _ = console.imported("from-file", "file", "one.safetensors", sha256="0" * 64)
        assert (state, DIGEST in problem) == ("failed", True)
        assert console.rows("SELECT 1 FROM inference_imagemodel WHERE model_id = 'from-file'") == []

    def test_an_address_is_fetched_whole(self, console: Console, web: Receiver) -> None:
        url = web.on("/model.safetensors", reply(body=WEIGHTS))
        assert console.imported("from-url", "url", url) == ("done", "", DIGEST)
        assert "from-url" in console.client.get("/console/models/import").text

    def test_a_hub_id_is_followed_to_its_files(self, console: Console, web: Receiver) -> None:
        listed = [{"rfilename": "a.safetensors", "size": len(WEIGHTS), "lfs": {"size": len(WEIGHTS), "sha256": DIGEST}}]
        told = json.dumps({"sha": "c0ffee", "siblings": listed}).encode()
        web.on("/api/models/some/model/revision/main?blobs=true", reply(body=told))
        web.on("/some/model/resolve/c0ffee/a.safetensors", reply(body=WEIGHTS))
        assert console.imported("from-hub", "hub", "some/model") == ("done", "", DIGEST)
        source, published = console.rows(
            "SELECT source, published FROM inference_imagemodel WHERE model_id = 'from-hub'"
        )[0]
        assert (source, published) == ("imports/from-hub.safetensors", 0)


class TestTheEnd:
    """The last test here: afterwards there is no render worker."""

    def test_it_tells_its_log_and_ends_to_be_started_again(self, console: Console) -> None:
        console.tell("log")
        sql = "SELECT lines FROM inference_workerlog WHERE told_at IS NOT NULL"
        lines = json.loads(console.wait("its log", lambda: console.rows(sql))[0][0])
        assert any("inference.tasks.control" in line for line in lines)
        assert "inference.tasks.control" in console.client.get(f"/console/workers/{WORKER}").text
        minutes = console.rows("SELECT count(*) FROM inference_workerminute WHERE worker = ?", WORKER)
        assert minutes[0][0] >= 1
        console.tell("restart")
        render = console.service.processes["render"]
        console.wait("the end of its process", lambda: render.poll() is not None)
        assert render.returncode == os.EX_TEMPFAIL
        state = "SELECT state FROM inference_renderworker WHERE name = ?"
        console.wait("its goodbye", lambda: console.rows(state, WORKER) == [("lost",)])
