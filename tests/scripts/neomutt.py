"""A day of somebody who reads his mail with neomutt: what he does there is what the server has.

neomutt runs in a terminal that nobody sees and is told what to do by `:push`; each order ends with
one that writes into a pipe, so that the next begins when it is done. What became of it is looked up
by imaplib. Later runs open the header cache of the first one and are to show what changed
meanwhile.

Arguments: the house with two accounts (who reads, who writes to him); certificate: a file; ctl: the
command that asks the daemon, a list.
Result: a list of problems.
"""

import fcntl
import json
import mailbox
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time

import clients
from clients import check

TOLD = clients.arguments()
ACCOUNT, FRIEND = TOLD["accounts"]
FOLDER = pathlib.Path(TOLD["folder"]) / "neomutt"
PIPE = FOLDER / "pipe"
# Slow machines start a program in seconds; whoever waits longer will not get there.
PATIENCE_S = 60


def configuration():
    user = ACCOUNT["address"]
    mail = f"smtps://{user.replace('@', '%40')}@{clients.HOST}:{TOLD['submissions']}"
    escaped = ACCOUNT["password"].replace("\\", "\\\\").replace('"', '\\"')
    return "\n".join([
        f'set my_pass = "{escaped}"', f'set imap_user = "{user}"', "set imap_pass = $my_pass",
        f'set smtp_url = "{mail}"', "set smtp_pass = $my_pass",
        "set smtp_authenticators = plain", f'set from = "{user}"',
        f'set certificate_file = "{TOLD["certificate"]}"', "set ssl_verify_host = no",
        "set ssl_force_tls = yes", f'set folder = "imaps://{clients.HOST}:{TOLD["imaps"]}/"',
        "set spool_file = =INBOX", "set record = =Sent", "set copy = yes",
        "set imap_idle = yes", "set imap_condstore = yes", "set imap_qresync = yes",
        # How often neomutt looks at what the server told it while it idles.
        "set timeout = 1", "set mail_check = 1",
        f'set header_cache = "{FOLDER}/headers"', f'set message_cachedir = "{FOLDER}/bodies"',
        "set editor = true", "set abort_unmodified = no", "set fast_reply = yes",
        "set include = no", "set delete = yes", "set quit = yes", "set confirm_append = no",
        "set confirm_create = no", "set mbox_type = mbox", "set wait_key = no", "set beep = no",
        "set auto_tag = no", "set resolve = no", "set delete_untag = yes", "set mark_old = no",
        "set sort = mailbox-order", "set pager_stop = yes", "set strict_threads = yes",
        f'set new_mail_command = "echo new >{PIPE}"',
        # The last, for it connects with what is set by then.
        "mailboxes =INBOX", "",
    ])


