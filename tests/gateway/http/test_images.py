"""Pictures from outside: known formats, whole, and never larger than promised."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image

from gateway.errors import FetchFailed, ImageInvalid
from gateway.http import image_check, image_fetch, image_open
from tests.support.receiver import receiving, reply


def picture(format="PNG", size=(40, 20), mode="RGB", **options):
    file = io.BytesIO()
    Image.new(mode, size, 128).save(file, format, **options)
    return file.getvalue()


def bomb(width_px=60_000, height_px=60_000):
    """A PNG of a few hundred bytes that promises gigabytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0)
    packed = zlib.compress(b"\0" * 100_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


class TestCheck:
    @pytest.mark.parametrize(
        ("format", "extension", "content_type"),
        [
            ("PNG", "png", "image/png"),
            ("JPEG", "jpg", "image/jpeg"),
            ("WEBP", "webp", "image/webp"),
            ("GIF", "gif", "image/gif"),
            ("BMP", "bmp", "image/bmp"),
        ],
    )
    def test_the_known_formats_pass_as_they_came(self, format, extension, content_type):
        data = picture(format)
        checked = image_check(data)
        assert (checked.data, checked.format, checked.width_px, checked.height_px) == (data, format, 40, 20)
        assert (checked.extension, checked.content_type) == (extension, content_type)

    def test_a_telephones_jpeg_with_two_pictures_inside_passes_as_its_first(self):
        file = io.BytesIO()
        Image.new("RGB", (40, 20)).save(file, "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))])
        checked = image_check(file.getvalue())
        assert (checked.extension, checked.width_px, checked.height_px) == ("jpg", 40, 20)

    @pytest.mark.parametrize("format", ["TIFF", "ICO", "PPM", "PDF"])
    def test_other_formats_are_refused(self, format):
        with pytest.raises(ImageInvalid, match="none of PNG, JPEG"):
            image_check(picture(format))

    @pytest.mark.parametrize(
        "data", [b"", b"hello", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\x89PNG\r\n\x1a\n"]
    )
    def test_what_is_no_picture_is_refused(self, data):
        with pytest.raises(ImageInvalid):
            image_check(data)

    @pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
    @pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
    def test_a_truncated_picture_is_refused(self, format, kept):
        file = io.BytesIO()
        Image.effect_noise((64, 64), 80).convert("RGB").save(file, format)
        data = file.getvalue()
        with pytest.raises(ImageInvalid):
            image_check(data[: int(len(data) * kept)])

    def test_a_bomb_is_refused_by_its_header(self):
        with pytest.raises(ImageInvalid, match="pixels"):
            image_check(bomb())

    def test_one_pixel_too_many_is_named_with_the_limit(self):
        assert image_check(picture(size=(40, 25)), max_pixels=1000).width_px == 40
        with pytest.raises(ImageInvalid, match="41 x 25 = 1025 pixels, the limit is 1000"):
            image_check(picture(size=(41, 25)), max_pixels=1000)

    def test_too_many_bytes_are_named_with_the_limit(self):
        with pytest.raises(ImageInvalid, match="the limit is 10"):
            image_check(picture(), max_bytes=10)

    def test_a_picture_between_pillows_own_limits_is_refused_by_ours(self):
        with pytest.raises(ImageInvalid, match="pixels"):
            image_check(bomb(10_000, 10_000))


class TestOrientation:
    def test_a_photograph_lying_on_its_side_is_measured_and_opened_upright(self):
        exif = Image.Exif()
        exif[0x0112] = 6
        data = picture("JPEG", exif=exif)
        checked = image_check(data)
        assert (checked.width_px, checked.height_px) == (20, 40)
        assert image_open(data).size == (20, 40)

    def test_an_upright_picture_is_opened_as_it_is(self):
        assert image_open(picture(mode="RGBA")).mode == "RGBA"

    def test_opening_keeps_the_limits(self):
        with pytest.raises(ImageInvalid):
            image_open(bomb())


class TestFetch:
    @pytest.fixture(autouse=True)
    def opened(self, settings):
        settings.ALLOW_PRIVATE_ADDRESSES = ["loopback"]

    def test_a_picture_is_fetched_whatever_its_server_calls_it(self):
        data = picture("JPEG")
        with receiving() as server:
            url = server.on("/photo", reply(body=data, Content_Type="text/plain"))
            assert image_fetch(url).data == data
            assert server.heard[0].headers["accept"] == "image/*"

    def test_a_page_is_no_picture(self):
        with receiving() as server:
            url = server.on("/photo", reply(body=b"<html>", Content_Type="image/png"))
            with pytest.raises(ImageInvalid):
                image_fetch(url)

    def test_a_picture_too_large_to_fetch_is_refused(self):
        with receiving() as server:
            url = server.on("/photo", reply(body=picture(size=(400, 400))))
            with pytest.raises(FetchFailed, match="larger than 100 bytes"):
                image_fetch(url, max_bytes=100)
