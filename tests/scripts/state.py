"""Everything an account has: each mailbox with its UID validity and, by UID, flags and digest.

Arguments: the house; make: {mailbox: messages} to be made first; rename: {old: new}.
Result: the state.
"""

import base64
import re

import clients
from clients import ok

TOLD = clients.arguments()
ACCOUNT = TOLD["accounts"][0]


def encoded(name):
    """RFC 3501 5.1.3: the modified UTF-7 of mailbox names."""
    def run(match):
        text = base64.b64encode(match.group(0).encode("utf-16-be")).rstrip(b"=").replace(b"/", b",")
        return "&" + text.decode() + "-"
    return re.sub(r"[^\x20-\x7e]+", run, name.replace("&", "&-"))


def message(name, number):
    return f"Subject: {encoded(name)} {number}\r\n\r\nMessage {number}\r\n".encode()


def names(client):
    found = []
    for line in ok(client.list()):
        if isinstance(line, tuple):
            found.append(line[1].decode())
            continue
        match = re.match(rb'\(([^)]*)\) (?:"/"|NIL) (.*)$', line)
        assert match, line
        if b"\\Noselect" not in match.group(1):
            name = match.group(2).decode()
            found.append(name[1:-1].replace('\\"', '"') if name.startswith('"') else name)
    return found


def main():
    client = clients.imap(TOLD["imaps"], ACCOUNT)
    for name, count in TOLD.get("make", {}).items():
        ok(client.create(clients.quoted(encoded(name))))
        for number in range(count):
            flags = r"\Seen" if number % 2 else ""
            clients.append(client, encoded(name), message(name, number), flags)
    for old, new in TOLD.get("rename", {}).items():
        ok(client.rename(clients.quoted(encoded(old)), clients.quoted(encoded(new))))
    state = {}
    for name in names(client):
        ok(client.select(clients.quoted(name), readonly=True))
        messages = {}
        if clients.uids(client):
            answers = clients.fetch(client, "1:*", "(UID FLAGS BODY.PEEK[])")
            for uid, (text, literals) in answers.items():
                flags = re.search(rb"FLAGS \(([^)]*)\)", text).group(1).decode().split()
                messages[str(uid)] = {"flags": sorted(set(flags) - {"\\Recent"}),
                                      "digest": clients.digest(literals[0])}
        validity = client.response("UIDVALIDITY")[1][0].decode()
        state[name] = {"validity": validity, "messages": messages}
    client.logout()
    clients.result(state)


main()
