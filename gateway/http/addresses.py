"""Which addresses a stranger's URL may lead to: the public internet, and nothing that only this machine can reach."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.utils.translation import gettext_noop as _

from gateway.errors import AddressRefused

URL_LENGTH_MAX = 2_000
# Below 1024 live mail, shells and databases that a request for a picture has no business with.
PORT_UNPRIVILEGED_MIN = 1_024

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# https://www.iana.org/assignments/iana-ipv4-special-registry and its IPv6 twin, as of 2026. Python's is_global has
# changed its mind about some of these between releases, so they are named here.
_CLOSED: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; one cloud's metadata lives at 100.100.100.200
        "127.0.0.0/8",
        "168.63.129.16/32",  # a public address that is a cloud's metadata inside it
        "169.254.0.0/16",  # link-local; the clouds' metadata at 169.254.169.254
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4 wraps an IPv4 address
        "3fff::/20",
    )
)
_IPV6_PUBLIC = IPv6Network("2000::/3")  # everything else is loopback, local, mapped, multicast or unassigned
_NAT64 = IPv6Network("64:ff9b::/96")  # how a machine without IPv4 reaches an IPv4 address, which is what counts


def address_allowed(address: Address, *, exceptions: Sequence[Network] = ()) -> bool:
    """Whether a connection to this resolved address may be opened."""
    if any(address in network for network in exceptions):
        return True
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped
        if inner is None and address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return address_allowed(inner, exceptions=exceptions)
        if address not in _IPV6_PUBLIC:
            return False
    return not any(address in network for network in _CLOSED)


def address_exceptions() -> tuple[Network, ...]:
    """ALLOW_PRIVATE_ADDRESSES: networks that this installation opens, `loopback` for short. Empty in production."""
    return _networks(tuple(settings.ALLOW_PRIVATE_ADDRESSES))


@functools.lru_cache(maxsize=4)
def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    spelled = [one for text in texts for one in (("127.0.0.0/8", "::1/128") if text == "loopback" else (text,))]
    return tuple(ipaddress.ip_network(text) for text in spelled)


def url_checked(url: str, *, plain_http: bool | None = None) -> SplitResult:
    """What can be told of a URL without resolving it. Raises AddressRefused, saying what is wrong with it.

    `plain_http` None follows ALLOW_HTTP_URLS; False demands https, but for a machine that speaks to itself.
    """
    if len(url) > URL_LENGTH_MAX:
        raise AddressRefused(url=url[:100] + "...", reason=_("it is longer than {} characters").format(URL_LENGTH_MAX))
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AddressRefused(url=url, reason=_("it is not a URL")) from None
    allowed = settings.ALLOW_HTTP_URLS if plain_http is None else plain_http
    reason = _fault(url, parts, port, ("https", "http") if allowed or _is_exception(parts.hostname) else ("https",))
    if reason:
        raise AddressRefused(url=url, reason=reason)
    return parts


def _fault(url: str, parts: SplitResult, port: int | None, schemes: tuple[str, ...]) -> str | None:
    if parts.scheme not in schemes:
        return _("it must begin with https:// or http://") if "http" in schemes else _("it must begin with https://")
    if not parts.hostname or any(character.isspace() or not character.isprintable() for character in url):
        return _("it is not a URL")
    if parts.username is not None or parts.password is not None:
        return _("it contains a user name or a password")
    if port is not None and port not in (80, 443) and port < PORT_UNPRIVILEGED_MIN:
        return _("its port {} is not one that serves web pages").format(port)
    address = _literal(parts.hostname)
    if address is not None and not address_allowed(address, exceptions=address_exceptions()):
        return _("it is not on the public internet")
    return None


def _is_exception(host: str | None) -> bool:
    """A developer's own machine speaks plain http to itself, where the operator opens that network."""
    address = IPv4Address("127.0.0.1") if host == "localhost" else _literal(host or "")
    return address is not None and any(address in network for network in address_exceptions())


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
