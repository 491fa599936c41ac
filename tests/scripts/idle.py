"""Holds connections to the submission door with TLS, each after its EHLO.

Orders, one JSON object a line: {"clients": N} has so many open from now on; answers {"open": N}.
Arguments: the house.
"""

import json
import socket
import sys

import clients

TOLD = clients.arguments()
CONTEXT = clients.tls()


def reply(stream):
    """Reads one reply, all its lines; returns its code."""
    text = b""
    while True:
        text += stream.recv(4096)
        last = text.split(b"\r\n")[-2] if text.endswith(b"\r\n") else b""
        if last[3:4] == b" ":
            return last[:3]


def greeted():
    plain = socket.create_connection((clients.HOST, TOLD["submissions"]), timeout=60)
    stream = CONTEXT.wrap_socket(plain)
    assert reply(stream) == b"220"
    stream.sendall(b"EHLO client.example.org\r\n")
    assert reply(stream) == b"250"
    return stream


def main():
    streams = []
    for line in sys.stdin:
        wanted = json.loads(line)["clients"]
        while len(streams) > wanted:
            streams.pop().close()
        while len(streams) < wanted:
            streams.append(greeted())
        clients.result({"open": len(streams)})


main()