class Neomutt:
    """One run of it, with INBOX open."""

    def __init__(self, name):
        FOLDER.mkdir(exist_ok=True)
        if not PIPE.exists():
            os.mkfifo(PIPE)
        # Open for writing, too, so that it never ends.
        self.pipe = os.open(PIPE, os.O_RDWR | os.O_NONBLOCK)
        self.heard, self.screen, self.orders = b"", b"", 0
        (FOLDER / "rc").write_text(configuration())
        self.log = FOLDER / f"{name}.log"
        self.child, self.terminal = pty.fork()
        if self.child == 0:
            os.environ.update(TERM="xterm", HOME=str(FOLDER), LANG="C.UTF-8")
            os.execvp("neomutt", ["neomutt", "-n", "-F", str(FOLDER / "rc"), "-d", "2",
                                  "-l", str(self.log)])
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        threading.Thread(target=self.watch, daemon=True).start()
        self.do("")

    def watch(self):
        """Takes what it draws, which nobody looks at unless something fails."""
        try:
            while drawn := os.read(self.terminal, 65536):
                self.screen = (self.screen + drawn)[-20_000:]
        except OSError:
            pass  # it has ended

    def do(self, keys):
        """Has it do this, and waits until it has."""
        self.orders += 1
        word = f"done {self.orders}"
        source = f"<enter-command>source 'echo {word} >{PIPE}|'<enter>"
        self.type(keys + source)
        self.wait(word)

    def type(self, keys):
        escaped = keys.replace("\\", "\\\\").replace('"', '\\"')
        os.write(self.terminal, f':push "{escaped}"\n'.encode())

    def wait(self, word):
        """Waits until this was said by one of its orders."""
        until = time.monotonic() + PATIENCE_S
        line = word.encode() + b"\n"
        while line not in self.heard:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.pipe], [], [], left)[0]:
                raise AssertionError(f"no {word!r}; it shows {self.shown()}")
            self.heard += os.read(self.pipe, 4096)
        self.heard = self.heard.replace(line, b"", 1)

    def shown(self):
        text = re.sub(rb"\x1b[\[(][0-9;?]*[A-Za-z]|[\x00-\x1f]+", b" ", self.screen)
        return re.sub(rb" +", b" ", text)[-600:].decode(errors="replace")

    def letters(self):
        """What it shows of the open mailbox: flags by subject, from a copy that it makes."""
        file = FOLDER / f"{self.log.stem}{self.orders}.mbox"
        self.do("<tag-pattern>~A<enter><tag-prefix><copy-message>"
                f"{file}<enter><untag-pattern>~A<enter>")
        shown = {}
        for letter in mailbox.mbox(file):
            flags = letter.get("Status", "") + letter.get("X-Status", "")
            shown[letter["Subject"]] = "".join(sorted(flags.replace("O", "")))
        return shown

    def quit(self):
        self.type("<quit>")
        until = time.monotonic() + PATIENCE_S
        # A terminal whose other end is closed wakes the thread that reads it; this one waits.
        ended = threading.Thread(target=os.waitpid, args=(self.child, 0), daemon=True)
        ended.start()
        ended.join(until - time.monotonic())
        if ended.is_alive():
            os.kill(self.child, signal.SIGKILL)
            raise AssertionError(f"it does not end; it shows {self.shown()}")
        os.close(self.pipe)

    def commands(self):
        """What it noted down, the IMAP commands it sent among that."""
        return self.log.with_name(f"{self.log.name}0").read_text(errors="replace")


def letter(subject, text="hello"):
    return (f"From: <{FRIEND['address']}>\r\nTo: <{ACCOUNT['address']}>\r\nSubject: {subject}\r\n"
            f"Message-ID: <{subject.replace(' ', '.')}@grace.test>\r\n"
            f"Date: Mon, 7 Feb 1994 21:52:25 -0800\r\n\r\n{text}\r\n").encode()


def login(name=None, account=ACCOUNT):
    return clients.imap(TOLD["imaps"], account, name)


def on_server(name, account=ACCOUNT):
    """Flags by subject, as imaplib sees them."""
    client = login(name, account)
    found = {}
    items = "(UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])"
    for text, literals in (clients.fetch(client, "1:*", items) or {}).values():
        subject = literals[0].decode().partition(":")[2].strip()
        flags = re.search(rb"FLAGS \(([^)]*)\)", text).group(1).decode().split()
        found[subject] = sorted(flag for flag in flags if flag != "\\Recent")
    client.logout()
    return found


def folders():
    client = login()
    names = [re.search(rb'"/" (.*)$', line).group(1).strip(b'"').decode()
             for line in clients.ok(client.list())]
    client.logout()
    return names


def equal(found, expected):
    assert found == expected, f"{found} is not {expected}"


def idles():
    """Whether the daemon says that neomutt waits for news."""
    rows = json_of([*TOLD["ctl"], "session", "list", "--json"])
    return any(row["command"] == "IDLE" for row in rows if row["account"] == ACCOUNT["address"])


def json_of(command):
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


MUTT = None


@check
def a_message_is_read_flagged_and_answered():
    client = login("INBOX")
    for number in ["one", "two", "three", "four", "five"]:
        clients.append(client, "INBOX", letter(number))
    clients.append(client, "INBOX", letter("six", "there is a needle in it"))
    client.logout()
    global MUTT
    MUTT = Neomutt("first")
    equal(set(MUTT.letters()), {"one", "two", "three", "four", "five", "six"})
    MUTT.do("<jump>1<enter><display-message><exit><jump>2<enter><flag-message><sync-mailbox>")
    equal(on_server("INBOX")["one"], ["\\Seen"])
    assert "\\Flagged" in on_server("INBOX")["two"]
    MUTT.do("<jump>3<enter><reply><send-message>")
    MUTT.do("<sync-mailbox>")
    assert "\\Answered" in on_server("INBOX")["three"], on_server("INBOX")
    equal(list(on_server("INBOX", FRIEND)), ["Re: three"])
    equal(on_server("Sent"), {"Re: three": ["\\Seen"]})


