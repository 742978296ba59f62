"""What a proxy keeps on disk, so that it starts with routes and TLS without haloyd.

C{table.json}, and C{certs/index.json} with C{certs/DIGEST.pem}, all 0600 and replaced
so that a crash leaves old or new. A certificate's file is called by what is in it: a
new one stands beside the old one until the index names it, so that a crash or a full
disk between the two loses neither. What is damaged is moved aside and told; the rest
is served. Everything that touches a file blocks for the disk.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeVar

from attrs import field, frozen
from twisted.logger import Logger

from haloy.config.fragments import Fragments
from haloy.config.private import make_directory, set_aside, tidy, write_private
from haloy.model.certificate import Certificate, Secret
from haloy.model.names import DomainName
from haloy.proxy.control.changes import UnreadTable, unread_table
from haloy.proxy.control.route_text import route_of
from haloy.proxy.control.values import decode, encode
from haloy.proxy.routes import Route, RouteTable

_CHAIN: Final = b"-----BEGIN CERTIFICATE-----"
#: SHA-256 as the index has it: no way out of the folder.
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")

_T = TypeVar("_T")


@frozen
class Kept:
    """What workers start with."""

    settings: Mapping[str, Any] = field(factory=dict)
    table: UnreadTable = field(factory=UnreadTable)
    certificates: tuple[Certificate, ...] = ()


@frozen
class KeptTable:
    """The content of C{table.json}."""

    settings: Mapping[str, Any]
    table: RouteTable


@frozen
class KeptCertificate:
    """What C{index.json} says of one file; C{digest}: SHA-256 of it, and its name."""

    name: DomainName
    names: frozenset[DomainName]
    not_before: datetime
    not_after: datetime
    digest: str


class KeptFiles:
    """The folder."""

    _log = Logger()

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._whole: set[Path] = set()  # written, or read and found to be right
        self._exact = Fragments(_route)
        self._wildcard = Fragments(_route)

    @property
    def _table(self) -> Path:
        return self._folder / "table.json"

    @property
    def _certificates(self) -> Path:
        return self._folder / "certs"

    @property
    def _index(self) -> Path:
        return self._certificates / "index.json"

    # --- reading ------------------------------------------------------------------

    def load(self, now: datetime) -> Kept:
        """Return what was kept, as far as it is whole; what never was is removed."""
        for folder in (self._folder, self._certificates):
            tidy(folder)
        kept_table = self._load(self._table, self._read_table, now)
        table = kept_table or KeptTable({}, RouteTable())
        listed = self._load(self._index, _read_index, now) or ()
        found = (self._certificate(one, now) for one in listed)
        return Kept(
            table.settings,
            unread_table(table.table),
            tuple(one for one in found if one is not None),
        )

    def _load(self, path: Path, read: Callable[[Any], _T], now: datetime) -> _T | None:
        try:
            return read(json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError) as problem:
            self._set_aside(path, now, str(problem))
        except OSError as problem:
            self._log.error(
                "{path} cannot be read ({problem}): what is in it is served when "
                "haloyd has told it again",
                path=str(path),
                problem=problem.strerror,
            )
        return None

    def _read_table(self, value: Any) -> KeptTable:
        """Return the table without routes that another release may have understood.

        @raise ValueError: it is none.
        """
        routes: dict[str, dict[str, Route]] = {"exact": {}, "wildcard": {}}
        table = value.get("table") if isinstance(value, dict) else None
        if isinstance(table, dict):
            for kind, found in routes.items():
                if isinstance(table.get(kind), dict):
                    found |= self._read_routes(table[kind])
                    table[kind] = {}
        rest: KeptTable = decode(KeptTable, value)
        generation = rest.table.generation
        return KeptTable(rest.settings, RouteTable(generation, **routes))

    def _read_routes(self, told: Mapping[str, Any]) -> dict[str, Route]:
        found = {}
        for name, route in told.items():
            try:
                found[name] = route_of(route)
            except ValueError as problem:
                self._log.error(
                    "the route of {name} is left out: {problem}; it is there again "
                    "when haloyd has told it",
                    name=name,
                    problem=str(problem),
                )
        return found

    def _certificate(self, one: KeptCertificate, now: datetime) -> Certificate | None:
        if _DIGEST.fullmatch(one.digest) is None:
            self._log.error("{digest!r} names no file", digest=one.digest)
            return None
        path = self._path(one.digest)
        try:
            content = path.read_bytes()
        except OSError as problem:
            self._log.error(
                "the certificate of {name} cannot be read from {path}: {problem}",
                name=one.name,
                path=str(path),
                problem=problem.strerror,
            )
            return None
        start = content.find(_CHAIN)
        if sha256(content).hexdigest() != one.digest or start < 0:
            self._set_aside(path, now, "it is not what was written")
            return None
        self._whole.add(path)
        return Certificate(
            one.name,
            one.names,
            content[start:],
            Secret(content[:start]),
            one.not_before,
            one.not_after,
        )

    def _set_aside(self, path: Path, now: datetime, reason: str) -> None:
        try:
            aside = set_aside(path, now).name
        except OSError as problem:  # as good as it gets: what is whole is served
            aside = f"it was, {problem.strerror}"
        self._log.error(
            "{path} is not used ({reason}); kept as {aside}",
            path=str(path),
            reason=reason,
            aside=aside,
        )

    # --- writing ------------------------------------------------------------------

    def save_table(self, settings: Mapping[str, Any], table: UnreadTable) -> None:
        """Keep the table. @raise OSError: the disk does not take it."""
        begin = (
            f'{{"is":"KeptTable","settings":{json.dumps(settings)},"table":'
            f'{{"is":"RouteTable","generation":{table.generation},"exact":'
        )
        content = b"".join(
            [
                begin.encode("ascii"),
                *self._exact.object_of(table.exact),
                b',"wildcard":',
                *self._wildcard.object_of(table.wildcard),
                b"}}",
            ]
        )
        write_private(self._table, content)

    def save_certificates(self, certificates: tuple[Certificate, ...]) -> None:
        """Keep exactly these; only files of our own are ever removed.

        @raise OSError: the disk does not take them. Those from before stay.
        """
        make_directory(self._certificates)
        index = []
        wanted: set[Path] = set()
        for one in certificates:
            content = one.key.value.rstrip(b"\n") + b"\n" + one.chain
            digest = sha256(content).hexdigest()
            path = self._path(digest)
            if path not in self._whole:
                write_private(path, content)
            self._whole.add(path)
            wanted.add(path)
            index.append(
                KeptCertificate(
                    one.name, one.names, one.not_before, one.not_after, digest
                )
            )
        write_private(self._index, json.dumps(encode(index)).encode("ascii"))
        for path in self._certificates.glob("*.pem"):
            if path not in wanted and _DIGEST.fullmatch(path.stem):
                path.unlink(missing_ok=True)
        self._whole = wanted

    def _path(self, digest: str) -> Path:
        return self._certificates / f"{digest}.pem"


def _read_index(value: Any) -> tuple[KeptCertificate, ...]:
    index: tuple[KeptCertificate, ...] = decode(tuple[KeptCertificate, ...], value)
    return index


def _route(text: bytes) -> str:
    return text.decode("ascii")
