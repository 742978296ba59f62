"""Where C{engine.address} finds a container."""

from __future__ import annotations

import pytest

from haloy.engine.address import reachable_address, why_unreachable
from haloy.engine.interface import Attachment, Container, ContainerState
from haloy.model.app import Address


def container(mode: str, **networks: Attachment) -> Container:
    return Container(
        id="c",
        name="c",
        image="i",
        image_id="i",
        labels={},
        state=ContainerState.RUNNING,
        network_mode=mode,
        networks=networks,
    )


@pytest.mark.parametrize(
    ("found", "host"),
    [
        (container("haloy", haloy=Attachment("172.18.0.2")), "172.18.0.2"),
        (
            container(
                "haloy", a=Attachment("10.0.0.9"), haloy=Attachment("172.18.0.2")
            ),
            "172.18.0.2",
        ),
        (container("own", own=Attachment("10.0.0.9")), "10.0.0.9"),
        (container("six", six=Attachment(ipv6="fd00::2")), "fd00::2"),
        (container("host"), "127.0.0.1"),
        (container("none"), None),
        (container("container:abc"), None),
        (container("haloy", haloy=Attachment()), None),
    ],
)
def test_address(found: Container, host: str | None) -> None:
    """The wanted network first, then any; IPv6 where there is no IPv4."""
    address = reachable_address(found, "haloy", 80)
    assert address == (None if host is None else Address(host, 80))


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (container("none"), "no network"),
        (container("container:abc"), "shares the network"),
        (container("haloy"), "attached to no network"),
        (container("haloy", haloy=Attachment()), "no address"),
    ],
)
def test_why_unreachable(found: Container, words: str) -> None:
    """A person learns which setting it is."""
    assert words in why_unreachable(found)
