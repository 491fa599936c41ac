"""What the scripts share: how they are told what to do, log in, and read an answer.

Only the standard library: smtplib and imaplib stand for clients nobody here wrote. Passwords go
over TLS; the certificate is the daemon's own and is not checked here (tests of TLS check it).
"""

import hashlib
import imaplib
import json
import re
import socket
import ssl
import sys

HOST = "127.0.0.1"
# Header fields a receiver may add above a message: RFC 5321 4.4, RFC 8601, and no others.
ADDED = (b"return-path:", b"received:", b"delivered-to:", b"authentication-results:")

# Python limits lines and literals of its own accord; mail may be larger than that.
imaplib._MAXLINE = 64 * 1024 * 1024


def arguments():
    """The one argument: a JSON object, or {"file": path} of one that is too long."""
    told = json.loads(sys.argv[1])
    if "file" in told:
        with open(told["file"], encoding="utf-8") as file:
            told = json.load(file)
    return told


def result(value):
    """The last line: the script's result."""
    print(json.dumps(value), flush=True)


CHECKS = []


def check(run):
    """Marks a function as one check of a script that has several."""
    CHECKS.append(run)
    return run


def run_checks():
    """Runs every marked check, also after one that fails, and tells all."""
    problems = []
    for run in CHECKS:
        try:
            run()
        except Exception as error:  # whatever it is, it belongs to this check
            problems.append(f"{run.__name__}: {error!r}"[:800])
            print(problems[-1])
    result({"checks": len(CHECKS), "problems": problems})


def tls():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def imap(port, account, mailbox=None, timeout=60):
    """A logged-in session through the IMAPS port."""
    client = imaplib.IMAP4_SSL(HOST, port, ssl_context=tls(), timeout=timeout)
    # imaplib writes a literal and its CRLF apart; without this the second waits for the first.
    client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ok(client.login(account["address"], account["password"]))
    if mailbox is not None:
        ok(client.select(quoted(mailbox)))
    return client


def quoted(text):
    """An IMAP string, whatever is in the text."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def ok(answer):
    """The data of an answer that must be OK."""
    kind, data = answer
    assert kind == "OK", (kind, data)
    return data


def append(client, mailbox, message, flags="", timeout=60):
    """APPEND of exactly these bytes (imaplib's own would mend the line ends); the new UID."""
    client.literal = message
    # imaplib sends the literal when it is asked to go on, and clears it.
    name = f"({flags})" if flags else None
    arguments = [quoted(mailbox)] + ([name] if name else [])
    data = ok(client._simple_command("APPEND", *arguments))
    found = re.search(rb"\[APPENDUID (\d+) (\d+)\]", data[0] or b"")
    assert found, f"no APPENDUID in {data!r}"
    return int(found.group(2))


def fetch(client, uids, items):
    """UID FETCH as {uid: (attributes text, [literals])}; what imaplib gives in pieces, joined."""
    data = ok(client.uid("FETCH", uids, items))
    answers, text, literals = {}, b"", []
    for piece in data:
        if isinstance(piece, tuple):
            text += piece[0] + b" "
            literals.append(piece[1])
            continue
        if piece is None:
            continue
        text += piece
        # A message's answer ends with the piece that is no tuple.
        uid = re.search(rb"\bUID (\d+)", text)
        if uid:
            answers[int(uid.group(1))] = (text, literals)
        text, literals = b"", []
    return answers


def bodies(client, uids="1:*"):
    """UID FETCH BODY.PEEK[] as {uid: bytes}."""
    return {uid: literals[0] if literals else b"" for uid, (_, literals)
            in fetch(client, uids, "(UID BODY.PEEK[])").items()}


def uids(client, criteria="ALL"):
    """UID SEARCH, in the order the server gives."""
    return [int(uid) for uid in (ok(client.uid("SEARCH", criteria))[0] or b"").split()]


def digest(message):
    return hashlib.sha256(message).hexdigest()


def difference(stored, sent):
    """Why `stored` is not `sent` below added header fields; None where it is."""
    if not stored.endswith(sent):
        end = stored[-len(sent):] if sent else b""
        return f"the end is not the {len(sent)} bytes sent: {first_difference(end, sent)}"
    added = stored[:len(stored) - len(sent)]
    if not added.endswith(b"\r\n"):
        return f"something is added inside the message: {added[-80:]!r}"
    for line in added[:-2].split(b"\r\n"):
        folded = line[:1] in (b" ", b"\t")
        if not folded and not line.lower().startswith(ADDED):
            return f"an added line: {line!r}"
    return None


def first_difference(one, two):
    for at, (a, b) in enumerate(zip(one, two)):
        if a != b:
            return f"at {at}: {one[at:at + 40]!r}, not {two[at:at + 40]!r}"
    return f"lengths {len(one)} and {len(two)}"
