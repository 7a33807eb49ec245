"""An HTTP/2 client that requests a stream, answers pings, and never reads its data."""

from __future__ import annotations

import asyncio
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
ACK, END_STREAM, END_HEADERS = 1, 1, 4
INITIAL_WINDOW_SIZE = 4


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return (
        struct.pack(">I", len(payload))[1:]
        + bytes([kind, flags])
        + struct.pack(">I", stream)
        + payload
    )


def literal(name: str, value: str) -> bytes:
    """A header field without indexing or Huffman coding (RFC 7541, 6.2.2)."""
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def request(path: str, authority: str, message: bytes) -> bytes:
    headers = b"".join(
        literal(name, value)
        for name, value in (
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", authority),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        )
    )
    body = b"\0" + struct.pack(">I", len(message)) + message
    no_window = struct.pack(">HI", INITIAL_WINDOW_SIZE, 0)
    return (
        PREFACE
        + frame(SETTINGS, 0, 0, no_window)
        + frame(HEADERS, END_HEADERS, 1, headers)
        + frame(DATA, END_STREAM, 1, body)
    )


async def until_cut_off(port: int, path: str, message: bytes) -> None:
    """Return once the server has reset the stream or hung up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(path, f"127.0.0.1:{port}", message))
    try:
        while True:
            head = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(head[:3]))
            kind, flags = head[3], head[4]
            if kind == PING and not flags & ACK:
                writer.write(frame(PING, ACK, 0, payload))
            elif kind == SETTINGS and not flags & ACK:
                writer.write(frame(SETTINGS, ACK, 0, b""))
            elif kind in (RST_STREAM, GOAWAY):
                return
    except (asyncio.IncompleteReadError, ConnectionError):
        return
    finally:
        writer.close()
