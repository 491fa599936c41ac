"""Two clients on one mailbox: what each is told about the other's changes, and when.

The client here is kept as simple as a phone's: it holds a list of UIDs by sequence number and
applies every EXISTS and EXPUNGE as it comes. After each few steps both lists must be what the
server has; an untagged answer in the wrong order, or one message number off, shows at once.
Arguments: the house. Result: the number of steps.
"""

import random
import re

import clients

TOLD = clients.arguments()
ACCOUNT = TOLD["accounts"][0]


class Phone:
    """A session with its own idea of the mailbox."""

    def __init__(self, name):
        self.name = name
        self.client = clients.imap(TOLD["imaps"], ACCOUNT)
        self.tags = 0
        self.exists = 0
        self.uids = []
        self.flags = {}
        self.said("SELECT INBOX")
        self.learn()

    def append(self, message, flags=""):
        """APPEND with a literal that does not wait (RFC 7888)."""
        self.said(f"APPEND INBOX ({flags}) {{{len(message)}+}}", message)

    def said(self, command, literal=None):
        """One command; every untagged line is applied in its order; the tagged line is returned."""
        self.tags += 1
        tag = f"{self.name}{self.tags}".encode()
        rest = b"" if literal is None else b"\r\n" + literal
        self.client.send(tag + b" " + command.encode() + rest + b"\r\n")
        during_fetch = re.match(r"(FETCH|STORE|SEARCH) ", command) is not None
        while True:
            line = self.read()
            if line.startswith(tag):
                assert b" OK" in line, (command, line)
                return line
            self.apply(line, during_fetch)

    def read(self):
        """A line, with its literals in place."""
        line = self.client.readline()
        assert line.endswith(b"\r\n"), f"{self.name}: the connection ended: {line!r}"
        while True:
            literal = re.search(rb"\{(\d+)\}\r\n$", line)
            if not literal:
                return line
            line = line[:literal.start()] + self.client.read(int(literal.group(1)))
            line += self.client.readline()

    def apply(self, line, during_fetch=False):
        words = line.split()
        assert words[0] == b"*", line
        if len(words) < 3 or not words[1].isdigit():
            if words[1].upper() == b"VANISHED":
                raise AssertionError("nobody asked for VANISHED")
            return
        number, kind = int(words[1]), words[2].upper()
        if kind == b"EXISTS":
            assert number >= len(self.uids), f"{self.name}: EXISTS {number} below {len(self.uids)}"
            self.uids += [None] * (number - len(self.uids))
        elif kind == b"EXPUNGE":
            # RFC 9051 7.5.1: not while a command is under way that speaks of message numbers.
            assert not during_fetch, f"{self.name}: {line!r} during FETCH, STORE or SEARCH"
            assert 1 <= number <= len(self.uids), f"{self.name}: {line!r} of {len(self.uids)}"
            self.flags.pop(self.uids.pop(number - 1), None)
        elif kind == b"FETCH":
            assert 1 <= number <= len(self.uids), f"{self.name}: {line!r} of {len(self.uids)}"
            uid = re.search(rb"\bUID (\d+)", line)
            if uid:
                known, self.uids[number - 1] = self.uids[number - 1], int(uid.group(1))
                assert known in (None, int(uid.group(1))), f"{self.name}: {line!r}, was {known}"
            flags = re.search(rb"FLAGS \(([^)]*)\)", line)
            if flags and self.uids[number - 1] is not None:
                # \Recent is each session's own.
                found = set(flags.group(1).split()) - {b"\\Recent"}
                self.flags[self.uids[number - 1]] = found

    def learn(self):
        """Asks for what it does not know yet."""
        # The FETCH may end with the news of yet another message.
        while None in self.uids:
            first = self.uids.index(None) + 1
            self.said(f"FETCH {first}:* (UID FLAGS)")

    def idle(self, until):
        """Waits in IDLE until `until` holds of this phone."""
        self.tags += 1
        tag = f"{self.name}{self.tags}".encode()
        self.client.send(tag + b" IDLE\r\n")
        assert self.read().startswith(b"+")
        while not until(self):
            self.apply(self.read())
        self.client.send(b"DONE\r\n")
        line = self.read()
        while not line.startswith(tag):
            self.apply(line)
            line = self.read()
        assert b" OK" in line, line
        self.learn()


def agree(one, two):
    """After a NOOP each knows what the server has."""
    for phone in (one, two):
        phone.said("NOOP")
        phone.learn()
    fresh = Phone("f")
    fresh.client.logout()
    for phone in (one, two):
        assert phone.uids == fresh.uids, (phone.name, phone.uids, fresh.uids)
        assert phone.flags == fresh.flags, (phone.name, phone.flags, fresh.flags)


def message(number):
    return f"Subject: {number}\r\n\r\nBody {number}\r\n".encode()


def step(phone, rng, number):
    """One change by one phone."""
    phone.learn()
    kind = rng.randint(0, 5) if phone.uids else 0
    if kind <= 1 or len(phone.uids) < 3:
        phone.append(message(number), rng.choice(["", r"\Seen", "$Todo"]))
        phone.learn()
        return
    at = rng.randint(1, len(phone.uids))
    flag = rng.choice([r"\Seen", r"\Flagged", r"\Answered", "$Todo"])
    if kind == 2:
        phone.said(f"STORE {at} {rng.choice('+-')}FLAGS ({flag})")
    elif kind == 3:
        meant = phone.uids[at - 1:]
        phone.said(f"STORE {at}:* +FLAGS.SILENT ({flag})")
        for uid in meant:
            phone.flags.setdefault(uid, set()).add(flag.encode())
    elif kind == 4:
        phone.said(f"STORE {at} +FLAGS.SILENT (\\Deleted)")
        if rng.randint(0, 1):
            phone.said("EXPUNGE")
        else:
            phone.flags.setdefault(phone.uids[at - 1], set()).add(b"\\Deleted")
    else:
        phone.said(f"MOVE {at} Trash")


def tell_in_idle(one, two):
    """What one does is pushed to the other that idles."""
    count = len(two.uids)
    one.append(message("idle"))
    two.idle(lambda phone: len(phone.uids) == count + 1)
    one.learn()
    one.said(r"STORE 1 FLAGS (\Draft)")
    two.idle(lambda phone: phone.flags[phone.uids[0]] == {b"\\Draft"})
    one.said(r"STORE 1 +FLAGS.SILENT (\Deleted)")
    one.said("EXPUNGE")
    two.idle(lambda phone: len(phone.uids) == count)


def no_expunge_during_fetch(one, two):
    """A message that one expunged still has its number at the other until it may be told."""
    one.said(r"STORE 1 +FLAGS.SILENT (\Deleted)")
    one.said("EXPUNGE")
    count = len(two.uids)
    # `apply` fails on an EXPUNGE here; the numbers above stay what they were.
    two.said("FETCH 2:* (UID FLAGS)")
    assert len(two.uids) == count
    two.said("NOOP")
    assert len(two.uids) == count - 1


def main():
    rng = random.Random(TOLD["seed"])
    one, two = Phone("a"), Phone("b")
    for number in range(6):
        one.append(message(number))
    agree(one, two)
    no_expunge_during_fetch(one, two)
    agree(one, two)
    tell_in_idle(one, two)
    agree(one, two)
    steps = TOLD["steps"]
    for number in range(steps):
        step(rng.choice([one, two]), rng, number)
        if number % 5 == 4:
            agree(one, two)
    agree(one, two)
    clients.result({"steps": steps, "messages": len(one.uids)})


main()
