"""ENVELOPE, BODYSTRUCTURE and section bytes of every file, compared with an independent reading by
Python's email package.

The reading here is Python's: its parser takes the message apart, its parser of addresses reads
those, its header values are unfolded and otherwise left as they stand, as IMAP wants them.
Arguments: the house; files; top (what their names begin with, cut off).
Result: the differences, one a line: file, part, field; with both readings where asked for (show).
"""

import email._parseaddr
import email.message
import email.parser
import email.policy
import email.utils
import re

import clients
from answers import parse

TOLD = clients.arguments()
MAILBOX = "Mime"
ENVELOPE = ("date", "subject", "from", "sender", "reply-to", "to", "cc", "bcc", "in-reply-to",
            "message-id")


def raw(text):
    """The bytes a text of the parser stands for."""
    return text.encode("ascii", "surrogateescape")


class Raw(email.policy.Compat32):
    """Header fields as they stand, whatever their bytes."""

    def header_fetch_parse(self, name, value):
        return value


def read(message):
    """Python's reading of a message."""
    parser = email.parser.BytesFeedParser(policy=Raw())
    parser.feed(message)
    return parser.close()


def unfolded(text):
    return re.sub(r"\r?\n(?=[ \t])", "", text).strip(" \t\r\n")


def field(part, name):
    """The first header field of a name, unfolded; None where there is none."""
    value = part.get(name)
    return None if value is None else raw(unfolded(value))


def addresses(part, name):
    """Whole mailboxes of all fields of a name: (display name, local part, domain)."""
    found = []
    for value in part.get_all(name, []):
        for display, address in email._parseaddr.AddressList(unfolded(value)).addresslist:
            local, _, domain = address.rpartition("@")
            # RFC 9051 7.5.2: the local part is told without its quotes; Python keeps them.
            if local.startswith('"') and local.endswith('"'):
                local = re.sub(r"\\(.)", r"\1", local[1:-1])
            if local and domain:
                found.append((raw(display), raw(local), raw(domain)))
    return found


def param(part, wanted):
    """A parameter of Content-Type as it stands: pieces and charsets of RFC 2231 are others."""
    for text in email.message._parseparam(";" + part.get("content-type", ""))[1:]:
        name, equals, value = text.partition("=")
        if equals and name.strip().lower() == wanted:
            return raw(email.utils.unquote(unfolded(value)))
    return None


def envelope(part):
    """ENVELOPE as a dict; sender and reply-to are from's where they are missing."""
    found = {}
    for name in ("date", "subject", "in-reply-to", "message-id"):
        found[name] = field(part, name)
    for name in ("from", "sender", "reply-to", "to", "cc", "bcc"):
        found[name] = addresses(part, name)
    for name in ("sender", "reply-to"):
        if part.get(name) is None:
            found[name] = found["from"]
    return found


def described(part, number, found):
    """What Python says of a part and those within, by part number."""
    if part.is_multipart() and part.get_content_maintype() == "multipart":
        found[number] = {"type": part.get_content_type(), "parts": len(part.get_payload())}
        for place, child in enumerate(part.get_payload(), 1):
            described(child, f"{number}.{place}" if number else str(place), found)
        return
    number = number or "1"
    facts = {"type": part.get_content_type(), "id": field(part, "content-id"),
             "description": field(part, "content-description")}
    facts["encoding"] = (field(part, "content-transfer-encoding") or b"7BIT").upper()
    disposition = part.get_content_disposition()
    facts["disposition"] = raw(disposition).upper() if disposition else None
    facts["charset"], facts["name"] = param(part, "charset"), param(part, "name")
    if part.get("content-type") is None and part.get_content_maintype() == "text":
        # RFC 2045 5.2: what is assumed where nothing is said.
        facts["charset"] = b"us-ascii"
    # get_payload would decode bytes beyond ASCII by their charset.
    payload = part._payload
    if part.get_content_type() == "message/rfc822" and isinstance(payload, list):
        inner = payload[0]
        facts["envelope"] = envelope(inner)
        found[number] = facts
        below = number if inner.get_content_maintype() == "multipart" else f"{number}.1"
        described(inner, below, found) if below != number else embedded(inner, number, found)
        return
    body = raw(payload) if isinstance(payload, str) else None
    facts["body"] = body
    if body is not None and part.get_content_maintype() == "text":
        facts["lines"] = body.count(b"\n")
    found[number] = facts


def embedded(part, number, found):
    """A multipart that is the body of a message: its parts are numbered below the message's."""
    found[number]["inner"] = part.get_content_type()
    for place, child in enumerate(part.get_payload(), 1):
        described(child, f"{number}.{place}", found)


def params(values):
    if values == b"NIL":
        return {}
    return {name.upper(): value for name, value in zip(values[::2], values[1::2])}


