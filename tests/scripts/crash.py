"""Delivers and appends on many connections until the server dies, remembers what was acknowledged,
and compares it with what is there after the restart. A partner: one order and one answer a line.

    {"do": "send", ports…}   starts; answers at the first acknowledgement
    {"do": "died"}           waits for every connection's end; answers how much was acknowledged
    {"do": "check", ports…}  compares what is new since the last check, and every UID
    {"do": "compare", …}     compares everything once more

Every message carries its name and the digest of its body, so that half of one cannot pass. Every
delivery has two recipients: it must be with both or with neither.
"""

import collections
import json
import random
import re
import smtplib
import sys
import threading

import clients

TOLD = clients.arguments()
ACCOUNTS = TOLD["accounts"]
FIRST, SECOND = ACCOUNTS
APPENDS = "Appended"
SENDERS = 6
# Where a message lies: (account number, mailbox).
INBOXES = [(0, "INBOX"), (1, "INBOX")]
APPENDED = (0, APPENDS)


class Memory:
    """What the clients were told, and what they do not know."""

    def __init__(self):
        self.lock = threading.Lock()
        self.delivered, self.appended = set(), {}
        self.unsure = set()
        self.flagged, self.gone = set(), set()
        self.flags_unsure, self.gone_unsure = set(), set()
        self.first = threading.Event()
        self.surprises = []

    def note(self, change):
        with self.lock:
            change()
        self.first.set()


memory = Memory()
threads = []
round_number = 0
# (account, mailbox) -> {uid: name}: what a client has seen there once, and may never change.
seen = {place: {} for place in INBOXES + [APPENDED]}


