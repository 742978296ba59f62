"""Run the embedded proxy alone, for measurements.

usage: python -m bench.serve HTTP_PORT HTTPS_PORT APP_PORT WS_PORT UP_PORT PEM [stock]
                             [log=FILE] [combined]

Serves app, ws and up under example.com plainly and over TLS until it is killed.
Without a file (C{log=}) there is no access log.
"""

from __future__ import annotations

import datetime as dt
import gc
import os
import sys
from pathlib import Path

from haloy.model.app import Address, Domain, Protocol, ProxyOptions
from haloy.model.certificate import Certificate, Secret
from haloy.model.names import AppName, DomainName
from haloy.proxy.access_file import AccessFile, OwnFile
from haloy.proxy.embedded import EmbeddedProxy
from haloy.proxy.interface import AccessSettings
from haloy.proxy.routes import RoutedApp, RouteTable, Upstream, build_table
from haloy.proxy.settings import Settings
from haloy.proxy.tls.contexts import SniContexts


def contexts_of(pem: Path) -> SniContexts:
    """Return contexts that serve the one certificate in C{pem} for our names."""
    text = pem.read_bytes()
    start = text.index(b"-----BEGIN CERTIFICATE-----")
    now = dt.datetime.now(dt.UTC)
    contexts = SniContexts(("h2", "http/1.1"))
    contexts.replace(
        (
            Certificate(
                DomainName("*.example.com"),
                frozenset([DomainName("*.example.com")]),
                text[start:],
                Secret(text[:start]),
                now,
                now + dt.timedelta(days=1),
            ),
        )
    )
    return contexts


def table_of(app: int, ws: int, up: int, grpc: int = 0) -> RouteTable:
    """Return a table with 200 apps beside those that are measured."""
    others = [(f"app{number}", app) for number in range(200)]
    table, _ = build_table(
        1,
        None,
        [
            RoutedApp(
                AppName(name),
                (Domain(DomainName(f"{name}.example.com")),),
                (Upstream(name, Address("127.0.0.1", port)),),
            )
            for name, port in (("app", app), ("ws", ws), ("up", up), *others)
        ]
        + [
            RoutedApp(
                AppName("grpc"),
                (
                    Domain(DomainName("grpc.example.com")),
                    Domain(DomainName("default.example.com")),
                ),
                (Upstream("grpc", Address("127.0.0.1", grpc)),),
                ProxyOptions(protocol=Protocol.H2C),
            )
        ]
        * bool(grpc),
    )
    return table


def main() -> None:
    http, https, app, ws, up = map(int, sys.argv[1:6])
    contexts = contexts_of(Path(sys.argv[6]))
    if "stock" not in sys.argv:
        from haloy.proxy.reactor import install  # noqa: PLC0415 - before any reactor

        install()
    from twisted.internet import reactor  # noqa: PLC0415, TID251 - the entry point

    (named,) = [one[4:] for one in sys.argv if one.startswith("log=")] or [os.devnull]
    form = "combined" if "combined" in sys.argv else "json"
    settings = AccessSettings(form, redact=frozenset({"query"}))  # as by default
    log = AccessFile(reactor, OwnFile(Path(named)), settings) if named else None
    note = log.note if log else None
    plain = EmbeddedProxy(
        reactor, Settings(http=f"127.0.0.1:{http}", https=""), contexts, note
    )
    secure = EmbeddedProxy(
        reactor,
        Settings(http="", https=f"127.0.0.1:{https}", public_https=https),
        contexts,
        note,
    )
    calls = [int(one[5:]) for one in sys.argv if one.startswith("grpc=")]
    table = table_of(app, ws, up, *calls)
    for proxy in (plain, secure):
        proxy.startService()
        proxy._switch.replace_table(table)
    gc.collect()
    gc.freeze()
    reactor.run()


if __name__ == "__main__":
    main()
