"""The door: which body is read how, where the key is looked for, how the caller's address and our own are found."""

import io

import orjson
import pytest
from django.test import RequestFactory
from django.utils import timezone

from gateway.api.parsing import call_read, client_address
from gateway.api.refusals import BodyMalformed, BodyTooLarge, HostNotAllowed

factory = RequestFactory()


def read(request):
    return call_read(request, now=timezone.now())


def post(body, content_type="application/json", **extra):
    return factory.post("/api/x" + extra.pop("query", ""), body, content_type=content_type, **extra)


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", "x"])
def test_json_is_read_whatever_the_content_type_says(content_type):
    call = read(post(b' {"prompt": "a cat", "width": 512}', content_type))
    assert call.fields == {"prompt": "a cat", "width": 512}


def test_a_form_is_read_where_there_is_no_json():
    call = read(post(b"prompt=a+cat&key=k&init_image%5B%5D=a&init_image%5B%5D=b", "application/x-www-form-urlencoded"))
    assert call.fields == {"prompt": "a cat", "init_image": ["a", "b"]}
    assert call.key == "k"


def test_a_multipart_form_brings_files_as_bytes():
    call = read(factory.post("/api/x", {"prompt": "a cat", "image": io.BytesIO(b"bytes"), "key": "k"}))
    assert call.fields == {"prompt": "a cat", "image": b"bytes"}
    assert call.key == "k"


def test_without_a_body_everything_may_stand_in_the_query():
    assert read(post(b"", query="?prompt=cat&key=k")).fields == {"prompt": "cat"}
    assert read(factory.get("/api/x?page=2&key=k")).fields == {"page": "2"}


def test_json_that_was_encoded_twice_is_understood():
    assert read(post(orjson.dumps('{"prompt": "a cat"}'))).fields == {"prompt": "a cat"}


def test_a_byte_order_mark_is_no_obstacle():
    assert read(post(b'\xef\xbb\xbf{"prompt": "a cat"}')).fields == {"prompt": "a cat"}


def test_a_body_without_a_length_is_read_to_its_end():
    request = factory.generic("POST", "/api/x", b"")
    request.META |= {
        "CONTENT_LENGTH": "",
        "HTTP_TRANSFER_ENCODING": "chunked",
        "wsgi.input_terminated": True,
        "wsgi.input": io.BytesIO(b'{"prompt": "a cat"}'),
    }
    assert read(request).fields == {"prompt": "a cat"}


def test_the_character_nul_which_databases_refuse_is_dropped_everywhere():
    call = read(post(rb'{"prompt": "a\u0000b", "deep": {"x\u0000": ["\u0000"]}}'))
    assert call.fields == {"prompt": "ab", "deep": {"x": [""]}}
    assert read(post(b"prompt=a%00b", "text/plain")).fields == {"prompt": "ab"}


@pytest.mark.parametrize(
    "body", [b'{"prompt": ', b"[1, 2]", b'"text"', b"12", b"{'a': 1}", b'{"a": NaN}', b"\xff\xfe", b'{"a": 1e999}']
)
def test_what_is_no_object_of_fields_is_refused(body):
    with pytest.raises(BodyMalformed):
        read(post(body))


def test_a_broken_multipart_form_is_refused():
    with pytest.raises(BodyMalformed):
        read(post(b"--x\r\nbroken", "multipart/form-data"))


def test_a_body_over_the_limit_is_refused_by_what_it_announces_and_by_what_it_is(settings):
    settings.MAX_BODY_BYTES = settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    with pytest.raises(BodyTooLarge) as refused:
        read(post(b'{"prompt": "%s"}' % (b"x" * 200)))
    assert refused.value.fields == {"limit": 100}
    request = factory.generic("POST", "/api/x", b"")
    request.META |= {
        "CONTENT_LENGTH": "",
        "HTTP_TRANSFER_ENCODING": "chunked",
        "wsgi.input_terminated": True,
        "wsgi.input": io.BytesIO(b"x" * 200),
    }
    with pytest.raises(BodyTooLarge):
        read(request)


KEYS = {"HTTP_KEY": "header", "HTTP_AUTHORIZATION": "Bearer bearer", "HTTP_X_API_KEY": "x-api-key"}


def test_the_key_is_looked_for_in_its_documented_order():
    with_all = {"query": "?key=query", **KEYS}
    assert read(post(b'{"key": "body"}', **with_all)).key == "body"
    assert read(post(b'{"key": ""}', **with_all)).key == "header"
    del with_all["HTTP_KEY"]
    assert read(post(b"{}", **with_all)).key == "bearer"
    del with_all["HTTP_AUTHORIZATION"]
    assert read(post(b"{}", **with_all)).key == "x-api-key"
    del with_all["HTTP_X_API_KEY"]
    assert read(post(b"{}", **with_all)).key == "query"
    assert read(post(b"{}")).key is None


