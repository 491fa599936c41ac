"""What imaplib's users do all day, each once, with the answer looked at.

Arguments: the house. Result: how many checks ran, and problems.
"""

import base64
import imaplib
import re
import time
import zlib

import clients
from clients import check, ok

TOLD = clients.arguments()
ACCOUNT = TOLD["accounts"][0]
MESSAGE = (b"From: Ann <ann@example.org>\r\nTo: Bob <bob@example.net>\r\nCc: c@example.com\r\n"
           b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= to all\r\n"
           b"Date: Mon, 1 Feb 2021 10:00:00 +0100\r\n"
           b"Message-ID: <m1@example.org>\r\nMIME-Version: 1.0\r\n"
           b"Content-Type: multipart/alternative; boundary=\"b\"\r\n\r\npreamble\r\n"
           b"--b\r\nContent-Type: text/plain\r\n\r\nHello plain\r\n"
           b"--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>Hello</p>\r\n--b--\r\n")


def plain():
    return imaplib.IMAP4(clients.HOST, TOLD["imap"], timeout=60)


def session(mailbox=None):
    return clients.imap(TOLD["imaps"], ACCOUNT, mailbox)


def raw(client, command):
    """The untagged lines of a command as they came; it must be OK."""
    tag = client._new_tag()
    client.send(tag + b" " + command + b"\r\n")
    lines = []
    while True:
        line = client.readline()
        assert line, f"the connection ended in {command}"
        if line.startswith(tag):
            assert line[len(tag):].startswith(b" OK"), (command, line)
            return lines, line
        lines.append(line.rstrip(b"\r\n"))


def refused(call, code=b""):
    """The call is answered with NO or BAD, and the code is in it."""
    try:
        kind, data = call()
    except imaplib.IMAP4.error as error:
        kind, data = "BAD", [str(error).encode()]
    assert kind in ("NO", "BAD"), (kind, data)
    assert code in b" ".join(part for part in data if part), (code, data)


@check
def without_tls_only_on_this_machine():
    """LOGIN without TLS is offered here because nobody can listen in on a loopback connection."""
    client = plain()
    assert "STARTTLS" in client.capabilities, client.capabilities
    assert "AUTH=PLAIN" in client.capabilities, client.capabilities
    ok(client.login(ACCOUNT["address"], ACCOUNT["password"]))
    client.logout()


@check
def starttls():
    client = plain()
    assert "STARTTLS" in client.capabilities
    client.starttls(clients.tls())
    assert "LOGINDISABLED" not in client.capabilities, client.capabilities
    assert "STARTTLS" not in client.capabilities, client.capabilities
    ok(client.login(ACCOUNT["address"], ACCOUNT["password"]))
    client.logout()


@check
def authenticate_plain():
    secret = f"\0{ACCOUNT['address']}\0{ACCOUNT['password']}".encode()
    client = imaplib.IMAP4_SSL(clients.HOST, TOLD["imaps"], ssl_context=clients.tls(), timeout=60)
    ok(client.authenticate("PLAIN", lambda _: secret))
    client.logout()
    client = imaplib.IMAP4_SSL(clients.HOST, TOLD["imaps"], ssl_context=clients.tls(), timeout=60)
    assert "SASL-IR" in client.capabilities, client.capabilities
    raw(client, b"AUTHENTICATE PLAIN " + base64.b64encode(secret))
    client.shutdown()


@check
def wrong_password():
    client = imaplib.IMAP4_SSL(clients.HOST, TOLD["imaps"], ssl_context=clients.tls(), timeout=60)
    refused(lambda: client.login(ACCOUNT["address"], "wrong"), b"AUTHENTICATIONFAILED")
    refused(lambda: client.login("nobody@grace.test", "wrong"), b"AUTHENTICATIONFAILED")
    client.shutdown()


