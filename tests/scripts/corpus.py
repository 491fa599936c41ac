"""Stores every file of a folder through both doors and reads it back.

APPEND takes a file's exact bytes, however broken. SMTP carries lines, so there a file's bare line
ends are made CRLF first, as any mailer that reads a Unix file does; DATA and BDAT take turns.
Arguments: the house; files. Result: counts, what was refused and why, and a list of problems.
"""

import re
import smtplib

import clients
from answers import Broken, parse

TOLD = clients.arguments()
READER, RECEIVER = TOLD["accounts"]
MAILBOX = "Corpus"
SENDER = "corpus@example.org"
ITEMS = "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY BODY.PEEK[])"


def check_structure(structure, extended):
    """BODYSTRUCTURE and BODY have the shape of RFC 9051 9 `body`."""
    if isinstance(structure[0], list):
        parts = [part for part in structure if isinstance(part, list)]
        while structure and isinstance(structure[0], list):
            check_structure(structure[0], extended)
            structure = structure[1:]
        if not parts or not isinstance(structure[0], bytes):
            raise Broken("a multipart without a subtype")
        return
    if len(structure) < 7:
        raise Broken(f"a part of {len(structure)} fields")
    kind, subtype, _parameters, _id, _description, encoding, size = structure[:7]
    for text in (kind, subtype, encoding):
        if not isinstance(text, bytes) or text == b"NIL":
            raise Broken(f"type, subtype and encoding are strings: {structure[:7]!r}")
    if not size.isdigit():
        raise Broken("a size is a number")
    if kind.upper() == b"TEXT" and not structure[7].isdigit():
        raise Broken("a text has a number of lines")
    if kind.upper() == b"MESSAGE" and subtype.upper() in (b"RFC822", b"GLOBAL"):
        check_envelope(structure[7])
        check_structure(structure[8], extended)
        if not structure[9].isdigit():
            raise Broken("a message has a number of lines")


def check_envelope(envelope):
    """ENVELOPE has ten fields; addresses have four (RFC 9051 7.5.2)."""
    if len(envelope) != 10:
        raise Broken(f"an envelope of {len(envelope)} fields")
    for addresses in envelope[2:8]:
        if addresses == b"NIL":
            continue
        if not addresses or any(len(address) != 4 for address in addresses):
            raise Broken(f"an address list: {addresses!r}"[:200])


def check_answer(text, literals, wanted):
    """The answer to ITEMS is well formed and its body is `wanted`, where that is given."""
    answer = parse(text, literals)
    missing = [item for item in (b"ENVELOPE", b"BODYSTRUCTURE", b"BODY", b"BODY[]", b"INTERNALDATE")
               if item not in answer]
    if missing:
        raise Broken(f"no {missing}")
    check_envelope(answer[b"ENVELOPE"])
    check_structure(answer[b"BODYSTRUCTURE"], True)
    check_structure(answer[b"BODY"], False)
    body = answer[b"BODY[]"]
    if int(answer[b"RFC822.SIZE"]) != len(body):
        raise Broken(f"size {answer[b'RFC822.SIZE']}, but {len(body)} bytes")
    if wanted is not None and body != wanted:
        raise Broken("other bytes: " + clients.first_difference(body, wanted))
    return body


def check_sections(client, uid, whole):
    """Header and text together are the message; a slice is a slice; parts answer without error."""
    answer = parse(*clients.fetch(client, str(uid), "(UID BODY.PEEK[HEADER] BODY.PEEK[TEXT])")[uid])
    if answer[b"BODY[HEADER]"] + answer[b"BODY[TEXT]"] != whole:
        raise Broken("header and text together are not the message")
    start, count = len(whole) // 3, 100
    answer = parse(*clients.fetch(client, str(uid), f"(UID BODY.PEEK[]<{start}.{count}>)")[uid])
    found = next(value for name, value in answer.items() if name.startswith(b"BODY[]<"))
    if found not in (whole[start:start + count], b'' if start >= len(whole) else None):
        raise Broken("a slice is another one")
    clients.fetch(client, str(uid), "(UID BODY.PEEK[1] BODY.PEEK[1.MIME] BODY.PEEK[2] "
                  "BODY.PEEK[HEADER.FIELDS (Subject To X)] BODY.PEEK[HEADER.FIELDS.NOT (Subject)])")