def test_a_key_in_the_query_comes_last_where_there_is_no_body_either():
    request = factory.get("/api/v6/images/fetch/1?key=query&id=1", HTTP_X_API_KEY="x-api-key")
    assert read(request).key == "x-api-key"
    assert read(factory.get("/api/v6/images/fetch/1?key=query&id=1")).key == "query"
    assert read(factory.get("/api/v6/images/fetch/1?key=query&id=1")).fields == {"id": "1"}


@pytest.mark.parametrize("key", [b"null", b"{}", b"[1]", b'"  "', b'"null"', b'"None"'])
def test_a_key_that_is_no_text_counts_as_none(key):
    assert read(post(b'{"key": %s}' % key)).key is None


def test_the_key_leaves_the_door_in_one_place_only():
    call = read(post(b'{"key": "canary", "prompt": "x"}'))
    assert "canary" not in repr(call)
    assert call.fields == {"prompt": "x"}


def test_idempotency_keys_come_as_a_header_or_in_the_body():
    assert read(post(b"{}", HTTP_IDEMPOTENCY_KEY="h")).idempotency_key == "h"
    call = read(post(b'{"idempotency_key": "b"}'))
    assert (call.idempotency_key, call.fields) == ("b", {})


def test_addresses_in_replies_follow_the_host_that_the_client_used(settings):
    settings.ALLOWED_HOSTS = ["images.example.com"]
    assert read(post(b"{}", HTTP_HOST="images.example.com:8443")).base_url == "http://images.example.com:8443"
    settings.PUBLIC_URL = "https://public.example.com/"
    assert read(post(b"{}", HTTP_HOST="elsewhere")).base_url == "https://public.example.com"


def test_a_host_that_is_not_ours_is_refused(settings):
    settings.ALLOWED_HOSTS = ["images.example.com"]
    with pytest.raises(HostNotAllowed):
        read(post(b"{}", HTTP_HOST="evil.example.com"))


def address(peer, forwarded):
    return client_address(factory.get("/", REMOTE_ADDR=peer, HTTP_X_FORWARDED_FOR=forwarded))


def test_a_forwarded_address_is_believed_from_trusted_proxies_only(settings):
    assert address("10.0.0.1", "203.0.113.9") == "10.0.0.1"
    settings.TRUSTED_PROXIES = ["10.0.0.0/8"]
    assert address("10.0.0.1", "203.0.113.9") == "203.0.113.9"
    assert address("198.51.100.1", "203.0.113.9") == "198.51.100.1"


def test_what_a_caller_invents_on_the_left_is_not_believed(settings):
    settings.TRUSTED_PROXIES = ["10.0.0.0/8"]
    assert address("10.0.0.1", "1.1.1.1, 203.0.113.9, 10.0.0.2") == "203.0.113.9"
    assert address("10.0.0.1", "junk, 10.0.0.2") == "10.0.0.2"
    assert address("10.0.0.1", "") == "10.0.0.1"


def test_a_length_that_is_no_number_is_refused():
    request = factory.generic("POST", "/api/x", b"")
    request.META["CONTENT_LENGTH"] = "many"
    with pytest.raises(BodyMalformed, match="Content-Length"):
        read(request)


def test_a_body_that_the_framework_refuses_is_too_large(settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    with pytest.raises(BodyTooLarge):
        read(post(b'{"prompt": "a cat"}'))


def test_a_client_that_hangs_up_leaves_a_request_that_cannot_be_read():
    class Gone(io.BytesIO):
        def read(self, *_):
            raise OSError("gone")

    request = factory.generic("POST", "/api/x", b"")
    request.META["CONTENT_LENGTH"] = "10"
    request._stream = Gone()
    with pytest.raises(BodyMalformed, match="ended before"):
        read(request)


def test_a_server_that_marks_the_end_of_bodies_changes_nothing_for_those_with_none():
    request = factory.get("/api/x?page=2")
    request.META["wsgi.input_terminated"] = True
    assert read(request).fields == {"page": "2"}


def test_a_form_of_too_many_fields_is_refused():
    with pytest.raises(BodyMalformed):
        read(post(b"&".join(b"a%d=1" % number for number in range(2000)), "text/plain"))


def test_a_proxy_on_a_socket_of_this_machine_is_trusted_where_any_is(settings):
    settings.TRUSTED_PROXIES = ["10.0.0.0/8"]
    assert address("", "203.0.113.9") == "203.0.113.9"
    assert address("not-an-address", "203.0.113.9") == "not-an-address"