@check
def capabilities():
    client = session()
    lines, _ = raw(client, b"CAPABILITY")
    found = set(lines[0].decode().split()[2:])
    wanted = {"IMAP4rev1", "IMAP4rev2", "IDLE", "UIDPLUS", "MOVE", "NAMESPACE", "SPECIAL-USE", "ID",
              "UNSELECT", "LITERAL+", "QRESYNC", "MULTIAPPEND", "REPLACE", "CATENATE", "PARTIAL",
              "UIDONLY", "OBJECTID", "SAVEDATE", "PREVIEW", "WITHIN", "COMPRESS=DEFLATE", "SORT",
              "SORT=DISPLAY", "ESORT", "THREAD=REFERENCES", "THREAD=ORDEREDSUBJECT"}
    assert wanted <= found, wanted - found
    lines, _ = raw(client, b'ID ("name" "test")')
    assert any(line.startswith(b"* ID ") for line in lines), lines
    lines, _ = raw(client, b"NAMESPACE")
    assert any(line.startswith(b'* NAMESPACE (("" "/"))') for line in lines), lines
    client.logout()


@check
def mailboxes():
    client = session()
    names = b"\n".join(ok(client.list()))
    for use in (b"\\Drafts", b"\\Sent", b"\\Trash", b"\\Junk"):
        assert use in names, (use, names)
    for name in ('"A"', '"A/B"', '"A/B/C"', '"Gr&APwA3w-e"', '"with \\"quotes\\""'):
        ok(client.create(name))
    refused(lambda: client.create('"A"'), b"ALREADYEXISTS")
    refused(lambda: client.create("INBOX"))
    refused(lambda: client.delete("INBOX"))
    refused(lambda: client.select('"Missing"'), b"NONEXISTENT")
    ok(client.subscribe('"A/B"'))
    assert b"A/B" in b"\n".join(ok(client.lsub()))
    ok(client.rename('"A"', '"Z"'))
    names = b"\n".join(ok(client.list()))
    assert b"Z/B/C" in names and b"A/B" not in names, names
    ok(client.unsubscribe('"A/B"'))
    assert b"A/B" not in b"\n".join(part or b"" for part in ok(client.lsub()))
    for pattern, count in (('"Z/%"', 1), ('"Z*"', 3), ('"%"', None)):
        found = [line for line in ok(client.list('""', pattern)) if line]
        assert count is None or len(found) == count, (pattern, found)
    ok(client.delete('"Z/B/C"'))
    ok(client.delete('"Z/B"'))
    ok(client.delete('"Z"'))
    lines, _ = raw(client, b'LIST (SPECIAL-USE) "" "*" RETURN (STATUS (MESSAGES))')
    assert any(line.startswith(b"* STATUS") for line in lines), lines
    client.logout()


@check
def inbox_renamed():
    client = session()
    clients.append(client, "INBOX", MESSAGE)
    ok(client.rename("INBOX", '"Old"'))
    assert int(ok(client.select('"Old"'))[0]) >= 1
    assert int(ok(client.select("INBOX"))[0]) == 0
    ok(client.select('"Old"'))
    raw(client, b"UNSELECT")
    ok(client.delete('"Old"'))
    client.logout()