@check
def tagged_messages_are_copied_and_moved():
    MUTT.do('<tag-pattern>~s "one|two"<enter><tag-prefix><copy-message>=Work<enter>')
    assert "Work" in folders(), folders()
    equal(sorted(on_server("Work")), ["one", "two"])
    assert "\\Flagged" in on_server("Work")["two"]
    MUTT.do("<untag-pattern>~A<enter><tag-pattern>~s four<enter><tag-pattern>~s five<enter>"
            "<tag-prefix><save-message>=Archive<enter><sync-mailbox>")
    equal(sorted(on_server("Archive")), ["five", "four"])
    equal(sorted(on_server("INBOX")), ["one", "six", "three", "two"])


@check
def what_is_deleted_goes_with_the_sync():
    MUTT.do('<untag-pattern>~A<enter><tag-pattern>~s two<enter>'
            "<tag-prefix><delete-message><sync-mailbox>")
    equal(sorted(on_server("INBOX")), ["one", "six", "three"])


@check
def texts_are_looked_for_by_the_server():
    MUTT.do("<limit>=b needle<enter><tag-pattern>~A<enter><tag-prefix><flag-message>"
            "<limit>all<enter><untag-pattern>~A<enter><sync-mailbox>")
    flagged = [subject for subject, flags in on_server("INBOX").items() if "\\Flagged" in flags]
    equal(flagged, ["six"])
    assert re.search(r"UID SEARCH .*needle", MUTT.commands()), "nobody asked the server"


@check
def folders_are_made_renamed_and_removed():
    browser = "<change-folder>?<toggle-mailboxes>"
    MUTT.do(f"{browser}<create-mailbox><kill-line>Plans<enter><exit>")
    assert "Plans" in folders(), folders()
    MUTT.do(f"{browser}<search>Plans<enter><rename-mailbox><kill-line>Ideas<enter><exit>")
    assert "Ideas" in folders() and "Plans" not in folders(), folders()
    MUTT.do(f"{browser}<search>Ideas<enter><delete-mailbox>y<exit>")
    assert "Ideas" not in folders(), folders()


@check
def what_comes_while_it_idles_is_shown():
    until = time.monotonic() + PATIENCE_S
    while not idles():
        assert time.monotonic() < until, "it does not idle"
    client = login()
    clients.append(client, "INBOX", letter("seven"))
    client.logout()
    MUTT.wait("new")
    assert "seven" in MUTT.letters()
    MUTT.quit()


@check
def a_second_run_shows_what_changed_since_the_first():
    client = login("INBOX")
    found = {subject: uid for uid, (_, [subject]) in
             clients.fetch(client, "1:*", "(UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])").items()}
    uid = {subject.partition(b":")[2].strip().decode(): uid for subject, uid in found.items()}
    clients.ok(client.uid("STORE", str(uid["one"]), "+FLAGS", "(\\Flagged)"))
    clients.ok(client.uid("STORE", str(uid["six"]), "-FLAGS", "(\\Flagged)"))
    clients.ok(client.uid("STORE", str(uid["three"]), "+FLAGS", "(\\Deleted)"))
    clients.ok(client.expunge())
    clients.append(client, "INBOX", letter("eight"), "\\Answered")
    client.logout()
    again = Neomutt("second")
    shown = again.letters()
    equal(sorted(shown), ["eight", "one", "seven", "six"])
    assert "F" in shown["one"] and "F" not in shown["six"] and "A" in shown["eight"], shown
    asked = again.commands()
    assert "ENABLE QRESYNC" in asked and "VANISHED)" in asked, "it did not ask what changed"
    # It miscounts what follows on a message that vanished, sees that, and asks for all flags.
    assert "FETCH 1:4 (" not in asked, "it asked for headers that it had"
    again.quit()


@check
def where_nothing_went_it_asks_for_changes_alone():
    client = login("INBOX")
    clients.ok(client.store("1:*", "+FLAGS", "(\\Seen)"))
    clients.append(client, "INBOX", letter("nine"))
    client.logout()
    third = Neomutt("third")
    shown = third.letters()
    equal(sorted(shown), ["eight", "nine", "one", "seven", "six"])
    equal([subject for subject, flags in shown.items() if "R" not in flags], ["nine"])
    asked = third.commands()
    assert "VANISHED)" in asked and "QRESYNC failed" not in asked, "it asked for all"
    third.quit()


clients.run_checks()
