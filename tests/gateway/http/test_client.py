"""The guarded client against real servers: where it goes, how far, how long and how much."""

from __future__ import annotations

import datetime
import io
import ipaddress
import socket
import ssl
import time

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.errors import AddressRefused, FetchFailed
from gateway.http import client, http_download, http_fetch, http_post
from gateway.http.addresses import address_allowed
from tests.support.receiver import names, receiving, reply


@pytest.fixture
def server():
    with receiving() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def opened(settings):
    """Loopback alone, because the test's server lives there; every other private network stays closed."""
    settings.ALLOW_PRIVATE_ADDRESSES = ["loopback"]
    settings.ALLOW_HTTP_URLS = True


def fetch(url, *, max_bytes=10_000, timeout_s=5.0):
    return http_fetch(url, max_bytes=max_bytes, timeout_s=timeout_s)


class TestWhereItGoes:
    def test_a_file_is_fetched_from_the_host_that_was_named(self, server, monkeypatch):
        names(monkeypatch, {"pictures.example": ["127.0.0.1"]})
        server.on("/a.png", reply(body=b"picture", Content_Type="image/png"))
        fetched = fetch(f"http://pictures.example:{server.port}/a.png")
        assert (fetched.body, fetched.content_type) == (b"picture", "image/png")
        assert server.heard[0].headers["host"] == f"pictures.example:{server.port}"

    @pytest.mark.parametrize(
        ("written", "path"),
        [
            ("/blåbær.png?størrelse=æ", "/bl%C3%A5b%C3%A6r.png?st%C3%B8rrelse=%C3%A6"),
            ("/a%20b/%C3%A6.png?x=%2F&y=1+2#part", "/a%20b/%C3%A6.png?x=%2F&y=1+2"),
            ("", "/"),
            ("?a=b", "/?a=b"),
        ],
    )
    def test_an_address_goes_out_in_ascii_and_what_is_encoded_stays_as_it_is(self, server, monkeypatch, written, path):
        names(monkeypatch, {"xn--bcher-kva.example": ["127.0.0.1"]})
        server.on(path, reply(body=b"picture"))
        assert fetch(f"http://Bücher.example:{server.port}{written}").body == b"picture"
        assert (server.heard[0].path, server.heard[0].headers["host"]) == (path, f"xn--bcher-kva.example:{server.port}")

    @pytest.mark.parametrize(
        ("url", "host"),
        [
            ("https://a.example:443/", "a.example"),
            ("http://a.example:80/", "a.example"),
            ("https://a.example:8443/", "a.example:8443"),
            ("http://[2001:4860::1]:8080/", "[2001:4860::1]:8080"),
        ],
    )
    def test_the_usual_port_is_left_out_of_the_host(self, url, host):
        assert client._host_header(client._url_on_the_wire(url)) == host

    @pytest.mark.parametrize("host", ["a..example", "ü" * 70 + ".example", "\u2488com"])
    def test_a_host_that_no_name_server_could_know_fails_in_words(self, host):
        with pytest.raises(FetchFailed, match="host is not known"):
            fetch(f"http://{host}/a.png")

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1", "[::ffff:7f00:1]"])
    def test_no_spelling_of_loopback_is_reached_when_it_is_closed(self, server, settings, host):
        settings.ALLOW_PRIVATE_ADDRESSES = []
        with pytest.raises(AddressRefused, match="public internet"):
            fetch(f"http://{host}:{server.port}/a.png")
        assert server.heard == []

    @pytest.mark.parametrize("address", ["10.0.0.1", "169.254.169.254", "::1 10.0.0.1", "1.1.1.1 192.168.0.1"])
    def test_a_name_with_any_private_address_is_refused(self, monkeypatch, settings, address):
        settings.ALLOW_PRIVATE_ADDRESSES = []
        names(monkeypatch, {"inside.example": [address]})
        with pytest.raises(AddressRefused):
            fetch("http://inside.example/")

    def test_a_name_that_changes_its_mind_is_asked_once_and_the_answer_holds(self, server, monkeypatch):
        asked = names(monkeypatch, {"rebind.example": ["127.0.0.1", "10.0.0.1"]})
        server.on("/a", reply(body=b"checked"))
        assert fetch(f"http://rebind.example:{server.port}/a").body == b"checked"
        assert asked == ["rebind.example"]

    def test_a_client_that_checks_first_and_connects_later_is_fooled(self, server, monkeypatch, settings):
        """Negative control: the trick works on the obvious build, and not on this one."""
        settings.ALLOW_PRIVATE_ADDRESSES = []
        url = f"http://rebind.example:{server.port}/secret"
        server.on("/secret", reply(body=b"stolen"))
        table = {"rebind.example": ["1.1.1.1", "127.0.0.1"]}
        names(monkeypatch, table)
        found = socket.getaddrinfo("rebind.example", 80)
        assert all(address_allowed(ipaddress.ip_address(entry[4][0])) for entry in found)
        assert httpx.get(url, trust_env=False).content == b"stolen"
        server.heard.clear()
        names(monkeypatch, {"rebind.example": ["127.0.0.1"]})
        with pytest.raises(AddressRefused):
            fetch(url)
        assert server.heard == []

    def test_proxies_of_the_environment_are_not_used(self, server, monkeypatch):
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        server.on("/a", reply(body=b"direct"))
        assert fetch(server.url + "/a").body == b"direct"

    def test_an_unknown_host_and_a_closed_port_fail_in_words(self, server):
        with pytest.raises(FetchFailed, match="its host is not known"):
            fetch("http://no-such-host.invalid/")
        with pytest.raises(FetchFailed, match=r"it refuses connections \(\[Errno 111\]"):
            fetch("http://127.0.0.1:1025/")

    def test_a_slow_name_server_does_not_outlast_the_deadline(self, monkeypatch):
        monkeypatch.setattr(client.socket, "getaddrinfo", lambda *args, **kwargs: time.sleep(1) or [])
        started_s = time.monotonic()
        with pytest.raises(FetchFailed, match="took too long"):
            fetch("http://slow.example/", timeout_s=0.2)
        assert time.monotonic() - started_s < 0.8