@check
def append_and_fetch():
    client = session()
    ok(client.create('"F"'))
    uid = clients.append(client, "F", MESSAGE, r"\Seen $Label")
    ok(client.select('"F"'))
    items = "(UID FLAGS INTERNALDATE RFC822.SIZE BODY[])"
    text, literals = clients.fetch(client, str(uid), items)[uid]
    assert literals == [MESSAGE] and b"\\Seen" in text and b"$Label" in text, text
    assert b"RFC822.SIZE %d" % len(MESSAGE) in text, text
    date = imaplib.Internaldate2tuple(text)
    assert date and abs(time.mktime(date) - time.time()) < 600, text
    for section, wanted in (("HEADER", MESSAGE[:MESSAGE.index(b"\r\n\r\n") + 4]),
                            ("TEXT", MESSAGE[MESSAGE.index(b"\r\n\r\n") + 4:]),
                            ("1", b"Hello plain"), ("2", b"<p>Hello</p>"),
                            ("2.MIME", b"Content-Type: text/html; charset=utf-8\r\n\r\n"),
                            ("HEADER.FIELDS (CC)", b"Cc: c@example.com\r\n\r\n")):
        found = clients.fetch(client, str(uid), f"(UID BODY.PEEK[{section}])")[uid]
        content = found[1][0] if found[1] else re.search(rb'"(.*)"', found[0]).group(1)
        assert content == wanted, (section, content, wanted)
    lines, _ = raw(client, b"FETCH 1 (ENVELOPE)")
    assert b'"=?utf-8?q?Gr=C3=BC=C3=9Fe?= to all"' in lines[0], lines
    assert b'("Bob" NIL "bob" "example.net")' in lines[0], lines
    lines, _ = raw(client, b"FETCH 1 ALL")
    lines, _ = raw(client, b"FETCH 1 FULL")
    assert b"ALTERNATIVE" in lines[0].upper(), lines
    # A FETCH without PEEK marks as read; with EXAMINE it does not.
    clients.append(client, "F", MESSAGE)
    ok(client.select('"F"', readonly=True))
    ok(client.fetch("2", "(BODY[])"))
    assert b"\\Seen" not in ok(client.fetch("2", "(FLAGS)"))[0]
    refused(lambda: client.store("2", "+FLAGS", r"(\Seen)"))
    ok(client.select('"F"'))
    ok(client.fetch("2", "(BODY[])"))
    assert b"\\Seen" in ok(client.fetch("2", "(FLAGS)"))[0]
    client.logout()


@check
def copy_move_expunge():
    client = session("F")
    ok(client.create('"G"'))
    _, answer = raw(client, b"UID COPY 1:* G")
    assert re.search(rb"\[COPYUID \d+ 1:2 1:2\]", answer), answer
    lines, _ = raw(client, b"UID MOVE 1 G")
    assert any(b"COPYUID" in line for line in lines), lines
    assert any(re.match(rb"\* 1 EXPUNGE", line) for line in lines), lines
    refused(lambda: client.copy("1", '"Missing"'), b"TRYCREATE")
    ok(client.select('"G"'))
    assert len(clients.uids(client)) == 3
    ok(client.store("1,2", "+FLAGS", r"(\Deleted)"))
    second = clients.uids(client)[1]
    ok(client.uid("EXPUNGE", str(second)))
    assert second not in clients.uids(client) and len(clients.uids(client)) == 2
    ok(client.close())
    ok(client.select('"G"'))
    assert len(clients.uids(client)) == 1
    status = ok(client.status('"G"', "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN)"))[0]
    assert b"MESSAGES 1" in status and b"UIDNEXT 4" in status, status
    client.logout()


@check
def search():
    client = session()
    ok(client.create('"S"'))
    for number in range(5):
        body = MESSAGE.replace(b"to all", b"number %d" % number)
        body = body.replace(b"Hello plain", b"word" * (number + 1))
        clients.append(client, "S", body, r"\Seen" if number % 2 else r"\Flagged")
    ok(client.select('"S"'))
    for criteria, wanted in (
            ("ALL", [1, 2, 3, 4, 5]), ("SEEN", [2, 4]), ("UNSEEN FLAGGED", [1, 3, 5]),
            ("NOT SEEN", [1, 3, 5]),
            ("OR 1 5", [1, 5]), ('SUBJECT "number 3"', [4]), ('FROM "ANN@"', [1, 2, 3, 4, 5]),
            ('BODY "wordwordword"', [3, 4, 5]), ('TEXT "grüße"', [1, 2, 3, 4, 5]),
            ("SENTON 1-Feb-2021", [1, 2, 3, 4, 5]), ("SENTBEFORE 1-Feb-2021", []),
            ("SINCE 1-Jan-2020", [1, 2, 3, 4, 5]), ("BEFORE 1-Jan-2020", []),
            ("2:3 UID 1:2", [2]), ("LARGER 100000", []), ("SMALLER 100000 6:*", [5]),
            ('HEADER Message-ID ""', [1, 2, 3, 4, 5]), ("KEYWORD $None", []), ("(1 NOT 2)", [1]),
            ('CC "c@" TO "bob"', [1, 2, 3, 4, 5]), ("UNKEYWORD $None DRAFT", [])):
        if criteria.isascii():
            data = ok(client.search(None, criteria))
        else:
            client.literal = "grüße".encode()
            data = ok(client.search("UTF-8", "TEXT"))
        found = [int(number) for number in (data[0] or b"").split()]
        assert found == wanted, (criteria, found, wanted)
    refused(lambda: client.search("KLINGON", "ALL"), b"BADCHARSET")
    refused(lambda: client.search(None, "NONSENSE"))
    client.logout()


