"""Submission as a mail program does it (RFC 6409): who may send, as whom, and to whom.

Arguments: the house. Result: how many checks ran, and problems.
"""

import base64
import smtplib

import clients
from clients import check

TOLD = clients.arguments()
ANN, BOB = TOLD["accounts"]


def submissions():
    return smtplib.SMTP_SSL(clients.HOST, TOLD["submissions"], "pc.example.org", timeout=60,
                            context=clients.tls())


def submission():
    client = smtplib.SMTP(clients.HOST, TOLD["submission"], "pc.example.org", timeout=60)
    client.starttls(context=clients.tls())
    return client


def logged_in(client):
    client.login(ANN["address"], ANN["password"])
    return client


def answers(client, command, code, start):
    found, text = client.docmd(command)
    assert (found, text.startswith(start.encode())) == (code, True), (command, found, text)


def message(subject, sender=ANN["address"]):
    return (f"From: {sender}\r\nTo: {BOB['address']}\r\nSubject: {subject}\r\n\r\nHi\r\n").encode()


@check
def delivers_locally():
    for number, client in enumerate((submissions(), submission())):
        logged_in(client)
        subject = f"submitted {number}"
        assert client.sendmail(ANN["address"], BOB["address"], message(subject)) == {}
        client.quit()
        reader = clients.imap(TOLD["imaps"], BOB, "INBOX")
        uids = clients.uids(reader, f'SUBJECT "{subject}"')
        assert len(uids) == 1, uids
        text = clients.bodies(reader, str(uids[0]))[uids[0]].lower()
        # RFC 3848: extended, over TLS, logged in.
        assert b"with esmtpsa" in text.replace(b"\r\n", b" "), text
        reader.logout()


@check
def login_first():
    client = submissions()
    client.ehlo()
    answers(client, f"MAIL FROM:<{ANN['address']}>", 530, "5.7.0")
    client.quit()


@check
def without_tls_only_on_this_machine():
    """AUTH without TLS is offered here because nobody can listen in on a loopback connection."""
    client = smtplib.SMTP(clients.HOST, TOLD["submission"], "pc.example.org", timeout=60)
    client.ehlo()
    assert client.has_extn("starttls") and client.has_extn("auth"), client.esmtp_features
    answers(client, f"MAIL FROM:<{ANN['address']}>", 530, "5.7.0")
    client.login(ANN["address"], ANN["password"])
    client.quit()


@check
def wrong_password():
    client = submissions()
    client.ehlo()
    for login, password in ((ANN["address"], "wrong"), ("nobody@grace.test", "wrong")):
        secret = base64.b64encode(f"\0{login}\0{password}".encode()).decode()
        answers(client, f"AUTH PLAIN {secret}", 535, "5.7.8")
    answers(client, "AUTH PLAIN ====", 501, "5.5.2")
    answers(client, "AUTH DIGEST-MD5", 504, "5.5.4")
    answers(client, "AUTH PLAIN", 334, "")
    answers(client, "*", 501, "5.7.0")
    answers(client, "AUTH LOGIN", 334, "VXNlcm5hbWU6")
    answers(client, base64.b64encode(ANN["address"].encode()).decode(), 334, "UGFzc3dvcmQ6")
    answers(client, base64.b64encode(ANN["password"].encode()).decode(), 235, "2.7.0")
    answers(client, "AUTH PLAIN", 503, "5.5.1")
    client.quit()


@check
def only_as_oneself():
    client = logged_in(submissions())
    found, text = client.mail(BOB["address"])
    if found == 250:
        found, text = client.rcpt(BOB["address"])
    assert found in (550, 553) and text.startswith(b"5.7.1"), (found, text)
    client.rset()
    client.quit()


@check
def to_people_here_and_elsewhere():
    client = logged_in(submissions())
    client.ehlo()
    answers(client, f"MAIL FROM:<{ANN['address']}>", 250, "2.1.0")
    answers(client, "RCPT TO:<somebody@example.net>", 250, "2.1.5")
    answers(client, "RCPT TO:<nobody@grace.test>", 550, "5.1.1")
    answers(client, f"RCPT TO:<{BOB['address']}>", 250, "2.1.5")
    client.rset()
    client.quit()


@check
def no_login_at_the_mx_port():
    client = smtplib.SMTP(clients.HOST, TOLD["smtp"], "pc.example.org", timeout=60)
    client.starttls(context=clients.tls())
    client.ehlo()
    assert not client.has_extn("auth"), client.esmtp_features
    code, _ = client.docmd("AUTH PLAIN AGEAYg==")
    assert code in (502, 503, 504), code
    client.quit()


clients.run_checks()
