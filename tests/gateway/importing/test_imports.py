"""Models come in from the model folder, the hub and the web: whole, checked and hidden, or not at all."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.utils import timezone
from huggingface_hub import constants
from safetensors.numpy import save

from accounts.models import User
from gateway import importing, periodic
from gateway.importing import services
from gateway.models import ImportState, ModelImport, StaffAction
from gateway.tasks import models_import
from inference.models import ImageModel
from tests.backoffice.conftest import as_owner, as_staff  # noqa: F401 - fixtures
from tests.support.receiver import Receiver, receiving, reply

WEIGHTS = save({"layer.weight": np.arange(4096, dtype=np.float32)})
DIGEST = hashlib.sha256(WEIGHTS).hexdigest()


@pytest.fixture
def folder(tmp_path: Path, settings) -> Path:
    settings.MODEL_DIR = str(tmp_path)
    settings.ALLOW_PRIVATE_ADDRESSES = ["loopback"]
    return tmp_path


@pytest.fixture
def web() -> Any:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def operator(catalogue: None) -> User:
    return User.objects.create_user("operator@operator.example")


@pytest.fixture
def bring(operator: User, folder: Path) -> Any:
    def begin(kind: str, asked: str, **more: Any) -> ModelImport:
        row = {"model_id": "new-model", "name": "New", "price_code": "sd15", "operations": ["text2img"]}
        made = importing.import_begin(
            kind=kind, asked=asked, family="sd15", row=row, by=operator, now=timezone.now(), **more
        )
        models_import()
        made.refresh_from_db()
        return made

    return begin


def diffusers_folder(where: Path) -> None:
    (where / "unet").mkdir(parents=True)
    (where / "model_index.json").write_text("{}")
    (where / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(WEIGHTS)


class TestTheModelFolder:
    def test_a_file_is_checked_hashed_and_stands_hidden_in_the_catalogue(self, bring: Any, folder: Path) -> None:
        (folder / "one.safetensors").write_bytes(WEIGHTS)
        made = bring("file", "one.safetensors")
        assert (made.state, made.sha256, made.read_bytes, made.percent) == ("done", DIGEST, len(WEIGHTS), 100)
        model = ImageModel.objects.get(model_id="new-model")
        assert (model.source, model.published, model.family) == ("one.safetensors", False, "sd15")

    def test_a_folder_of_diffusers_is_taken(self, bring: Any, folder: Path) -> None:
        diffusers_folder(folder / "tiny")
        assert bring("folder", "tiny").state == ImportState.DONE
        assert ImageModel.objects.get(model_id="new-model").source == "tiny"

    @pytest.mark.parametrize(
        ("content", "words"),
        [(WEIGHTS[:-8], "no whole"), (b"not at all", "no whole"), (save({}), "no tensor")],
        ids=["cut off", "other", "empty"],
    )
    def test_a_damaged_file_is_refused(self, bring: Any, folder: Path, content: bytes, words: str) -> None:
        (folder / "one.safetensors").write_bytes(content)
        made = bring("file", "one.safetensors")
        assert made.state == ImportState.FAILED
        assert words in made.problem
        assert not ImageModel.objects.filter(model_id="new-model").exists()

    def test_another_hash_than_the_expected_is_refused(self, bring: Any, folder: Path) -> None:
        (folder / "one.safetensors").write_bytes(WEIGHTS)
        made = bring("file", "one.safetensors", sha256="0" * 64)
        assert (made.state, DIGEST in made.problem) == (ImportState.FAILED, True)

    def test_a_folder_of_pickles_is_refused(self, bring: Any, folder: Path) -> None:
        (folder / "old" / "unet").mkdir(parents=True)
        (folder / "old" / "model_index.json").write_text("{}")
        (folder / "old" / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"cos\nsystem\n")
        assert "pickled weights are not taken" in bring("folder", "old").problem

    @pytest.mark.parametrize("asked", ["../outside.safetensors", "/etc/passwd", "none.safetensors", "."])
    def test_nothing_outside_is_reached(self, bring: Any, folder: Path, asked: str) -> None:
        (folder.parent / "outside.safetensors").write_bytes(WEIGHTS)
        with pytest.raises(importing.ImportRefused, match="model folder"):
            bring("file", asked)

    def test_a_checkpoint_that_can_run_code_is_refused_at_once(self, bring: Any, folder: Path) -> None:
        (folder / "one.ckpt").write_bytes(b"x")
        for kind, asked in (("file", "one.ckpt"), ("url", "https://models.example/one.ckpt")):
            with pytest.raises(importing.ImportRefused, match="can run code"):
                bring(kind, asked)
        assert not ModelImport.objects.exists()


class TestTheWeb:
    def test_a_file_comes_into_the_model_folder_with_its_hash_checked(
        self, bring: Any, folder: Path, web: Receiver
    ) -> None:
        made = bring("url", web.on("/a/model.safetensors", reply(body=WEIGHTS)), sha256=DIGEST.upper())
        assert (made.state, made.problem, made.total_bytes) == ("done", "", len(WEIGHTS))
        source = ImageModel.objects.get(model_id="new-model").source
        assert (folder / source).read_bytes() == WEIGHTS
        assert [path.name for path in (folder / "imports").iterdir()] == ["new-model.safetensors"]

    @pytest.mark.parametrize("body", [WEIGHTS + b"x", WEIGHTS[:-8], b"<html>"], ids=["longer", "cut off", "a page"])
    def test_what_is_no_whole_model_leaves_nothing_behind(
        self, bring: Any, folder: Path, web: Receiver, body: bytes
    ) -> None:
        made = bring("url", web.on("/model.safetensors", reply(body=body)))
        assert made.state == ImportState.FAILED
        assert list((folder / "imports").iterdir()) == []

    def test_another_hash_and_a_size_above_the_limit_are_refused(
        self, bring: Any, folder: Path, web: Receiver, settings
    ) -> None:
        url = web.on("/model.safetensors", reply(body=WEIGHTS))
        assert "SHA-256" in bring("url", url, sha256="1" * 64).problem
        settings.IMPORT_MAX_BYTES = 1000
        importing.import_retry(model_import=ModelImport.objects.get())
        models_import()
        assert "larger than 1000 bytes" in ModelImport.objects.get().problem
        assert list((folder / "imports").iterdir()) == []

    def test_a_disk_that_is_full_is_told_before_the_first_byte(
        self, bring: Any, folder: Path, web: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(services, "ROOM_LEFT_BYTES", 1 << 60)
        made = bring("url", web.on("/model.safetensors", reply(body=WEIGHTS)))
        assert (made.state, made.read_bytes, "free" in made.problem) == ("failed", 0, True)

    def test_inner_addresses_are_not_reached(self, bring: Any, web: Receiver, settings) -> None:
        settings.ALLOW_PRIVATE_ADDRESSES = []
        url = web.on("/model.safetensors", reply(body=WEIGHTS))
        with pytest.raises(importing.ImportRefused, match="public internet"):
            bring("url", url)
        made = bring("url", url.replace("127.0.0.1", "localhost"))
        assert (made.state, web.heard) == (ImportState.FAILED, [])
        assert "public internet" in made.problem


class TestTheHub:
    @pytest.fixture(autouse=True)
    def hub(self, web: Receiver, monkeypatch: pytest.MonkeyPatch) -> Receiver:
        monkeypatch.setattr(constants, "ENDPOINT", web.url)
        return web

    def offer(self, hub: Receiver, files: dict[str, bytes], digest: str = "") -> None:
        listed = []
        for name, body in files.items():
            lfs = {"size": len(body), "sha256": digest or hashlib.sha256(body).hexdigest()}
            listed.append({"rfilename": name, "size": len(body)} | ({"lfs": lfs} if "safetensors" in name else {}))
            hub.on(f"/some/model/resolve/c0ffee/{name}", reply(body=body))
        told = json.dumps({"sha": "c0ffee", "siblings": listed}).encode()
        hub.on("/api/models/some/model/revision/main?blobs=true", reply(body=told))

    def test_a_repository_becomes_a_folder_without_doubled_weights(
        self, bring: Any, folder: Path, hub: Receiver
    ) -> None:
        files = {
            "model_index.json": b"{}", "unet/config.json": b"{}", "README.md": b"hello",
            "unet/diffusion_pytorch_model.safetensors": WEIGHTS,
            "unet/diffusion_pytorch_model.fp16.safetensors": WEIGHTS, "unet/diffusion_pytorch_model.bin": b"pickle",
        }  # fmt: skip
        self.offer(hub, files)
        assert bring("hub", "some/model").problem == ""
        model = ImageModel.objects.get(model_id="new-model")
        found = sorted(str(path.relative_to(folder / model.source)) for path in (folder / model.source).rglob("*.*"))
        assert found == ["model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors"]
        assert (model.revision, model.variant) == ("c0ffee", "")

    def test_one_file_of_it_is_taken_alone(self, bring: Any, folder: Path, hub: Receiver) -> None:
        self.offer(hub, {"a.safetensors": WEIGHTS, "b.safetensors": WEIGHTS})
        assert "name one of its files" in bring("hub", "some/model").problem
        ModelImport.objects.all().delete()
        assert bring("hub", "some/model/b.safetensors").sha256 == DIGEST
        assert ImageModel.objects.get(model_id="new-model").source == "imports/new-model.safetensors"

    def test_a_file_that_is_not_what_the_hub_states_is_refused(self, bring: Any, folder: Path, hub: Receiver) -> None:
        self.offer(hub, {"a.safetensors": WEIGHTS}, digest="2" * 64)
        assert "SHA-256" in bring("hub", "some/model").problem

    def test_half_precision_is_taken_where_there_is_no_other(self, bring: Any, folder: Path, hub: Receiver) -> None:
        self.offer(hub, {"model_index.json": b"{}", "unet/model.fp16.safetensors": WEIGHTS})
        assert bring("hub", "some/model").problem == ""
        assert ImageModel.objects.get(model_id="new-model").variant == "fp16"

    @pytest.mark.parametrize("asked", ["model", "https://hub.example/a/b", "a/b/c.bin"])
    def test_what_is_no_id_is_refused(self, bring: Any, asked: str) -> None:
        with pytest.raises(importing.ImportRefused, match="hub id"):
            bring("hub", asked)

    def test_an_unknown_repository_fails_with_the_hubs_answer(self, bring: Any, hub: Receiver) -> None:
        hub.on("/api/models/some/model/revision/main?blobs=true", reply(404))
        assert "404" in bring("hub", "some/model").problem


class TestTheQueue:
    def test_a_lost_import_is_begun_again_and_a_living_one_is_left(self, bring: Any, folder: Path) -> None:
        (folder / "one.safetensors").write_bytes(WEIGHTS)
        made = bring("file", "one.safetensors")
        ImageModel.objects.filter(model_id="new-model").delete()
        rows = ModelImport.objects.filter(pk=made.pk)
        rows.update(state=ImportState.RUNNING, seen_at=timezone.now())
        models_import()
        assert (rows.get().state, importing.imports_waiting(timezone.now())) == (ImportState.RUNNING, False)
        rows.update(seen_at=timezone.now() - services.LOST_AFTER)
        assert importing.imports_waiting(timezone.now())
        models_import()
        assert rows.get().state == ImportState.DONE

    def test_the_dispatcher_sets_it_off(self, bring: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        sent: list[int] = []
        monkeypatch.setattr("gateway.tasks.models_import.delay", lambda: sent.append(1))
        periodic.imports(timezone.now())
        (folder / "one.safetensors").write_bytes(WEIGHTS)
        made = bring("file", "one.safetensors")
        ModelImport.objects.filter(pk=made.pk).update(state=ImportState.WAITING)
        periodic.imports(timezone.now())
        assert sent == [1]

    def test_a_known_name_is_refused(self, operator: User, folder: Path) -> None:
        (folder / "one.safetensors").write_bytes(WEIGHTS)
        asked: dict[str, Any] = {"kind": "file", "asked": "one.safetensors", "family": "sd15", "by": operator}
        with pytest.raises(importing.ImportRefused, match="already"):
            importing.import_begin(**asked, row={"model_id": "demo"}, now=timezone.now())
        importing.import_begin(**asked, row={"model_id": "new"}, now=timezone.now())
        with pytest.raises(importing.ImportRefused, match="being imported"):
            importing.import_begin(**asked, row={"model_id": "new"}, now=timezone.now())


class TestThePages:
    FORM: dict[str, str] = {
        "kind": "file", "asked": "one.safetensors", "model_id": "shop/new", "name": "New", "family": "sdxl",
        "price_code": "sdxl", "reason": "customers asked",
    }  # fmt: skip

    def test_an_import_is_begun_shown_and_published_from_the_console(
        self,
        as_owner: Client,  # noqa: F811
        folder: Path,
    ) -> None:
        (folder / "one.safetensors").write_bytes(WEIGHTS)
        assert as_owner.post("/console/models/import", self.FORM).status_code == 302
        assert 'hx-trigger="every 2s"' in as_owner.get("/console/models/import").content.decode()
        models_import()
        table = as_owner.get("/console/models/import/table").content.decode()
        assert "Done" in table
        assert "hx-trigger" not in table
        model = ImageModel.objects.get(model_id="shop/new")
        assert (model.width_px_default, model.steps_default, model.published) == (1024, 30, False)
        as_owner.post("/console/models/shop/new/publish", {"published": "yes", "reason": "looks good"})
        assert ImageModel.objects.get(model_id="shop/new").published
        assert [row.action for row in StaffAction.objects.order_by("pk")] == ["import model", "publish"]

    def test_one_whose_model_was_removed_leads_nowhere_and_says_so(self, as_owner: Client, folder: Path) -> None:  # noqa: F811
        (folder / "one.safetensors").write_bytes(WEIGHTS)
        as_owner.post("/console/models/import", self.FORM)
        models_import()
        link = 'href="/console/models/shop/new/edit"'
        table = as_owner.get("/console/models/import/table").content.decode()
        assert link in table
        assert "removed since" not in table
        ImageModel.objects.get(model_id="shop/new").delete()
        table = as_owner.get("/console/models/import/table").content.decode()
        assert link not in table
        assert "removed since" in table

    def test_a_faulty_form_names_the_field(self, as_owner: Client, folder: Path) -> None:  # noqa: F811
        page = as_owner.post("/console/models/import", self.FORM).content.decode()
        assert "in the model folder" in page
        assert as_owner.post("/console/models/import", {**self.FORM, "sha256": "xyz"}).status_code == 200
        assert not ModelImport.objects.exists()

    def test_a_failed_one_is_tried_again(self, as_owner: Client, folder: Path) -> None:  # noqa: F811
        (folder / "one.safetensors").write_bytes(b"broken")
        as_owner.post("/console/models/import", self.FORM)
        models_import()
        made = ModelImport.objects.get()
        assert "no whole" in as_owner.get("/console/models/import").content.decode()
        (folder / "one.safetensors").write_bytes(WEIGHTS)
        as_owner.post(f"/console/models/import/{made.pk}/again")
        models_import()
        assert ImageModel.objects.filter(model_id="shop/new").exists()

    def test_a_models_row_is_edited_with_what_was_before(self, as_owner: Client) -> None:  # noqa: F811
        page = as_owner.get("/console/models/demo/edit")
        fields = page.context["form"].initial | {"reason": "a clearer name", "name": "Shapes", "tags": "small, quick"}
        form = {name: value for name, value in fields.items() if value is not None}
        assert as_owner.post("/console/models/demo/edit", {**form, "steps_default": 9999}).status_code == 200
        assert as_owner.post("/console/models/demo/edit", form).status_code == 302
        action = StaffAction.objects.get()
        assert (action.before["name"], action.after["name"]) == ("Demo", "Shapes")
        assert (action.after["tags"], set(action.after)) == (["small", "quick"], {"name", "tags"})