@check
def coming_back():
    """What a client missed is told when it selects the mailbox with what it knows (QRESYNC)."""
    client = session()
    ok(client.create('"Q"'))
    for _ in range(4):
        clients.append(client, "Q", MESSAGE)
    lines, _ = raw(client, b"ENABLE QRESYNC")
    assert b"QRESYNC" in lines[0], lines
    lines, _ = raw(client, b"SELECT Q")
    said = b"\n".join(lines)
    validity = int(re.search(rb"UIDVALIDITY (\d+)", said).group(1))
    modseq = int(re.search(rb"HIGHESTMODSEQ (\d+)", said).group(1))
    other = session("Q")
    ok(other.store("1", "+FLAGS", r"(\Flagged)"))
    ok(other.store("2,4", "+FLAGS", r"(\Deleted)"))
    ok(other.expunge())
    other.logout()
    lines, _ = raw(client, b"UNSELECT")
    lines, _ = raw(client, b"SELECT Q (QRESYNC (%d %d))" % (validity, modseq))
    assert b"* VANISHED (EARLIER) 2,4" in lines, lines
    changed = [line for line in lines if b" FETCH " in line]
    assert len(changed) == 1 and b"UID 1 FLAGS (\\Flagged" in changed[0], lines
    lines, _ = raw(client, b"UID FETCH 1:* (UID) (CHANGEDSINCE %d VANISHED)" % modseq)
    assert b"* VANISHED (EARLIER) 2,4" in lines, lines
    client.logout()


@check
def sorted_and_threaded():
    client = session("S")
    assert ok(client.sort("(REVERSE SUBJECT)", "UTF-8", "ALL"))[0].split() == [
        b"5", b"4", b"3", b"2", b"1"]
    assert ok(client.sort("(SIZE)", "UTF-8", "SEEN"))[0].split() == [b"2", b"4"]
    assert ok(client.thread("ORDEREDSUBJECT", "UTF-8", "1:2"))[0] == b"(1)(2)"
    lines, _ = raw(client, b"UID SORT RETURN (PARTIAL -1:-2) (SUBJECT) UTF-8 ALL")
    assert lines[0].endswith(b"UID PARTIAL (-1:-2 4:5)"), lines
    client.logout()


@check
def appended_together_put_together_and_replaced():
    client = session()
    ok(client.create('"M"'))
    client.send(b"x1 APPEND M (\\Seen) {7+}\r\na: b\r\n\r"
                b" \"17-Jul-1996 02:44:25 -0700\" {6+}\r\nc: d\r\n\r\n")
    line = client.readline()
    assert re.match(rb"x1 OK \[APPENDUID \d+ 1:2\]", line), line
    ok(client.select('"M"'))
    raw(client, b'APPEND M CATENATE (URL "/M/;UID=2" URL "/S/;UID=1/;SECTION=1")')
    text, literals = clients.fetch(client, "3", "(UID BODY[])")[3]
    assert literals == [b"c: d\r\nword"], (text, literals)
    client.send(b"x2 UID REPLACE 1 M {6+}\r\ne: f\r\n\r\n")
    lines = [client.readline()]
    while not lines[-1].startswith(b"x2 "):
        lines.append(client.readline())
    assert b"[APPENDUID" in lines[0] and lines[-1].startswith(b"x2 OK"), lines
    assert clients.uids(client) == [2, 3, 4]
    lines, _ = raw(client, b"UID COPY 2 M")
    lines, _ = raw(client, b"UID FETCH 2,5 (EMAILID SAVEDATE INTERNALDATE PREVIEW)")
    ids = {re.search(rb"EMAILID \((\S+)\)", line).group(1) for line in lines}
    dates = {re.search(rb'INTERNALDATE "(.*?)"', line).group(1) for line in lines}
    assert len(ids) == 1 and dates == {b"17-Jul-1996 02:44:25 -0700"}, lines
    assert not any(b'SAVEDATE "17-Jul-1996' in line for line in lines), lines
    client.logout()


