"""A name server on loopback that says what a test wants."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

#: Answers with this status instead of records.
NXDOMAIN = "NXDOMAIN"
SERVFAIL = "SERVFAIL"


@contextmanager
def name_server(records: Mapping[str, tuple[str, ...] | str]) -> Iterator[str]:
    """Answer for C{records} (addresses, or one of the statuses); yield HOST:PORT.

    What is no address is a text. A name that is not there gets no answer at all.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=_serve, args=(listening, records))
        thread.start()
        host, port = listening.getsockname()
        try:
            yield f"{host}:{port}"
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stop:
                stop.sendto(b"", (host, port))
            thread.join()


def _serve(
    listening: socket.socket, records: Mapping[str, tuple[str, ...] | str]
) -> None:
    while True:
        data, peer = listening.recvfrom(4096)
        if not data:
            return
        question = dns.message.from_wire(data)
        asked = question.question[0]
        found = records.get(asked.name.to_text(omit_final_dot=True).lower())
        if found is None:
            continue
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.RA
        if isinstance(found, str):
            answer.set_rcode(dns.rcode.from_text(found))
        else:
            kind = dns.rdatatype.to_text(asked.rdtype)
            fitting = [one for one in found if _kind(one) == kind]
            if fitting:
                answer.answer.append(
                    dns.rrset.from_text(asked.name, 60, "IN", kind, *fitting)
                )
        listening.sendto(answer.to_wire(), peer)


def _kind(record: str) -> str:
    try:
        return "AAAA" if ipaddress.ip_address(record).version == 6 else "A"
    except ValueError:
        return "TXT"
