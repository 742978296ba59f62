"""The Huffman code of HPACK (RFC 7541 appendix B).

The code is canonical, so the lengths of its symbols say all of it. Decoding goes
an octet at a time through rows that are made when they are first needed.
"""

from __future__ import annotations

from typing import Final

# Length in bits of the code of each octet; the last one is EOS.
_LENGTHS: Final = """
    13 23 28 28 28 28 28 28 28 24 30 28 28 30 28 28 28 28 28 28 28 28 30 28 28 28 28
    28 28 28 28 28 6 10 10 12 13 6 8 11 10 10 8 11 8 6 6 6 5 5 5 6 6 6 6 6 6 6 7 8
    15 6 12 10 13 6 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 8 7 8 13 19 13 14 6
    15 5 6 5 6 5 6 6 6 5 7 7 6 6 6 5 6 7 6 5 5 6 7 7 7 7 7 15 11 14 13 28 20 22 20
    20 22 22 22 23 22 23 23 23 23 23 24 23 24 24 22 23 24 23 23 23 23 21 22 23 22 23
    23 24 22 21 20 22 22 23 23 21 23 22 22 24 21 22 23 23 21 21 22 21 23 22 23 23 20
    22 22 22 23 22 22 23 26 26 20 19 22 23 22 25 26 26 26 27 27 26 24 25 19 21 26 27
    27 26 27 24 21 21 26 26 28 27 27 27 20 24 20 21 22 21 21 23 22 22 25 25 24 24 26
    23 26 27 26 26 27 27 27 27 27 28 27 27 27 27 27 26 30
"""

_EOS: Final = 256

# One octet further: what it yields, and the node reached.
_Step = tuple[bytes, int]


class BadString(Exception):
    """A string that is not what the code can give."""


def _codes() -> list[tuple[int, int]]:
    """Return code and length of each symbol."""
    lengths = [int(text) for text in _LENGTHS.split()]
    codes = [(0, 0)] * len(lengths)
    code = previous = 0
    for length, symbol in sorted((length, n) for n, length in enumerate(lengths)):
        code <<= length - previous
        previous = length
        codes[symbol] = (code, length)
        code += 1
    return codes


def _tree(codes: list[tuple[int, int]]) -> list[list[int]]:
    """Return the nodes: two children each; a leaf is -1 - symbol, a node above 0."""
    nodes = [[0, 0]]
    for symbol, (code, length) in enumerate(codes):
        node = 0
        for bit in range(length - 1, 0, -1):
            side = code >> bit & 1
            if not nodes[node][side]:
                nodes.append([0, 0])
                nodes[node][side] = len(nodes) - 1
            node = nodes[node][side]
        nodes[node][code & 1] = -1 - symbol
    return nodes


_NODES: Final = _tree(_codes())
# Reached by what no string has; there is no way out of it.
_ERROR: Final = len(_NODES)
_rows: list[list[_Step] | None] = [None] * _ERROR + [[(b"", _ERROR)] * 256]


def _endings() -> frozenset[int]:
    """Return the nodes in which a string may end: up to 7 bits, all ones."""
    node = 0
    found = {node}
    for _ in range(7):
        node = _NODES[node][1]
        found.add(node)
    return frozenset(found)


_ENDINGS: Final = _endings()


def _step(start: int, octet: int) -> _Step:
    node = start
    yielded = bytearray()
    for bit in range(7, -1, -1):
        node = _NODES[node][octet >> bit & 1]
        if node < 0:
            symbol = -1 - node
            if symbol == _EOS:
                return b"", _ERROR
            yielded.append(symbol)
            node = 0
    return bytes(yielded), node


def _make(node: int) -> list[_Step]:
    row = _rows[node] = [_step(node, octet) for octet in range(256)]
    return row


def decode(data: bytes) -> bytes:
    """Return what C{data} stands for.

    @raise BadString: EOS inside, or an end that is no padding.
    """
    node = 0
    rows = _rows
    pieces: list[bytes] = []
    for octet in data:
        piece, node = (rows[node] or _make(node))[octet]
        pieces.append(piece)
    if node not in _ENDINGS:
        raise BadString("EOS inside a string, or an end inside a symbol")
    return b"".join(pieces)
