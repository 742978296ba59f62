"""Who the client is: the peer, or whom a proxy that we trust names.

Writes the forwarding fields that an app may believe. Pure: addresses in, bytes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from attrs import frozen

from haloy.errors import InvalidValue
from haloy.proxy.head import RequestHead

Networks = tuple[IPv4Network | IPv6Network, ...]


@frozen
class Client:
    """The client of one request.

    C{address} is an IP literal without brackets. C{chain} is the whole
    X-Forwarded-For for apps; its last member is the peer.
    """

    address: str
    chain: bytes
    host: bytes
    proto: bytes


def parse_networks(texts: Sequence[str]) -> Networks:
    """Return the networks in C{texts}: addresses, or prefixes like C{10.0.0.0/8}.

    @raise InvalidValue: one of them is neither.
    """
    try:
        return tuple(ip_network(text.strip(), strict=False) for text in texts)
    except ValueError as error:
        raise InvalidValue(str(error), field="trusted_proxies") from error


def plain_address(text: str) -> str:
    """Return an IP literal as people write it: no zone, IPv4-mapped IPv6 as IPv4."""
    text = text.partition("%")[0]
    if text.startswith("::ffff:") and "." in text:
        mapped = IPv6Address(text).ipv4_mapped
        return str(mapped) if mapped is not None else text
    return text


def client_network(address: str) -> str:
    """Return what one client may have all of: an IPv4 address, or the /64 of IPv6.

    @param address: an IP literal, as L{plain_address} returns it.
    """
    if ":" not in address:
        return address
    return IPv6Address(address).packed[:8].hex(":", 2) + "::/64"


def trusts(networks: Networks, address: str) -> bool:
    """Tell whether C{address}, an IP literal, is in one of C{networks}."""
    if not networks:
        return False
    ip = ip_address(address)
    return any(ip in network for network in networks)


def behind(peer: str, secure: bool, request: RequestHead, networks: Networks) -> Client:
    """Return the client that a trusted C{peer} speaks for.

    The client is the last member of X-Forwarded-For that is no trusted proxy
    itself; a member that is no address ends the search. Host and scheme are
    theirs if they sent plausible ones.
    """
    address = peer
    members = [part.strip() for part in request.forwarded_for.split(b",")]
    believed: list[bytes] = []
    for member in reversed(members):
        found = _address(member)
        if found is None:
            break
        believed.append(found.encode("ascii"))
        address = found
        if not trusts(networks, found):
            break
    chain = b", ".join([*reversed(believed), peer.encode("ascii")])
    proto = b"https" if secure else b"http"
    if request.forwarded_proto in (b"http", b"https"):
        proto = request.forwarded_proto
    host = request.forwarded_host
    if not host or not host.isascii() or b"," in host or b" " in host:
        host = request.host
    return Client(address, chain, host, proto)


def _address(member: bytes) -> str | None:
    text = member.decode("latin-1").strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return plain_address(str(ip_address(text)))
    except ValueError:
        return None


def fields(
    chain: bytes, host: bytes, proto: bytes, request_id: bytes, traceparent: bytes
) -> bytes:
    """Return the forwarding fields for the upstream, each line with its end."""
    return (
        b"X-Forwarded-For: %b\r\nX-Forwarded-Host: %b\r\n"
        b"X-Forwarded-Proto: %b\r\nX-Request-ID: %b\r\ntraceparent: %b\r\n"
    ) % (chain, host, proto, request_id, traceparent)
