"""STARTTLS against somebody in the middle: what was sent before TLS is never answered inside it.

The client writes STARTTLS and another command in one piece, as an attacker would who puts words
before a client's own (CVE-2011-0411 and its kin). The server may hang up; it may forget the rest;
it may not answer it once TLS is up. Arguments: the house. Result: what each door did, and problems.
"""

import socket
import ssl

import clients

TOLD = clients.arguments()
SMTP = {"before": [b"EHLO x.example.org\r\n"], "start": b"STARTTLS\r\n", "good": b"220",
        "probe": b"EHLO y.example.org\r\n", "answer": b"250"}
IMAP = {"before": [], "start": b"a1 STARTTLS\r\n", "good": b"a1 OK",
        "probe": b"a9 NOOP\r\n", "answer": b"a9 OK"}


def read_line(stream):
    line = b""
    while not line.endswith(b"\n"):
        byte = stream.recv(1)
        if not byte:
            return line
        line += byte
    return line


def read_reply(stream):
    line = read_line(stream)
    while line[3:4] == b"-":
        line = read_line(stream)
    return line


def inject(port, words, injected):
    """What the server does with `injected`: "hung up" or "forgot it"."""
    with socket.create_connection((clients.HOST, port), timeout=20) as stream:
        read_reply(stream)
        for line in words["before"]:
            stream.sendall(line)
            read_reply(stream)
        stream.sendall(words["start"] + injected)
        line = read_line(stream)
        if not line.startswith(words["good"]):
            return "hung up"
        try:
            inside = clients.tls().wrap_socket(stream, server_hostname="mail.grace.test")
        except (ssl.SSLError, ConnectionError):
            return "hung up"
        inside.settimeout(20)
        inside.sendall(words["probe"])
        line = read_line(inside)
        if not line:
            return "hung up"
        assert line.startswith(words["answer"]), f"the first answer inside TLS is {line!r}"
        return "forgot it"


def main():
    did, problems = {}, []
    for name, port, words, injected in (
            ("smtp", TOLD["smtp"], SMTP, b"MAIL FROM:<evil@example.org>\r\n"),
            ("submission", TOLD["submission"], SMTP, b"NOOP\r\n"),
            ("imap", TOLD["imap"], IMAP, b"a2 CAPABILITY\r\n"),
            ("imap literal", TOLD["imap"], IMAP, b"a2 LOGIN {4}\r\n")):
        try:
            did[name] = inject(port, words, injected)
        except (AssertionError, OSError) as error:
            problems.append(f"{name}: {error!r}")
    clients.result({"did": did, "problems": problems})


main()