def by_append(files, problems, refused):
    client = clients.imap(TOLD["imaps"], READER)
    clients.ok(client.create(MAILBOX))
    clients.ok(client.select(MAILBOX))
    stored = empty = 0
    for name, content in files:
        if not content:
            # RFC 3502 6.3.11: a literal without bytes takes the APPEND back.
            client.literal = content
            kind, data = client._simple_command("APPEND", clients.quoted(MAILBOX))
            if kind != "NO":
                problems.append(f"APPEND {name}: an empty message was answered with {kind} {data}")
            empty += 1
            continue
        try:
            uid = clients.append(client, MAILBOX, content)
        except (AssertionError, client.error) as error:
            refused.append(f"{name}: {error}")
            if isinstance(error, client.abort):
                client = clients.imap(TOLD["imaps"], READER, MAILBOX)
            continue
        stored += 1
        try:
            text, literals = clients.fetch(client, str(uid), ITEMS)[uid]
            check_answer(text, literals, content)
            check_sections(client, uid, content)
        except (Broken, AssertionError, KeyError, IndexError, client.error) as error:
            problems.append(f"APPEND {name}: {error!r}")
            if isinstance(error, client.abort):
                client = clients.imap(TOLD["imaps"], READER, MAILBOX)
    for criteria in ('TEXT "unsubscribe"', 'HEADER Subject "re"', 'BODY "the"',
                     "OR LARGER 9999 SENTSINCE 1-Jan-2001"):
        clients.uids(client, criteria)
    return stored, empty


def lines(content):
    """The file as lines that end with CRLF."""
    content = re.sub(rb"\r\n|\r|\n", b"\r\n", content)
    return content if content.endswith(b"\r\n") else content + b"\r\n"


def by_smtp(files, problems, refused):
    client, sent = None, []
    for number, (name, content) in enumerate(files):
        if number % 500 == 0:
            client = smtplib.SMTP(clients.HOST, TOLD["smtp"], "client.example.org", timeout=60)
            client.ehlo()
        content = lines(content)
        try:
            if number % 2:
                client.sendmail(SENDER, RECEIVER["address"], content, ["BODY=8BITMIME"])
            else:
                chunks(client, content)
            sent.append((name, content))
        except smtplib.SMTPResponseException as error:
            refused.append(f"{name}: {error.smtp_code} {error.smtp_error!r}")
            client.rset()
    reader = clients.imap(TOLD["imaps"], RECEIVER, "INBOX")
    numbers = clients.uids(reader)
    if len(numbers) != len(sent):
        problems.append(f"SMTP: {len(sent)} sent, {len(numbers)} there")
    for uid, (name, content) in zip(numbers, sent):
        try:
            text, literals = clients.fetch(reader, str(uid), ITEMS)[uid]
            body = check_answer(text, literals, None)
            differs = clients.difference(body, content)
            if differs:
                raise Broken(differs)
        except (Broken, AssertionError, KeyError, IndexError) as error:
            problems.append(f"SMTP {name}: {error!r}")
    return len(sent)


def chunks(client, content):
    """RFC 3030: the message in two chunks."""
    def must(answer):
        if answer[0] != 250:
            raise smtplib.SMTPResponseException(*answer)
    must(client.mail(SENDER, ["BODY=8BITMIME"]))
    must(client.rcpt(RECEIVER["address"]))
    half = len(content) // 2
    for chunk, last in ((content[:half], ""), (content[half:], " LAST")):
        client.send(f"BDAT {len(chunk)}{last}\r\n".encode() + chunk)
        must(client.getreply())


def main():
    files = []
    for path in TOLD["files"]:
        with open(path, "rb") as file:
            files.append((path.split("/mime/")[-1], file.read()))
    problems, append_refused, smtp_refused = [], [], []
    appended, empty = by_append(files, problems, append_refused)
    delivered = by_smtp(files, problems, smtp_refused)
    for problem in problems[:20]:
        print(problem)
    clients.result({"files": len(files), "appended": appended, "empty": empty,
                    "delivered": delivered, "append_refused": append_refused,
                    "smtp_refused": smtp_refused,
                    "problems": problems[:20], "problems_count": len(problems)})


main()
