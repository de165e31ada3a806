"""What holds for every store, on the disk and in a real S3-compatible server."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import UTC, datetime

import httpx
import pytest

from inference.storage import (
    FileMissing,
    FileStorage,
    KeyRefused,
    expiry_epoch_s,
    get_storage,
    input_key,
    is_served,
    output_key,
)
from inference.storage.files import FILE_MODE, UNFINISHED_AFTER_S
from inference.storage.s3 import S3Address, S3Storage

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
EPOCH_S = int(NOW.timestamp())
PNG = b"\x89PNG not really" * 50

ESCAPES = [
    "../secret.png",
    "generations/../../secret.png",
    "/etc/passwd",
    "generations//a.png",
    "generations/.hidden",
    "generations/a\x00.png",
    "generations/a\n.png",
    "generations\\a.png",
    "generations/",
    "generations",
    "",
    ".unfinished/abc",
    "generations/%2e%2e/a.png",
    "generations/a/b/c/d.png",
    "generations/" + "a" * 300,
    "generations/ä.png",
]


class TestEveryStore:
    def test_what_was_written_is_read_and_can_be_streamed(self, storage):
        storage.write("generations/abc-0.png", PNG, "image/png")
        assert storage.exists("generations/abc-0.png")
        assert storage.read("generations/abc-0.png") == PNG
        file = storage.open("generations/abc-0.png")
        with file.body as body:
            assert (body.read(), file.size_bytes) == (PNG, len(PNG))
        assert file.modified_epoch_s > 1_700_000_000

    def test_a_second_write_replaces_the_first(self, storage):
        storage.write("generations/abc-0.png", b"old", "image/png")
        storage.write("generations/abc-0.png", b"new", "image/png")
        assert storage.read("generations/abc-0.png") == b"new"

    def test_an_absent_file_is_missing_and_may_be_deleted(self, storage):
        assert not storage.exists("generations/none-0.png")
        for look in (storage.read, storage.open):
            with pytest.raises(FileMissing):
                look("generations/none-0.png")
        storage.delete("generations/none-0.png")

    def test_a_deleted_file_is_gone(self, storage):
        storage.write("inputs/abc.png", PNG, "image/png")
        storage.delete("inputs/abc.png")
        assert not storage.exists("inputs/abc.png")

    def test_a_moved_file_stands_at_its_new_key_alone_however_often_it_is_moved(self, storage):
        storage.write("generations/abc-0.png", PNG, "image/png")
        for _ in range(2):
            storage.move("generations/abc-0.png", "deleted/secret-abc-0.png")
        assert not storage.exists("generations/abc-0.png")
        assert storage.read("deleted/secret-abc-0.png") == PNG

    @pytest.mark.parametrize("key", ESCAPES)
    def test_a_key_never_leaves_the_store(self, storage, key):
        for act in (storage.read, storage.open, storage.exists, storage.delete, storage.url):
            with pytest.raises(KeyRefused):
                act(key)
        with pytest.raises(KeyRefused):
            storage.write(key, b"x", "image/png")
        for key_and_place in ((key, "generations/a.png"), ("generations/a.png", key)):
            with pytest.raises(KeyRefused):
                storage.move(*key_and_place)
        with pytest.raises(KeyRefused):
            storage.presign(key, expires_s=60) if isinstance(storage, S3Storage) else storage.path(key)

    def test_the_address_is_known_before_the_file_stands(self, storage):
        assert storage.url("generations/abc-0.png") == "/media/generations/abc-0.png"

    def test_the_sweep_deletes_dead_temporary_files_alone(self, storage):
        dead = [output_key(token=f"t{n}", index=0, expires_epoch_s=EPOCH_S - n) for n in range(4)]
        alive = [
            output_key(token="t9", index=0, expires_epoch_s=EPOCH_S + 1),
            output_key(token="t9", index=0),
            input_key(sha256="0" * 64, extension="png"),
        ]
        for key in dead + alive:
            storage.write(key, PNG, "image/png")
        assert storage.sweep(NOW) == 4
        assert [storage.exists(key) for key in dead + alive] == [False] * 4 + [True] * 3
        assert storage.sweep(NOW) == 0

    def test_one_sweep_does_a_bounded_amount_of_work_oldest_first(self, storage):
        keys = [output_key(token="t", index=n, expires_epoch_s=EPOCH_S - 100 + n) for n in range(5)]
        for key in reversed(keys):
            storage.write(key, PNG, "image/png")
        assert storage.sweep(NOW, 2) == 2
        assert [storage.exists(key) for key in keys] == [False, False, True, True, True]

    def test_a_sweep_of_an_empty_store_is_nothing(self, storage):
        assert storage.sweep(NOW) == 0


class TestKeys:
    def test_temporary_keys_carry_their_expiry(self):
        key = output_key(token="abc", index=2, extension="webp", expires_epoch_s=EPOCH_S)
        assert key == f"temp/{EPOCH_S}-abc-2.webp"
        assert expiry_epoch_s(key) == EPOCH_S

    def test_other_keys_never_expire_and_a_temporary_one_without_time_is_dead(self):
        assert expiry_epoch_s("generations/abc-0.png") is None
        assert expiry_epoch_s("temp/abc.png") == 0

    def test_inputs_are_never_served(self):
        served = {key: is_served(key) for key in ("generations/a.png", "temp/a.png", "inputs/a.png", "deleted/a.png")}
        assert served == {"generations/a.png": True, "temp/a.png": True, "inputs/a.png": False, "deleted/a.png": False}

    def test_a_token_cannot_smuggle_a_path(self):
        with pytest.raises(KeyRefused):
            output_key(token="../x", index=0)


class TestFiles:
    def test_files_are_readable_for_all_whatever_the_umask(self, tmp_path):
        before = os.umask(0o077)
        try:
            FileStorage(tmp_path).write("generations/a-0.png", PNG, "image/png")
        finally:
            os.umask(before)
        assert (tmp_path / "generations/a-0.png").stat().st_mode & 0o777 == FILE_MODE

    def test_a_reader_never_sees_half_a_file(self, tmp_path):
        storage = FileStorage(tmp_path)
        versions = [bytes([number]) * 300_000 for number in range(2)]
        storage.write("generations/a-0.png", versions[0], "image/png")
        done = threading.Event()

        def write():
            for number in range(30):
                storage.write("generations/a-0.png", versions[number % 2], "image/png")
            done.set()

        writer = threading.Thread(target=write)
        writer.start()
        seen = set()
        while not done.is_set():
            seen.add(storage.read("generations/a-0.png"))
        writer.join()
        assert seen <= set(versions)

    def test_a_failed_write_leaves_the_former_file_and_no_rubbish(self, tmp_path):
        storage = FileStorage(tmp_path)
        storage.write("generations/a-0.png", PNG, "image/png")
        with pytest.raises(TypeError):
            storage.write("generations/a-0.png", "text is not bytes", "image/png")
        assert storage.read("generations/a-0.png") == PNG
        assert list((tmp_path / ".unfinished").iterdir()) == []

    def test_what_a_killed_writer_left_is_swept_later(self, tmp_path):
        storage = FileStorage(tmp_path)
        storage.write("generations/a-0.png", PNG, "image/png")
        left, recent = tmp_path / ".unfinished/left", tmp_path / ".unfinished/recent"
        for path, age_s in ((left, UNFINISHED_AFTER_S + 1), (recent, 10)):
            path.write_bytes(b"half")
            os.utime(path, (EPOCH_S - age_s, EPOCH_S - age_s))
        storage.sweep(NOW)
        assert (left.exists(), recent.exists()) == (False, True)

    def test_a_folder_is_not_a_file(self, tmp_path):
        storage = FileStorage(tmp_path)
        storage.write("generations/a/b.png", PNG, "image/png")
        assert not storage.exists("generations/a")
        with pytest.raises(FileMissing):
            storage.read("generations/a")
        with pytest.raises(FileMissing):
            storage.read("generations/a/b.png/c")
        storage.delete("generations/a/b.png/c")


class TestS3:
    def test_kept_pictures_may_be_public_elsewhere_but_temporary_ones_die_with_us(self, bucket):
        storage = S3Storage(S3Address.parse(bucket + "&public_url=https://cdn.example/pictures/"))
        assert storage.url("generations/a-0.png") == "https://cdn.example/pictures/generations/a-0.png"
        assert storage.url(f"temp/{EPOCH_S}-a-0.png") == f"/media/temp/{EPOCH_S}-a-0.png"

    def test_a_presigned_link_gives_the_file_with_its_type(self, bucket):
        storage = S3Storage(S3Address.parse(bucket))
        storage.write("generations/a-0.png", PNG, "image/png")
        answer = httpx.get(storage.presign("generations/a-0.png", expires_s=60), trust_env=False)
        assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, PNG, "image/png")

    def test_a_store_that_clients_cannot_reach_has_no_links(self, bucket):
        assert (
            S3Storage(S3Address.parse(bucket + "&deliver=proxy")).presign("generations/a-0.png", expires_s=60) is None
        )

    @pytest.mark.parametrize(
        "url", ["s3://", "s3://bucket/folder", "s3://bucket?endpiont=http://x", "s3://bucket?deliver=mail"]
    )
    def test_a_mistyped_address_is_refused_in_words(self, url):
        with pytest.raises(ValueError, match="STORAGE_URL"):
            S3Address.parse(url)


class TestWhichStore:
    def test_the_environment_names_it(self, tmp_path, monkeypatch):
        monkeypatch.setenv("STORAGE_URL", f"file://{tmp_path}/with%20space")
        assert get_storage().root == tmp_path / "with space"
        assert get_storage() is get_storage()

    def test_by_default_it_is_the_folder_of_run_time_files(self, tmp_path, monkeypatch):
        monkeypatch.delenv("STORAGE_URL", raising=False)
        monkeypatch.setenv("RUN_DIR", str(tmp_path))
        assert get_storage().root == tmp_path / "media"
        monkeypatch.delenv("RUN_DIR")
        assert get_storage().root.parts[-2:] == (".run", "media")

    def test_an_s3_address_gives_an_s3_store(self, bucket, monkeypatch):
        monkeypatch.setenv("STORAGE_URL", bucket)
        storage = get_storage()
        storage.write("temp/a.png", PNG, "image/png")
        assert isinstance(storage, S3Storage)

    @pytest.mark.parametrize("url", ["ftp://host/x", "file://host/x", "file:///", "media"])
    def test_another_address_is_refused_in_words(self, url, monkeypatch):
        monkeypatch.setenv("STORAGE_URL", url)
        with pytest.raises(ValueError, match="file:/// or s3://"):
            get_storage()

    def test_it_needs_no_django(self, tmp_path):
        """The render worker has neither settings nor a database."""
        code = (
            "import sys; from inference.storage import get_storage; s = get_storage();"
            "s.write('generations/a-0.png', b'x', 'image/png'); print(s.read('generations/a-0.png'),"
            " [m for m in ('django', 'boto3') if m in sys.modules])"
        )
        environment = {"PATH": os.environ["PATH"], "STORAGE_URL": f"file://{tmp_path}"}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout.strip() == "b'x' []"
