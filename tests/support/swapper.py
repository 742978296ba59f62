"""haloyd's part of a stream of tables, as a process that can be killed.

usage: python -m tests.support.swapper CONTROL APP_PORT

Twenty tables a second; a line of output says which was acknowledged last. In each,
C{app.example.com} leads to the app, C{which.example.com} is an alias of
C{gN.example.com}, where N is its number, and a tenth of many other routes is new.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from haloy.model.app import Address, Domain
from haloy.model.names import AppName, DomainName
from haloy.proxy.control.client import RemoteProxy
from haloy.proxy.control.dial import ProxyUnavailable
from haloy.proxy.routes import RoutedApp, RouteTable, Upstream, build_table

OTHERS = 300
EACH_S = 0.05


def table(number: int, port: int) -> RouteTable:
    """Return the table of that number."""
    other = Address("127.0.0.1", port)
    names = [f"other{one}" for one in range(OTHERS)]
    apps = [
        _app("app", (Domain(DomainName("app.example.com")),), "app", other),
        _app(
            "which",
            (
                Domain(
                    DomainName(f"g{number}.example.com"),
                    (DomainName("which.example.com"),),
                ),
            ),
            "which",
            other,
        ),
        *(
            _app(
                name,
                (Domain(DomainName(f"{name}.example.com")),),
                f"{name}-{(number + place) // 10}",
                other,
            )
            for place, name in enumerate(names)
        ),
    ]
    return build_table(number, None, apps)[0]


def _app(
    name: str, domains: tuple[Domain, ...], key: str, address: Address
) -> RoutedApp:
    return RoutedApp(AppName(name), domains, (Upstream(key, address),))


async def swap(reactor: Any, control: str, port: int) -> None:
    """Swap tables until the process ends."""
    proxy = RemoteProxy(reactor, control, {})
    proxy.startService()
    number = 0
    while True:
        number += 1
        with suppress(ProxyUnavailable):  # for so long: on a busy machine
            await proxy.replace_table(table(number, port))
            print(number, flush=True)
        await deferLater(reactor, EACH_S)


if __name__ == "__main__":
    swapping = Deferred.fromCoroutine(swap(installed, sys.argv[1], int(sys.argv[2])))
    swapping.addErrback(lambda failure: failure.printTraceback())
    swapping.addBoth(lambda _: installed.stop())
    installed.run()
