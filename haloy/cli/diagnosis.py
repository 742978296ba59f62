"""What C{haloy doctor} looks at: each check says what is, and what to do next.

Blocking and short: every one of them ends within L{LIMIT_S}.
"""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any

from attrs import frozen

from haloy.api.through_proxy import proxy_for
from haloy.config.client_file import base_url, is_local, split_server

LIMIT_S = 5.0
#: Tokens with an end and certificates do not take more.
SKEW_LIMIT_S = 60.0
EXPIRES_SOON_DAYS = 14


class Level(Enum):
    """How it stands."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@frozen
class Check:
    """One thing looked at; C{next_step} is what to do when it is not fine."""

    name: str
    level: Level
    text: str
    next_step: str = ""


def docker_here(needed: bool) -> Check:
    """Return whether images can be built on this machine."""
    level = Level.FAIL if needed else Level.WARN
    if shutil.which("docker") is None:
        step = "install Docker, or deploy images that exist (`image: …`)"
        return Check("docker here", level, "is not installed", step)
    try:
        done = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Check("docker here", level, "does not answer", "restart Docker")
    if done.returncode:
        said = (done.stderr.strip() or "does not answer").splitlines()[-1]
        step = "start Docker, and see that you may use it (group docker)"
        return Check("docker here", level, said, step)
    return Check("docker here", Level.OK, f"Docker {done.stdout.strip()}")


def addresses(host: str) -> list[str]:
    """Return the addresses of C{host}, sorted; none when it does not resolve.

    Names below C{localhost} are this machine (RFC 6761 section 6.3): browsers and curl
    know that, not every resolver does.
    """
    if host.lower().endswith(".localhost"):
        host = "localhost"
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return sorted({str(one[4][0]) for one in found})


def name_of_server(server: str) -> Check:
    """Return whether the server's name leads to an address."""
    host = split_server(server)[0]
    found = addresses(host)
    if not found:
        step = f"add an A or AAAA record for {host}, or correct the name"
        return Check("DNS", Level.FAIL, f"{host} does not resolve", step)
    return Check("DNS", Level.OK, f"{host} is {', '.join(found)}")


def port_of_server(server: str) -> Check:
    """Return whether the server's port takes a connection."""
    host, port = split_server(server)
    port = port or (80 if is_local(server) else 443)
    try:
        socket.create_connection((host, port), LIMIT_S).close()
    except OSError as problem:
        step = (
            f"check that haloyd runs and that the firewall lets {port} through; "
            "behind a proxy set HTTPS_PROXY"
        )
        return Check("port", Level.FAIL, f"{host}:{port}: {problem}", step)
    return Check("port", Level.OK, f"{host}:{port} is open")


def proxy_to_server(server: str, environment: Mapping[str, str]) -> Check | None:
    """Return whether the proxy is there by which the server is reached, if any."""
    proxy = (
        None if is_local(server) else proxy_for(split_server(server)[0], environment)
    )
    if proxy is None:
        return None
    where = f"{proxy.host}:{proxy.port}"
    try:
        socket.create_connection((proxy.host, proxy.port), LIMIT_S).close()
    except OSError as problem:
        step = "correct HTTPS_PROXY, or name the server in NO_PROXY"
        return Check("proxy", Level.FAIL, f"{where}: {problem}", step)
    return Check("proxy", Level.OK, f"by {where}: DNS and ports of here do not count")