class TestRedirects:
    def test_three_are_followed_each_with_a_clean_request(self, server):
        server.on("/0", reply(302, Location="/1", Set_Cookie="session=1; Path=/"))
        server.on("/1", reply(307, Location=server.url + "/2"))
        server.on("/2", reply(303, Location="3"))
        server.on("/3", reply(body=b"there"))
        fetched = fetch(server.url + "/0")
        assert (fetched.body, fetched.url) == (b"there", server.url + "/3")
        assert all("cookie" not in one.headers for one in server.heard)

    def test_a_fourth_is_one_too_many(self, server):
        for number in range(5):
            server.on(f"/{number}", reply(302, Location=f"/{number + 1}"))
        with pytest.raises(FetchFailed, match="redirects more than 3 times"):
            fetch(server.url + "/0")

    @pytest.mark.parametrize(
        "target",
        ["http://10.0.0.1/", "http://169.254.169.254/latest/", "http://[fd00:ec2::254]/", "file:///etc/passwd"],
    )
    def test_a_redirect_is_checked_like_the_first_address(self, server, target):
        server.on("/a", reply(302, Location=target))
        with pytest.raises(AddressRefused):
            fetch(server.url + "/a")

    def test_a_redirect_by_name_to_a_private_address_is_refused(self, server, monkeypatch):
        names(monkeypatch, {"inside.example": ["192.168.0.1"]})
        server.on("/a", reply(302, Location="http://inside.example/"))
        with pytest.raises(AddressRefused):
            fetch(server.url + "/a")


class TestHowMuchAndHowLong:
    def test_a_promised_size_beyond_the_limit_is_refused_before_reading(self, server):
        server.on("/a", reply(body=b"", Content_Length="10001"))
        with pytest.raises(FetchFailed, match="larger than 10000 bytes"):
            fetch(server.url + "/a")

    def test_an_endless_answer_is_cut_at_the_limit(self, server):
        def endless(handler):
            handler.send_response(200)
            handler.send_header("Connection", "close")
            handler.end_headers()
            while True:
                handler.wfile.write(b"x" * 4096)

        with pytest.raises(FetchFailed, match="larger than 10000 bytes"):
            fetch(server.on("/a", endless))

    def test_exactly_the_limit_passes(self, server):
        server.on("/a", reply(body=b"x" * 10_000))
        assert len(fetch(server.url + "/a").body) == 10_000

    @pytest.mark.parametrize("where", ["headers", "body"])
    def test_a_server_that_drips_does_not_outlast_the_deadline(self, server, where):
        def drip(handler):
            if where == "headers":
                handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
            else:
                handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            for _ in range(100):
                handler.wfile.write(b"X-Slow: 1\r\n" if where == "headers" else b"x")
                handler.wfile.flush()
                time.sleep(0.05)

        started_s = time.monotonic()
        with pytest.raises(FetchFailed, match="took too long"):
            fetch(server.on("/a", drip), timeout_s=0.4)
        assert time.monotonic() - started_s < 1.5

    def test_a_silent_server_does_not_outlast_the_deadline(self, server):
        with pytest.raises(FetchFailed, match="took too long"):
            fetch(server.on("/a", lambda handler: time.sleep(1.0)), timeout_s=0.2)

    def test_redirects_share_one_deadline(self, server):
        def slowly(handler):
            time.sleep(0.3)
            reply(302, Location="/a")(handler)

        started_s = time.monotonic()
        with pytest.raises(FetchFailed, match="took too long"):
            fetch(server.on("/a", slowly), timeout_s=0.5)
        assert time.monotonic() - started_s < 1.2

    def test_a_download_goes_into_a_file_under_the_same_limits(self, server):
        server.on("/model", reply(body=b"w" * 200_000))
        into = io.BytesIO()
        assert http_download(server.url + "/model", into=into, max_bytes=200_000, timeout_s=5) == 200_000
        assert into.getvalue() == b"w" * 200_000
        with pytest.raises(FetchFailed, match="larger than 199999 bytes"):
            http_download(server.url + "/model", into=io.BytesIO(), max_bytes=199_999, timeout_s=5)