def nil(value):
    return None if value == b"NIL" else value


def told_envelope(values):
    """ENVELOPE as it was told, like `envelope`."""
    found = {}
    for name, value in zip(ENVELOPE, values):
        if name in ("date", "subject", "in-reply-to", "message-id"):
            found[name] = nil(value)
            continue
        mailboxes = [] if value == b"NIL" else value
        found[name] = [(nil(one[0]) or b"", one[2], one[3]) for one in mailboxes
                       if one[2] not in (b"NIL", b"") and one[3] not in (b"NIL", b"")]
    return found


def told(structure, number, found):
    """What BODYSTRUCTURE says of a part and those within, by part number."""
    if isinstance(structure[0], list):
        parts = [part for part in structure if isinstance(part, list)]
        count = 0
        while count < len(structure) and isinstance(structure[count], list):
            count += 1
        found[number] = {"type": ("multipart/" + structure[count].decode()).lower(),
                         "parts": count}
        for place, child in enumerate(parts[:count], 1):
            told(child, f"{number}.{place}" if number else str(place), found)
        return
    number = number or "1"
    kind = f"{structure[0].decode()}/{structure[1].decode()}".lower()
    facts = {"type": kind, "id": nil(structure[3]), "description": nil(structure[4]),
             "encoding": structure[5]}
    known = params(structure[2])
    facts["charset"], facts["name"] = known.get(b"CHARSET"), known.get(b"NAME")
    facts["size"] = int(structure[6])
    more = 7
    if kind == "message/rfc822" and isinstance(structure[7], list):
        facts["envelope"] = told_envelope(structure[7])
        inner = structure[8]
        more = 10
        found[number] = facts
        if isinstance(inner[0], list):
            below = {}
            told(inner, number, below)
            facts["inner"] = below.pop(number)["type"]
            found.update(below)
        else:
            told(inner, f"{number}.1", found)
    elif kind.startswith("text/"):
        facts["lines"] = int(structure[7])
        more = 8
    disposition = structure[more + 1] if len(structure) > more + 1 else b"NIL"
    facts["disposition"] = disposition[0] if isinstance(disposition, list) else None
    found[number] = facts


def differences(client, uid, message):
    """(part, field, ours, Python's) of a message."""
    text, literals = clients.fetch(client, str(uid), "(UID ENVELOPE BODYSTRUCTURE)")[uid]
    answer = parse(text, literals)
    python = read(message)
    found = []

    def compare(part, name, ours, theirs):
        if ours != theirs:
            found.append((part or "-", name, ours, theirs))

    def envelopes(part, ours, theirs):
        for name in ENVELOPE:
            compare(part, "envelope " + name, ours[name], theirs[name])

    envelopes("", told_envelope(answer[b"ENVELOPE"]), envelope(python))
    ours, theirs = {}, {}
    told(answer[b"BODYSTRUCTURE"], "", ours)
    described(python, "", theirs)
    for part in sorted(ours.keys() | theirs.keys()):
        if part not in ours or part not in theirs:
            compare(part, "part", part in ours, part in theirs)
            continue
        one, other = ours[part], theirs[part]
        for name in ("type", "parts", "inner", "id", "description", "encoding", "charset", "name",
                     "disposition", "lines"):
            compare(part, name, one.get(name), other.get(name))
        if ("envelope" in one) != ("envelope" in other):
            compare(part, "envelope", "envelope" in one, "envelope" in other)
        elif "envelope" in one:
            envelopes(part, one["envelope"], other["envelope"])
        if other.get("body") is not None and "size" in one:
            item = f"BODY.PEEK[{part}]"
            text, literals = clients.fetch(client, str(uid), f"(UID {item})")[uid]
            body = parse(text, literals)[f"BODY[{part}]".encode()]
            compare(part, "bytes", body, other["body"])
            compare(part, "size", one["size"], len(body))
    return found


def main():
    client = clients.imap(TOLD["imaps"], TOLD["accounts"][0])
    clients.ok(client.create(MAILBOX))
    clients.ok(client.select(MAILBOX))
    lines_found, shown, compared = [], [], 0
    for path in TOLD["files"]:
        with open(path, "rb") as file:
            message = file.read()
        if not message:
            continue
        name = path.removeprefix(TOLD["top"])
        uid = clients.append(client, MAILBOX, message)
        compared += 1
        for part, what, ours, theirs in differences(client, uid, message):
            lines_found.append(f"{name}\t{part}\t{what}")
            shown.append(f"{lines_found[-1]}\t{ours!r:.200}\t{theirs!r:.200}")
    if "show" in TOLD:
        with open(TOLD["show"], "w", encoding="utf-8") as file:
            file.write("\n".join(shown) + "\n")
    clients.result({"compared": compared, "differences": lines_found})


main()
