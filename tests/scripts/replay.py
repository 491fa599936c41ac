"""Holds conversations from files (tests/corpus/smtp), over sockets and TLS, as their clients do.

    # ...                     what it is, and where it was seen
    @ Smtp keeps 1            the door, and how many messages it leaves behind
    S: 250 *                  an expected reply; `*` stands for any text; of many lines the last
    C: EHLO x                 a line the client sends, CRLF added; {user} {password} {plain} are
                              what ann logs in with, in base64
    c: a\\r\\n                  bytes as they are; \\r \\n \\t \\0 \\\\ \\xHH are understood
    b: text / B: text         a chunk, its BDAT before it; B: the last one
    -- tls                    both begin TLS
    -- closed                 the server ends the connection
    -- gone / -- reset        the client does, nicely or not

Arguments: the house; {"files": paths}. Orders: {"rounds": N} plays all N times; answers how many
messages that left, and the conversations that went otherwise.
"""

import base64
import json
import re
import socket
import struct
import sys

import clients

TOLD = clients.arguments()
ANN = TOLD["accounts"][0]
PATIENCE_S = 30
ESCAPES = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


def base64_of(text):
    return base64.b64encode(text.encode()).decode()


SECRETS = {
    "user": base64_of(ANN["address"]),
    "password": base64_of(ANN["password"]),
    "plain": base64_of("\0" + ANN["address"] + "\0" + ANN["password"]),
}


def unescape(text):
    def one(found):
        escape = found.group(1)
        return bytes.fromhex(escape[1:].decode()) if escape[:1] == b"x" else ESCAPES[escape]
    return re.sub(rb"\\(x[0-9a-fA-F]{2}|.)", one, text.encode())


class Conversation:
    def __init__(self, door):
        port = TOLD[door.lower()]
        self.stream = socket.create_connection((clients.HOST, port), timeout=PATIENCE_S)
        self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.unread = b""
        self.said = []

    def line(self):
        while b"\r\n" not in self.unread:
            try:
                read = self.stream.recv(4096)
            except ConnectionResetError:
                read = b""
            if not read:
                return b""
            self.unread += read
        line, self.unread = self.unread.split(b"\r\n", 1)
        self.said.append(f"S: {line.decode('latin-1')}")
        return line

    def reply(self):
        line = self.line()
        while line[3:4] == b"-":
            line = self.line()
        return line

    def send(self, data):
        self.said.append(f"C: {data[:200]!r}")
        try:
            self.stream.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # what the server says, or said, is compared all the same

    def expect(self, pattern):
        found = self.reply().decode("latin-1")
        wanted = ".*".join(re.escape(part) for part in pattern.split("*"))
        assert re.fullmatch(wanted, found), f"expected {pattern!r}, got {found!r}"

    def event(self, what):
        if what == "tls":
            self.stream = clients.tls().wrap_socket(self.stream)
        elif what == "closed":
            rest = self.line()
            assert not rest and not self.unread, f"expected the end, got {rest!r}"
        elif what == "reset":
            self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            assert what == "gone", what

    def step(self, word, text):
        for name, secret in SECRETS.items():
            text = text.replace("{" + name + "}", secret)
        if word == "S:":
            self.expect(text)
        elif word == "C:":
            self.send(unescape(text) + b"\r\n")
        elif word == "c:":
            self.send(unescape(text))
        elif word in ("b:", "B:"):
            chunk = unescape(text)
            last = b" LAST" if word == "B:" else b""
            self.send(b"BDAT %d%s\r\n%s" % (len(chunk), last, chunk))
        else:
            assert word == "--", word
            self.event(text)


def play(path):
    """Plays one; how many messages it leaves."""
    with open(path, encoding="utf-8") as file:
        lines = [line.rstrip("\n") for line in file]
    lines = [line for line in lines if line and not line.startswith("#")]
    door, _, count = lines[0].removeprefix("@ ").split()
    conversation = Conversation(door)
    try:
        for line in lines[1:]:
            word, _, text = line.partition(" ")
            conversation.step(word, text)
    except (AssertionError, OSError) as error:
        said = "\n".join(conversation.said)
        raise AssertionError(f"{path}: {line!r}: {error}\n{said}") from error
    finally:
        conversation.stream.close()
    return int(count)


def main():
    for line in sys.stdin:
        kept, problems = 0, []
        for _ in range(json.loads(line)["rounds"]):
            for path in TOLD["files"] if not problems else []:
                try:
                    kept += play(path)
                except AssertionError as error:
                    problems.append(str(error))
        clients.result({"kept": kept, "problems": problems})


main()
