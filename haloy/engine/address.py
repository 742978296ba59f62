"""Where a container can be reached from here. Pure."""

from __future__ import annotations

from haloy.engine.interface import Container
from haloy.model.app import Address

HOST = "host"
NONE = "none"
SHARED = "container:"


def reachable_address(container: Container, network: str, port: int) -> Address | None:
    """Return where C{container} answers on C{port}, C{None} while it cannot.

    Its address on C{network}; without that network, on the one it is attached to
    (a network of the app's own, IPv6-only ones too); on the host's network,
    loopback. One that shares another container's network has no address of its own.
    """
    if container.network_mode == HOST:
        return Address("127.0.0.1", port)
    attachments = dict(container.networks)
    preferred = attachments.pop(network, None)
    for attachment in (preferred, *(attachments[name] for name in sorted(attachments))):
        if attachment is None:
            continue
        if attachment.ipv4:
            return Address(attachment.ipv4, port)
        if attachment.ipv6:
            return Address(attachment.ipv6, port)
    return None


def why_unreachable(container: Container) -> str:
    """Return why there is no address, for a person."""
    if container.network_mode == NONE:
        return "it has no network (network: none)"
    if container.network_mode.startswith(SHARED):
        return "it shares the network of another container"
    if not container.networks:
        return "it is attached to no network"
    return "Docker has given it no address"