class TestWhatItRefusesToUnderstand:
    @pytest.mark.parametrize("status", [204, 404, 500, 304])
    def test_only_a_success_is_a_file(self, server, status):
        server.on("/a", reply(status))
        if status == 204:
            assert fetch(server.url + "/a").body == b""
            return
        with pytest.raises(FetchFailed, match=f"it answered {status}"):
            fetch(server.url + "/a")

    def test_a_compressed_answer_is_refused(self, server):
        server.on("/a", reply(body=b"\x1f\x8b", Content_Encoding="gzip"))
        with pytest.raises(FetchFailed, match="compressed"):
            fetch(server.url + "/a")

    def test_what_is_not_http_is_refused(self, server):
        with pytest.raises(FetchFailed, match=r"does not speak HTTP"):
            fetch(server.on("/a", lambda handler: handler.wfile.write(b"220 mail ready\r\n\r\n")))

    def test_an_answer_that_ends_early_is_refused(self, server):
        def short(handler):
            reply(body=b"half", Content_Length="400")(handler)
            handler.close_connection = True

        with pytest.raises(FetchFailed):
            fetch(server.on("/a", short))


class TestPosts:
    def test_a_post_brings_its_body_and_headers_and_hears_any_status(self, server):
        server.on("/hook", reply(500, body=b"sorry " * 200))
        answer = http_post(server.url + "/hook", content=b"{}", headers={"webhook-id": "msg_1"}, timeout_s=5)
        assert (answer.status, len(answer.excerpt), answer.excerpt[:6]) == (500, 512, b"sorry ")
        assert (server.heard[0].method, server.heard[0].body) == ("POST", b"{}")
        assert server.heard[0].headers["webhook-id"] == "msg_1"

    def test_a_redirect_is_an_answer_and_nobody_else_is_told(self, server):
        server.on("/hook", reply(307, Location=server.url + "/other"))
        assert http_post(server.url + "/hook", content=b"{}", headers={}, timeout_s=5).status == 307
        assert [one.path for one in server.heard] == ["/hook"]

    def test_plain_http_is_for_loopback_alone(self, monkeypatch):
        names(monkeypatch, {"receiver.example": ["1.1.1.1"]})
        with pytest.raises(AddressRefused, match="must begin with https://"):
            http_post("http://receiver.example/hook", content=b"{}", headers={}, timeout_s=5)


@pytest.fixture
def certificate(tmp_path):
    """A certificate of `pictures.example`, and the file of it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pictures.example")])
    today = datetime.datetime.now(datetime.UTC)  # noqa: TID251 - the certificate must be valid for the real clock
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("pictures.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(built.public_bytes(serialization.Encoding.PEM) + private)
    return path


class TestTls:
    def test_the_name_is_shown_and_verified_although_the_address_is_pinned(self, certificate, monkeypatch):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        shown = []
        context.sni_callback = lambda connection, name, original: shown.append(name)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))  # OpenSSL's own word for the system's authorities
        client._tls.cache_clear()
        names(monkeypatch, {"pictures.example": ["127.0.0.1"], "other.example": ["127.0.0.1"]})
        with receiving(context) as server:
            server.on("/a", reply(body=b"secure"))
            assert fetch(f"https://pictures.example:{server.port}/a").body == b"secure"
            with pytest.raises(FetchFailed, match=r"its TLS certificate is not valid .*CERTIFICATE_VERIFY_FAILED"):
                fetch(f"https://other.example:{server.port}/a")
        client._tls.cache_clear()
        assert shown == ["pictures.example", "other.example"]