class Deflated:
    """Both directions of a client through DEFLATE, as RFC 4978 has it."""

    def __init__(self, client):
        self.sock, self.bytes = client.sock, b""
        self.out = zlib.compressobj(wbits=-15)
        self.back = zlib.decompressobj(wbits=-15)
        client.send, client.readline, client.read = self.send, self.readline, self.read

    def send(self, data):
        self.sock.sendall(self.out.compress(data) + self.out.flush(zlib.Z_SYNC_FLUSH))

    def more(self):
        data = self.sock.recv(1000)
        assert data, "the connection ended"
        self.bytes += self.back.decompress(data)

    def read(self, size):
        while len(self.bytes) < size:
            self.more()
        data, self.bytes = self.bytes[:size], self.bytes[size:]
        return data

    def readline(self):
        while b"\n" not in self.bytes:
            self.more()
        return self.read(self.bytes.index(b"\n") + 1)


@check
def compressed():
    client = session()
    raw(client, b"COMPRESS DEFLATE")
    Deflated(client)
    ok(client.create('"Z"'))
    letter = MESSAGE + b"all the same\r\n" * 50_000
    uid = clients.append(client, "Z", letter)
    ok(client.select('"Z"'))
    _, literals = clients.fetch(client, str(uid), "(UID BODY[])")[uid]
    assert literals == [letter]
    lines, _ = raw(client, b"CAPABILITY")
    assert b"COMPRESS" not in lines[0], lines
    raw(client, b"UNAUTHENTICATE")
    # RFC 8437 4.1: behind the answer, and behind the command, all is in the clear again.
    del client.send, client.readline, client.read
    login = f'LOGIN {ACCOUNT["address"]} {clients.quoted(ACCOUNT["password"])}'
    raw(client, login.encode())
    lines, _ = raw(client, b"CAPABILITY")
    assert b"COMPRESS=DEFLATE" in lines[0], lines
    ok(client.select('"Z"'))
    client.logout()


@check
def literals():
    """Synchronizing and not; a literal that is too large is refused before it is sent."""
    client = session("S")
    client.send(b"x1 LOGIN {3+}\r\nann {3+}\r\nabc\r\n")
    assert client.readline().startswith((b"x1 BAD", b"x1 NO"))
    client.send(b"x2 STATUS {1+}\r\nS (MESSAGES)\r\n")
    assert client.readline().startswith(b"* STATUS")
    assert client.readline().startswith(b"x2 OK")
    client.send(b"x3 APPEND S {99999999999}\r\n")
    line = client.readline()
    assert line.startswith((b"x3 NO", b"x3 BAD")), line
    client.logout()


@check
def nonsense_is_answered():
    client = session()
    for command in (b"x1 NONSENSE", b"x2", b"x3 FETCH 1 FLAGS", b"x4 SELECT", b"x5 FETCH (",
                    b"x6 STORE"):
        client.send(command + b"\r\n")
        line = client.readline()
        assert line.startswith((command[:2] + b" BAD", b"* BAD")), (command, line)
    ok(client.noop())
    client.logout()


@check
def logout_says_bye():
    client = session()
    lines, _ = raw(client, b"LOGOUT")
    assert any(line.startswith(b"* BYE") for line in lines), lines
    assert client.readline() == b""


clients.run_checks()
