"""What Docker says, as it is passed on."""

from __future__ import annotations

import pytest

from haloy.model.places import without_internals, without_places

HEX = "39c01afa1c7b1b2d9111382f76650296d5d4abeadac3462afabe645a75e6a29b"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "loading failed: open /var/lib/docker/tmp/x-1/repositories: no such file",
            "loading failed: open …: no such file",
        ),
        ("dial tcp 10.20.0.3:8080: connect: refused", "dial tcp …: connect: refused"),
        ("lookup x on [fd00::1]:53: no such host", "lookup x on …: no such host"),
        ("cannot connect to unix:///var/run/docker.sock", "cannot connect to …"),
        (
            'Get "https://ghcr.example/v2/": ghcr.example/team/app:1.2.3.4 denied',
            'Get "https://ghcr.example/v2/": ghcr.example/team/app:1.2.3.4 denied',
        ),
        ("no image 10.1.2.3:5000/team/shop:1;", "no image 10.1.2.3:5000/team/shop:1;"),
        ("no image [fd00::1]:5000/team/shop", "no image [fd00::1]:5000/team/shop"),
        ("no room in subnet 10.1.2.0/24", "no room in subnet …/24"),
        ("not found: manifest unknown", "not found: manifest unknown"),
        ("it took 12:30:10, or 1.2.3", "it took 12:30:10, or 1.2.3"),
    ],
)
def test_places_are_left_out(said: str, shown: str) -> None:
    """Paths and addresses are nobody's business (A20); references and URLs stay."""
    assert without_places(said) == shown


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            f'mounting "/dev/null" to rootfs at "/etc/x/y": open o_path procfd: '
            f"open /var/lib/docker/overlay2/{HEX}/merged/etc/x/y: not a directory",
            'mounting "/dev/null" to rootfs at "/etc/x/y": open o_path procfd: '
            "open /etc/x/y: not a directory",
        ),
        (
            'exec: "/app/bin/start": stat /app/bin/start: no such file or directory',
            'exec: "/app/bin/start": stat /app/bin/start: no such file or directory',
        ),
        (f"open /mnt/docker/vfs/dir/{HEX}/x: denied", "open …: denied"),
        ("write /var/lib/docker/tmp/GetImageBlob1: no space", "write …: no space"),
        ("connect to /run/containerd/containerd.sock: gone", "connect to …: gone"),
        ("ping unix:///var/run/docker.sock failed", "ping … failed"),
        ("dial tcp 172.18.0.3:443: refused", "dial tcp …: refused"),
        ("no image 10.0.0.1:5000/people/shop", "no image 10.0.0.1:5000/people/shop"),
        ("no image 10.0.0.1:5000/7zip:2", "no image 10.0.0.1:5000/7zip:2"),
        ("no image 10.0.0.1:5000/7/zip", "no image 10.0.0.1:5000/7/zip"),
        ("no image 10.0.0.1:5000/7:2", "no image 10.0.0.1:5000/7:2"),
        ("pool 10.0.0.0/24: overlaps", "pool …/24: overlaps"),
        ("/healthz answered 503", "/healthz answered 503"),
        (f"no image sha256:{HEX}", f"no image sha256:{HEX}"),
    ],
)
def test_only_what_is_the_servers_is_left_out(said: str, shown: str) -> None:
    """Who deploys finds the file that is wrong, and nothing of the server's disk."""
    assert without_internals(said) == shown
