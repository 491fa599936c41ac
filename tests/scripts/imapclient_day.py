"""A day of a program that is built on imapclient: what it sees is what it did.

Arguments: the house; path (where imapclient is, if it is not installed).
Result: a list of problems, or {"absent": why}.
"""

import datetime
import sys

import clients
from clients import check

TOLD = clients.arguments()
sys.path.extend([TOLD["path"]] if TOLD.get("path") else [])
ACCOUNT = TOLD["accounts"][0]
MESSAGE = (b"From: Ann <ann@grace.test>\r\nTo: bob@example.org\r\n"
           b"Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n"
           b"Date: Mon, 7 Feb 1994 21:52:25 -0800\r\nMessage-ID: <one@grace.test>\r\n"
           b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
           b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nhello\r\n"
           b"--b\r\nContent-Type: image/gif; name=a.gif\r\n"
           b"Content-Transfer-Encoding: base64\r\n\r\n"
           b"R0lGAAE=\r\n--b--\r\n")


def login():
    from imapclient import IMAPClient
    client = IMAPClient(clients.HOST, TOLD["imaps"], ssl_context=clients.tls())
    client.login(ACCOUNT["address"], ACCOUNT["password"])
    return client


def filled(client, name, count):
    """A new mailbox with so many messages, selected; their UIDs."""
    client.create_folder(name)
    for number in range(count):
        client.append(name, b"Subject: number %d\r\n\r\nbody %d\r\n" % (number, number))
    client.select_folder(name)
    uids = client.search()
    assert len(uids) == count, uids
    return uids


@check
def folders_are_listed_by_their_use():
    with login() as client:
        client.create_folder("Grüße & mehr/2026")
        names = [name for _, _, name in client.list_folders()]
        assert "Grüße & mehr/2026" in names and "Grüße & mehr" in names, names
        assert client.find_special_folder(b"\\Sent") == "Sent", names
        client.rename_folder("Grüße & mehr", "Projekte")
        assert client.folder_exists("Projekte/2026") and not client.folder_exists("Grüße & mehr")
        client.unsubscribe_folder("Projekte")
        assert "Projekte" not in [name for _, _, name in client.list_sub_folders()]
        client.delete_folder("Projekte/2026")
        assert not client.folder_exists("Projekte/2026")


@check
def a_message_comes_back_as_it_was_sent():
    with login() as client:
        client.create_folder("Whole")
        when = datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
        client.append("Whole", MESSAGE, (b"\\Flagged", b"$Todo"), when)
        chosen = client.select_folder("Whole")
        assert chosen[b"EXISTS"] == 1 and chosen[b"UIDNEXT"] == 2, chosen
        got = client.fetch([1], ["FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE",
                                 "BODYSTRUCTURE", "BODY.PEEK[]", "BODY.PEEK[2]"])[1]
        assert set(got[b"FLAGS"]) - {b"\\Recent"} == {b"\\Flagged", b"$Todo"}, got[b"FLAGS"]
        assert got[b"INTERNALDATE"].astimezone(datetime.timezone.utc) == when, got
        assert got[b"BODY[]"] == MESSAGE and got[b"RFC822.SIZE"] == len(MESSAGE)
        assert got[b"BODY[2]"] == b"R0lGAAE=", got[b"BODY[2]"]
        envelope = got[b"ENVELOPE"]
        assert envelope.subject == b"=?utf-8?Q?Gr=C3=BC=C3=9Fe?=", envelope
        assert envelope.from_[0].mailbox == b"ann" and envelope.to[0].host == b"example.org"
        assert envelope.message_id == b"<one@grace.test>", envelope
        structure = got[b"BODYSTRUCTURE"]
        assert structure.is_multipart and len(structure[0]) == 2, structure
        assert structure[0][1][:3] == (b"IMAGE", b"GIF", (b"NAME", b"a.gif")), structure


@check
def flags_are_set_and_taken():
    with login() as client:
        uids = filled(client, "Flags", 4)
        first, second = uids[0], uids[1]
        assert b"\\Seen" in client.add_flags(uids[:2], [b"\\Seen", b"$One"])[first]
        client.remove_flags(second, [b"$One"])
        client.set_flags(uids[2], [b"\\Answered"])
        assert client.search("UNSEEN") == uids[2:] and client.search(["KEYWORD", "$One"]) == [first]
        assert client.search("ANSWERED") == [uids[2]]
        # Reading sets \Seen, looking does not.
        client.fetch(uids[3], ["BODY.PEEK[TEXT]"])
        assert uids[3] in client.search("UNSEEN")
        client.fetch(uids[3], ["BODY[TEXT]"])
        assert uids[3] not in client.search("UNSEEN")


@check
def messages_are_copied_moved_and_removed():
    with login() as client:
        uids = filled(client, "Here", 5)
        client.create_folder("There")
        client.copy(uids[:2], "There")
        client.move(uids[2:4], "There")
        assert client.search() == [uids[0], uids[1], uids[4]]
        client.delete_messages(uids[:2])
        client.uid_expunge(uids[:1])
        assert client.search() == [uids[1], uids[4]]
        client.expunge()
        assert client.search() == [uids[4]]
        status = client.folder_status("There", ["MESSAGES", "UNSEEN", "UIDNEXT"])
        assert status == {b"MESSAGES": 4, b"UNSEEN": 4, b"UIDNEXT": 5}, status
        client.select_folder("There", readonly=True)
        subjects = client.fetch(client.search(), ["BODY.PEEK[HEADER.FIELDS (SUBJECT)]"])
        found = [got[b"BODY[HEADER.FIELDS (SUBJECT)]"] for _, got in sorted(subjects.items())]
        assert found == [b"Subject: number %d\r\n\r\n" % number for number in range(4)], found


@check
def mail_is_sorted_threaded_and_asked_for_by_change():
    with login() as client:
        uids = filled(client, "Sorted", 3)
        assert client.sort("REVERSE SUBJECT") == uids[::-1]
        assert client.thread() == tuple((uid,) for uid in uids), client.thread()
        modseq = client.select_folder("Sorted")[b"HIGHESTMODSEQ"]
        client.add_flags(uids[1], [b"\\Flagged"])
        changed = client.fetch(uids, ["FLAGS"], modifiers=[f"CHANGEDSINCE {modseq}"])
        assert list(changed) == [uids[1]] and changed[uids[1]][b"MODSEQ"] > (modseq,), changed


@check
def idle_tells_what_another_does():
    with login() as client, login() as other:
        filled(client, "Idle", 1)
        client.idle()
        other.append("Idle", b"Subject: new\r\n\r\nx\r\n")
        told = []
        while (2, b"EXISTS") not in told:
            told += client.idle_check(timeout=30)
            assert told, "nothing in thirty seconds"
        client.idle_done()
        assert len(client.search()) == 2


def main():
    try:
        import imapclient
    except ImportError as error:
        clients.result({"absent": str(error)})
        return
    print("imapclient", imapclient.__version__)
    clients.run_checks()


main()