def certificate_of_server(server: str, ca_file: str, now: datetime) -> Check | None:
    """Return how the server's certificate stands; C{None}: it has none."""
    if is_local(server):
        return None
    host, port = split_server(server)
    context = ssl.create_default_context(cafile=ca_file or None)
    try:
        with (
            socket.create_connection((host, port or 443), LIMIT_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            found: Any = secured.getpeercert()
    except ssl.SSLCertVerificationError as problem:
        step = (
            f"haloyd has no certificate for {host} yet (see `journalctl -u haloyd`), "
            "or name your own authority: haloy server add --ca-file"
        )
        return Check("certificate", Level.FAIL, problem.verify_message, step)
    except OSError as problem:
        return Check("certificate", Level.FAIL, str(problem), "see the port above")
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(found["notAfter"]), UTC)
    days = (ends - now).days
    text = f"valid until {ends:%Y-%m-%d}, {days} days"
    if days < EXPIRES_SOON_DAYS:
        step = "haloyd ought to have renewed it: see `haloy server logs`"
        return Check("certificate", Level.WARN, text, step)
    return Check("certificate", Level.OK, text)


def health_of_server(server: str, ca_file: str, now: datetime) -> Iterator[Check]:
    """Yield whether haloyd answers, and whether its clock is ours."""
    url = f"{base_url(server)}/health"
    context = ssl.create_default_context(cafile=ca_file or None)
    try:
        with urllib.request.urlopen(  # noqa: S310  (http or https, by base_url)
            url, timeout=LIMIT_S, context=context
        ) as answer:
            date = answer.headers.get("Date")
    except urllib.error.HTTPError as problem:
        step = "is haloyd behind that name? see api.domain in haloyd.yaml"
        yield Check("haloyd", Level.FAIL, f"{url} answers {problem.code}", step)
        return
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "reason", problem)
        step = "start haloyd: systemctl start haloyd"
        yield Check("haloyd", Level.FAIL, f"{url}: {reason}", step)
        return
    yield Check("haloyd", Level.OK, "answers")
    try:
        skew_s = abs((parsedate_to_datetime(str(date)) - now).total_seconds())
    except (ValueError, TypeError):
        return
    if skew_s > SKEW_LIMIT_S:
        step = "set both clocks by NTP: timedatectl set-ntp true"
        text = f"the server's clock and this one differ by {skew_s:.0f} s"
        yield Check("clock", Level.WARN, text, step)
    else:
        yield Check("clock", Level.OK, "the same here and there")


def domain(name: str, server: str) -> Check:
    """Return whether a domain of an app leads to its server."""
    wanted = "www." + name[2:] if name.startswith("*.") else name
    found, own = addresses(wanted), addresses(split_server(server)[0])
    if not found:
        step = f"add an A record for {name}: {', '.join(own) or 'its address'}"
        return Check(f"domain {name}", Level.FAIL, "does not resolve", step)
    if own and not set(found) & set(own):
        step = f"point it to {', '.join(own)}, unless a CDN is in front"
        text = f"is {', '.join(found)}, not the server"
        return Check(f"domain {name}", Level.WARN, text, step)
    return Check(f"domain {name}", Level.OK, f"is {', '.join(found)}")


def answers_of_server(
    version: dict[str, Any], ready: dict[str, Any], own: str
) -> Iterator[Check]:
    """Yield what haloyd says of itself: its version, and what of it works."""
    there = str(version.get("haloyd") or "unknown")
    if there == own:
        yield Check("version", Level.OK, f"{own} here and there")
    else:
        step = "upgrade the older of the two"
        text = f"{own} here, {there} there"
        yield Check("version", Level.WARN, text, step)
    steps = {
        "docker": "on the server: systemctl status docker",
        "proxy": "on the server: ss -ltnp 'sport = :443', journalctl -u haloyd",
        "database": "on the server: df -h, journalctl -u haloyd",
        "config": "on the server: haloyd verify",
    }
    for part, step in steps.items():
        said = str(ready.get(part) or "")
        if said == "ok":
            yield Check(f"server's {part}", Level.OK, "works")
        elif said:
            yield Check(f"server's {part}", Level.FAIL, said, step)


def certificates_of_app(status: dict[str, Any]) -> Iterator[Check]:
    """Yield how the certificates of an app's domains stand."""
    for one in status.get("certificates") or []:
        name, state = f"certificate {one.get('name')}", str(one.get("state"))
        if one.get("notAfter") and not one.get("reason"):
            text = f"{state} until {str(one['notAfter'])[:10]}"
            yield Check(name, Level.OK, text)
        else:
            text = ": ".join(filter(None, (state, one.get("reason"))))
            step = (
                f"haloy tries on; `haloy certs show {one.get('name')}` tells more. The "
                "domain has to lead here, port 80 to be open"
            )
            yield Check(name, Level.WARN, text, step)
