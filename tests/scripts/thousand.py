"""Sends many messages over several connections to the MX port while another client is in IDLE,
then compares what arrived byte for byte.

Arguments: the house; messages, connections. Result: figures, and a list of problems.
"""

import base64
import random
import smtplib
import threading
import time

import clients

TOLD = clients.arguments()
ACCOUNT = TOLD["accounts"][0]
PATIENCE_S = 120


def message(number, rng):
    """One message of many shapes; every one ends with CRLF, as one sent with DATA must."""
    head = (f"From: Sender {number} <sender{number}@example.org>\r\nTo: {ACCOUNT['address']}\r\n"
            f"Subject: Message {number}\r\nMessage-ID: <{number}@example.org>\r\n").encode()
    kind = number % 8
    if kind == 0:
        body = b"\r\nA plain line.\r\n"
    elif kind == 1:
        body = b"\r\n.\r\n..\r\n.dots.\r\n...\r\n.\r\n"
    elif kind == 2:
        body = b"Content-Type: text/plain; charset=utf-8\r\n\r\n"
        body += "Grüße, 世界 🌍\r\n".encode() * 40
    elif kind == 3:
        body = b"\r\n" + b"x" * 998 + b"\r\n" + b"." + b"y" * 997 + b"\r\n"
    elif kind == 4:
        data = base64.encodebytes(rng.randbytes(rng.randint(10_000, 60_000)))
        data = data.replace(b"\n", b"\r\n")
        body = (b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
                b"--b\r\n\r\nhi\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\n" + data +
                b"\r\n--b--\r\n")
    elif kind == 5:
        body = b"\r\n"
    elif kind == 6:
        body = b"\r\n" + b"\r\n" * 50 + b" \t \r\n"
    else:
        text = bytes(b for b in rng.randbytes(rng.randint(1, 4_000)) if b not in b"\r\n\0")
        lines = [text[at:at + 500] for at in range(0, len(text), 500)]
        body = b"\r\n" + b"\r\n".join(lines) + b"\r\n"
    return head + body


def send(numbers, messages, problems):
    try:
        with smtplib.SMTP(clients.HOST, TOLD["smtp"], "client.example.org", timeout=60) as client:
            client.ehlo()
            assert client.has_extn("8bitmime") and client.has_extn("size")
            for number in numbers:
                sender = f"sender{number}@example.org"
                refused = client.sendmail(sender, [ACCOUNT["address"]], messages[number],
                                          ["BODY=8BITMIME", f"SIZE={len(messages[number])}"])
                assert not refused, refused
    except Exception as error:  # told to the test, which fails with it
        problems.append(f"sender: {error!r}")


class Idler(threading.Thread):
    """A client in IDLE that writes down what it is told, and when."""

    def __init__(self, wanted):
        super().__init__(daemon=True)
        self.client = clients.imap(TOLD["imaps"], ACCOUNT, "INBOX", timeout=PATIENCE_S)
        assert b"IDLE" in self.client.capabilities or "IDLE" in self.client.capabilities
        self.wanted = wanted
        self.announced = []
        self.problem = None
        self.client.send(b"i1 IDLE\r\n")
        line = self.client.readline()
        assert line.startswith(b"+"), line

    def run(self):
        try:
            while not self.announced or self.announced[-1][1] < self.wanted:
                words = self.client.readline().split()
                assert words and words[0] == b"*", words
                if words[-1].upper() == b"EXISTS":
                    self.announced.append((time.monotonic(), int(words[1])))
        except Exception as error:  # told to the test, which fails with it
            self.problem = f"idle: {error!r} after {self.announced[-3:]}"

    def finish(self):
        self.client.send(b"DONE\r\n")
        line = b"*"
        while line.startswith(b"*"):
            line = self.client.readline()
        assert line.startswith(b"i1 OK"), line
        counts = [count for _, count in self.announced]
        assert counts == sorted(counts), "EXISTS never falls while nothing is expunged"


def main():
    count, connections = TOLD["messages"], TOLD["connections"]
    rng = random.Random(TOLD["seed"])
    messages = [message(number, rng) for number in range(count)]
    problems = []
    idler = Idler(count)
    idler.start()
    begun = time.monotonic()
    shares = [range(at, count, connections) for at in range(connections)]
    senders = [threading.Thread(target=send, args=(share, messages, problems)) for share in shares]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    sent_s = time.monotonic() - begun
    idler.join(PATIENCE_S if not problems else 1)
    if idler.problem:
        problems.append(idler.problem)
    seen = idler.announced[-1] if idler.announced else (begun, 0)
    if not problems:
        idler.finish()

    reader = clients.imap(TOLD["imaps"], ACCOUNT, "INBOX")
    left = {f"<{number}@example.org>".encode(): sent for number, sent in enumerate(messages)}
    stored = clients.bodies(reader)
    for uid, body in stored.items():
        name = next((line.split()[1] for line in body.split(b"\r\n")
                     if line.startswith(b"Message-ID:")), None)
        sent = left.pop(name, None)
        if sent is None:
            problems.append(f"uid {uid}: {name!r} was not sent, or is here twice")
            continue
        differs = clients.difference(body, sent)
        if differs:
            problems.append(f"uid {uid} {name!r}: {differs}")
        top = body.split(b"\r\n", 1)[0].lower()
        if not top.startswith(b"return-path: <sender"):
            problems.append(f"uid {uid}: the first line is {top!r}, not its return path")
    problems += [f"lost: {name!r}" for name in left]
    clients.result({
        "arrived": len(stored),
        "announced": seen[1],
        "announcements": len(idler.announced),
        "sent_s": round(sent_s, 2),
        "last_announced_ms_after": round((seen[0] - begun - sent_s) * 1000),
        "problems": problems[:20],
    })


main()
