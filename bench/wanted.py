"""What the figures of L{bench.whole} must be, and what is aimed at."""

from __future__ import annotations

from attrs import frozen


@frozen
class Wanted:
    """What must be, interpreted and compiled, and what is aimed at; times nginx.

    C{least}: these are lower limits. C{absolute}: they are in the row's unit.
    """

    interpreted: float
    compiled: float
    aim: float
    least: bool = False
    absolute: bool = False

    def said(self, name: str, value: float, ratio: float) -> str:
        """Return what is to be said of a row of ours, C{""} of another's."""
        if name not in FORMS:
            return ""
        must = self.compiled if name == "compiled" else self.interpreted
        found = value if self.absolute else ratio
        held = found >= must if self.least else found <= must
        return f"  must {must:g}{'' if held else ' MISSED'}  aim {self.aim:g}"


FORMS = ("interpreted", "compiled")
WANTED = {
    "GET 1 KiB, browser's head": Wanted(2.0, 1.6, 1.15),
    "GET 1 KiB, browser's head, TLS": Wanted(2.0, 1.6, 1.2),
    "GET 100 KiB": Wanted(0.7, 0.7, 0.45),
    "download 10 MiB": Wanted(0.25, 0.25, 0.15),
    "download 10 MiB, TLS": Wanted(0.9, 0.9, 0.6),
    "upload 10 MiB": Wanted(0.4, 0.4, 0.2),
    "handshake": Wanted(1.5, 1.5, 1.2),
    "handshake, resumed": Wanted(1.5, 1.5, 1.2),
    "handshake alone": Wanted(1.5, 1.5, 1.2),
    "handshake alone, resumed": Wanted(1.5, 1.5, 1.2),
    "WebSocket message": Wanted(1.5, 1.5, 1.1),
    "WebSocket message, TLS": Wanted(1.5, 1.5, 1.1),
    "two workers, GET 1 KiB": Wanted(0.7, 0.7, 0.95, least=True),
    "idle, kept alive": Wanted(4, 4, 1, absolute=True),
    "idle WebSocket, TLS": Wanted(25, 25, 14, absolute=True),
    "a worker at rest": Wanted(45, 45, 25, absolute=True),
}