def message(name, rng):
    size = rng.choice([200, 200, 2_000, 2_000, 20_000, 200_000])
    body = b"".join(b"%016x%016x\r\n" % (rng.getrandbits(64), rng.getrandbits(64))
                    for _ in range(size // 34 + 1))
    head = (f"From: <crash@example.org>\r\nSubject: {name}\r\n"
            f"X-Digest: {clients.digest(body)}\r\n\r\n")
    return head.encode() + body


def deliver(port, lane, rng):
    """Sends until the connection breaks."""
    name = None
    try:
        client = smtplib.SMTP(clients.HOST, port, "client.example.org", timeout=60)
        for number in range(100_000):
            name = f"d-{round_number}-{lane}-{number}"
            body = message(name, rng)
            with memory.lock:
                memory.unsure.add(name)
            refused = client.sendmail("crash@example.org", [a["address"] for a in ACCOUNTS], body)
            assert not refused, refused
            memory.note(lambda: (memory.delivered.add(name), memory.unsure.discard(name)))
    except (OSError, smtplib.SMTPServerDisconnected):
        return  # the server is dead; `name` stays unsure
    except Exception as error:
        memory.surprises.append(f"{name}: {error!r}")


def append(port, rng):
    """Appends, flags and expunges until the connection breaks."""
    name = None
    try:
        client = clients.imap(port, FIRST, APPENDS)
        for number in range(100_000):
            name = f"a-{round_number}-{number}"
            with memory.lock:
                memory.unsure.add(name)
            uid = clients.append(client, APPENDS, message(name, rng))

            def appended():
                memory.appended[name] = uid
                memory.unsure.discard(name)
            memory.note(appended)
            if number % 3 == 0:
                memory.flags_unsure.add(name)
                clients.ok(client.uid("STORE", str(uid), "+FLAGS.SILENT", r"(\Flagged keyword)"))
                memory.note(lambda: memory.flagged.add(name))
            if number % 5 == 0:
                memory.gone_unsure.add(name)
                clients.ok(client.uid("STORE", str(uid), "+FLAGS.SILENT", r"(\Deleted)"))
                clients.ok(client.uid("EXPUNGE", str(uid)))
                memory.note(lambda: memory.gone.add(name))
    except (OSError, clients.imaplib.IMAP4.abort):
        return
    except Exception as error:
        memory.surprises.append(f"{name}: {error!r}")


def send(order):
    global round_number
    round_number += 1
    memory.first.clear()
    threads.clear()
    for lane in range(SENDERS):
        rng = random.Random(f"{TOLD['seed']}-{round_number}-{lane}")
        sender = threading.Thread(target=deliver, args=(order["smtp"], lane, rng), daemon=True)
        threads.append(sender)
    rng = random.Random(f"{TOLD['seed']}-{round_number}-append")
    threads.append(threading.Thread(target=append, args=(order["imaps"], rng), daemon=True))
    for thread in threads:
        thread.start()
    return {"begun": memory.first.wait(60), "problems": memory.surprises}


def died(_order):
    for thread in threads:
        thread.join(60)
    stuck = sum(thread.is_alive() for thread in threads)
    return {"acknowledged": len(memory.delivered) + len(memory.appended),
            "problems": memory.surprises + ([f"{stuck} clients still wait"] if stuck else [])}


def look(order, place, everything):
    """The messages of a mailbox, new ones read in full: problems."""
    account, mailbox = place
    problems, known = [], seen[place]
    client = clients.imap(order["imaps"], ACCOUNTS[account], mailbox)
    present = set(clients.uids(client))
    old = set(known)
    for uid in old - present:
        if known[uid] not in memory.gone_unsure:
            problems.append(f"{place}: uid {uid} ({known[uid]}) is gone")
    wanted = present if everything else present - old
    if wanted:
        numbers = f"{min(wanted)}:{max(wanted)}"
        found = clients.fetch(client, numbers, "(UID FLAGS BODY.PEEK[])")
        for uid, (text, literals) in found.items():
            body = literals[0] if literals else b""
            name = re.search(rb"^Subject: (\S+)\r$", body, re.M)
            name = name.group(1).decode() if name else None
            digest = re.search(rb"^X-Digest: (\w+)\r$", body, re.M)
            content = body.split(b"\r\n\r\n", 1)[-1]
            if not name or not digest or digest.group(1).decode() != clients.digest(content):
                problems.append(f"{place}: uid {uid} is half written: {body[:80]!r}")
                continue
            if known.setdefault(uid, name) != name:
                problems.append(f"{place}: uid {uid} was {known[uid]}, is {name}")
            if name in memory.flagged and b"\\Flagged" not in text:
                problems.append(f"{place}: {name} lost its flag")
            if name in memory.gone:
                problems.append(f"{place}: {name} came back")
    names = [known[uid] for uid in sorted(present) if uid in known]
    twice = [name for name, count in collections.Counter(names).items() if count > 1]
    problems += [f"{place}: {name} is here twice" for name in twice]
    client.logout()
    return problems, set(names)


def check(order, everything=False):
    problems, there = list(memory.surprises), {}
    for place in seen:
        found, names = look(order, place, everything)
        problems += found
        there[place] = names
    for place in INBOXES:
        problems += [f"{place}: {name} was acknowledged and is lost"
                     for name in memory.delivered - there[place]]
    first, second = (there[place] for place in INBOXES)
    problems += [f"{name} is with one recipient only" for name in first ^ second]
    problems += [f"{name} was never sent" for name in first - memory.delivered - memory.unsure]
    alive = {name for name in memory.appended if name not in memory.gone_unsure}
    problems += [f"{name} was appended and is lost" for name in alive - there[APPENDED]]
    for name, uid in memory.appended.items():
        if seen[APPENDED].get(uid, name) != name:
            problems.append(f"{name} got uid {uid}, which is {seen[APPENDED][uid]}")
    return {"messages": len(first), "problems": problems[:20]}


def main():
    orders = {"send": send, "died": died, "check": check,
              "compare": lambda order: check(order, everything=True)}
    for line in sys.stdin:
        order = json.loads(line)
        clients.result(orders[order["do"]](order))


main()
