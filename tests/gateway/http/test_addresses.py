"""Which addresses a stranger's URL may lead to."""

from __future__ import annotations

import ipaddress

import pytest

from gateway.errors import AddressRefused
from gateway.http import address_allowed, url_checked

CLOSED = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254", "168.63.129.16",
    "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1",
    "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1", "100::1", "2001::1", "2001:10::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "5f00::1", "fc00::1",
    "fd00:ec2::254", "fe80::1", "fe80::1%1", "fec0::1", "ff02::1",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "8.8.8.8", "172.32.0.1", "192.167.1.1", "2606:4700::1", "2a00:1450::1", "64:ff9b::808:808"]


@pytest.mark.parametrize("text", CLOSED)
def test_what_only_this_machine_can_reach_is_closed(text):
    assert not address_allowed(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_the_public_internet_is_open(text):
    assert address_allowed(ipaddress.ip_address(text))


def test_an_operator_may_open_a_network_also_when_it_is_written_as_ipv6():
    opened = [ipaddress.ip_network("127.0.0.0/8")]
    answers = [
        address_allowed(ipaddress.ip_address(text), exceptions=opened)
        for text in ("127.0.0.1", "::ffff:127.0.0.1", "10.0.0.1", "::1")
    ]
    assert answers == [True, True, False, False]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://example.com/a.png", "must begin with https:// or http://"),
        ("file:///etc/passwd", "must begin with"),
        ("//example.com/a.png", "must begin with"),
        ("", "must begin with"),
        ("https:///a.png", "is not a URL"),
        ("https://exa mple.com/", "is not a URL"),
        ("https://example.com/\r\nHost: other", "is not a URL"),
        ("https://example.com:99999/", "is not a URL"),
        ("https://[::1/", "is not a URL"),
        ("https://user:secret@example.com/", "user name or a password"),
        ("https://public.example@127.0.0.1/", "user name or a password"),
        ("https://example.com:22/", "port 22"),
        ("https://example.com:25/", "port 25"),
        ("https://127.0.0.1/", "not on the public internet"),
        ("https://[::1]/", "not on the public internet"),
        ("http://169.254.169.254/latest/meta-data/", "not on the public internet"),
        ("https://example.com/" + "a" * 2000, "longer than 2000 characters"),
    ],
)
def test_a_bad_url_is_refused_in_words(url, reason):
    with pytest.raises(AddressRefused, match=reason):
        url_checked(url)


@pytest.mark.parametrize(
    "url",
    ["https://example.com/a.png", "http://example.com:8080/a", "https://bücher.example/x?y=1", "https://1.1.1.1/"],
)
def test_a_plain_url_passes(url):
    assert url_checked(url).hostname


class TestPlainHttp:
    def test_an_operator_may_demand_https(self, settings):
        settings.ALLOW_HTTP_URLS = False
        with pytest.raises(AddressRefused, match="must begin with https://"):
            url_checked("http://example.com/")

    def test_a_caller_may_demand_it_too(self, settings):
        settings.ALLOW_HTTP_URLS = True
        with pytest.raises(AddressRefused, match="must begin with https://"):
            url_checked("http://example.com/", plain_http=False)

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
    def test_a_machine_may_speak_plainly_to_itself_where_that_is_opened(self, settings, host):
        settings.ALLOW_PRIVATE_ADDRESSES = ["loopback"]
        assert url_checked(f"http://{host}:9000/hook", plain_http=False).port == 9000
        settings.ALLOW_PRIVATE_ADDRESSES = []
        with pytest.raises(AddressRefused):
            url_checked(f"http://{host}:9000/hook", plain_http=False)
