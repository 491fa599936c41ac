"""Logins by SCRAM-SHA-256 and -PLUS (RFC 7677), written down from the RFC, and by application
passwords: what is right, what is wrong, and that the two look alike where they must.

Arguments: the house; `sends`, `reads`: application passwords of the first account, for one of them
each. Result: how many checks ran, and problems.
"""

import base64
import hashlib
import hmac
import imaplib
import smtplib
import ssl

import clients
from clients import check

TOLD = clients.arguments()
ANN, BOB = TOLD["accounts"]
WELCOME, NO = (235, "2.7.0"), (535, "5.7.8")
END_POINT = "p=tls-server-end-point,,"


def submissions():
    client = smtplib.SMTP_SSL(clients.HOST, TOLD["submissions"], "pc.example.org", timeout=60,
                              context=clients.tls())
    client.ehlo()
    return client


def submission():
    client = smtplib.SMTP(clients.HOST, TOLD["submission"], "pc.example.org", timeout=60)
    client.starttls(context=clients.tls())
    client.ehlo()
    return client


def end_point(client):
    """RFC 5929 4.1: the house's certificate is signed with SHA-256."""
    return hashlib.sha256(client.sock.getpeercert(binary_form=True)).digest()


def b64(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def mac(key, text):
    return hmac.new(key, text, hashlib.sha256).digest()


def scram(client, login, password, header="n,,", binding=b""):
    """Logs in; gives code and status of the last answer, and the salt."""
    mechanism = "SCRAM-SHA-256-PLUS" if header.startswith("p=") else "SCRAM-SHA-256"
    bare = f"n={login},r=rOprNGfwEbeRWgbNEkqO"
    code, text = client.docmd("AUTH", f"{mechanism} {b64(header + bare)}")
    if code != 334:
        return (code, text.decode().split()[0]), None
    challenge = base64.b64decode(text).decode()
    nonce, salt, iterations = challenge.split(",")
    last, expected = proof(bare, challenge, password, header, binding)
    code, text = client.docmd(b64(last))
    if code == 334:
        assert base64.b64decode(text).decode() == expected, text
        code, text = client.docmd("")
    return (code, text.decode().split()[0]), base64.b64decode(challenge.split(",")[1][2:])


def proof(bare, challenge, password, header, binding):
    """The client's last message, and the server's (RFC 5802 3)."""
    nonce, salt, iterations = challenge.split(",")
    assert nonce.startswith("r=rOprNGfwEbeRWgbNEkqO") and len(nonce) > 40, nonce
    salt, iterations = base64.b64decode(salt[2:]), int(iterations[2:])
    assert iterations >= 4096, iterations
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stem = f"c={b64(header.encode() + binding)},{nonce}"
    signed = f"{bare},{challenge},{stem}".encode()
    client_key = mac(salted, b"Client Key")
    signature = mac(hashlib.sha256(client_key).digest(), signed)
    mixed = bytes(a ^ b for a, b in zip(client_key, signature))
    return f"{stem},p={b64(mixed)}", "v=" + b64(mac(mac(salted, b"Server Key"), signed))


def imap_scram(client, login, password, header="n,,", binding=b""):
    """The same over IMAP; the answer's text if it is refused."""
    mechanism = "SCRAM-SHA-256-PLUS" if header.startswith("p=") else "SCRAM-SHA-256"
    bare = f"n={login},r=rOprNGfwEbeRWgbNEkqO"
    expected = []

    def answer(challenge):
        if not challenge:
            return (header + bare).encode()
        if expected:
            assert challenge.decode() == expected[0], challenge
            return b""
        last, signature = proof(bare, challenge.decode(), password, header, binding)
        expected.append(signature)
        return last.encode()

    try:
        clients.ok(client.authenticate(mechanism, answer))
    except imaplib.IMAP4.error as error:
        return str(error)
    return "OK"


@check
def offered_with_tls():
    for client in submissions(), submission():
        offered = client.esmtp_features["auth"].split()
        assert offered == ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"], offered
        client.quit()
    # On loopback a password may cross in the clear; there is nothing to tie a login to.
    client = smtplib.SMTP(clients.HOST, TOLD["submission"], "pc.example.org", timeout=60)
    client.ehlo()
    assert "PLUS" not in client.esmtp_features["auth"]
    client.quit()


@check
def right_and_wrong():
    for client in submissions(), submission():
        wrong, salt = scram(client, ANN["address"], "not hers")
        nobody, other = scram(client, "nobody@grace.test", ANN["password"])
        again, same = scram(client, "nobody@grace.test", "whatever")
        assert wrong == nobody == again == NO, (wrong, nobody, again)
        assert other == same != salt and len(other) == len(salt)
        found, known = scram(client, ANN["address"].upper(), ANN["password"])
        assert found == WELCOME and known == salt, found
        client.sendmail(ANN["address"], BOB["address"], b"Subject: by SCRAM\r\n\r\nHi\r\n")
        client.quit()


@check
def tied_to_the_connection():
    for client in submissions(), submission():
        binding = end_point(client)
        other = scram(client, ANN["address"], ANN["password"], END_POINT, binding[::-1])
        assert other[0] == NO, other
        # "y": I could tie it, but saw no offer. There was one, so somebody took it out.
        hidden = scram(client, ANN["address"], ANN["password"], "y,,")
        assert hidden[0] == NO, hidden
        unknown = scram(client, ANN["address"], ANN["password"], "p=tls-unique,,", b"x")
        assert unknown[0] == NO, unknown
        found = scram(client, ANN["address"], ANN["password"], END_POINT, binding)
        assert found[0] == WELCOME, found
        client.quit()


@check
def tls_1_2_has_no_exporter():
    context = clients.tls()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    client = smtplib.SMTP_SSL(clients.HOST, TOLD["submissions"], "pc.example.org", timeout=60,
                              context=context)
    client.ehlo()
    found = scram(client, ANN["address"], ANN["password"], "p=tls-exporter,,", bytes(32))
    assert found[0] == NO, found
    found = scram(client, ANN["address"], ANN["password"], END_POINT, end_point(client))
    assert found[0] == WELCOME, found
    client.quit()


@check
def application_passwords():
    client = submissions()
    assert scram(client, ANN["address"], TOLD["reads"])[0] == NO
    try:
        client.login(ANN["address"], TOLD["reads"])
        raise AssertionError("it is for reading")
    except smtplib.SMTPAuthenticationError as error:
        assert error.smtp_code == 535, error
    assert scram(client, ANN["address"], TOLD["sends"], END_POINT, end_point(client))[0] == WELCOME
    client.quit()
    client = submissions()
    client.login(ANN["address"], TOLD["sends"].replace("-", " ").upper())
    client.quit()
    reader = imaplib.IMAP4_SSL(clients.HOST, TOLD["imaps"], ssl_context=clients.tls(), timeout=60)
    try:
        reader.login(ANN["address"], TOLD["sends"])
        raise AssertionError("it is for sending")
    except imaplib.IMAP4.error as error:
        assert "AUTHENTICATIONFAILED" in str(error), error
    clients.ok(reader.login(ANN["address"], TOLD["reads"]))
    reader.logout()


@check
def imap():
    def reader():
        return imaplib.IMAP4_SSL(clients.HOST, TOLD["imaps"], ssl_context=clients.tls(),
                                 timeout=60)

    client = reader()
    offered = [name for name in client.capabilities if name.startswith("AUTH=")]
    assert offered == ["AUTH=SCRAM-SHA-256-PLUS", "AUTH=SCRAM-SHA-256", "AUTH=PLAIN",
                       "AUTH=LOGIN"], offered
    for login, password in (ANN["address"], "not hers"), ("nobody@grace.test", "x"):
        assert "AUTHENTICATIONFAILED" in imap_scram(client, login, password)
    assert "AUTHENTICATIONFAILED" in imap_scram(client, ANN["address"], TOLD["sends"])
    assert imap_scram(client, ANN["address"], TOLD["reads"]) == "OK"
    client.logout()
    client = reader()
    binding = end_point(client)
    wrong = imap_scram(client, ANN["address"], ANN["password"], END_POINT, binding[::-1])
    assert "channel binding" in wrong, wrong
    hidden = imap_scram(client, ANN["address"], ANN["password"], "y,,")
    assert "channel binding" in hidden, hidden
    assert imap_scram(client, ANN["address"], ANN["password"], END_POINT, binding) == "OK"
    clients.ok(client.select("INBOX"))
    client.logout()
    client = imaplib.IMAP4(clients.HOST, TOLD["imap"], timeout=60)
    assert "AUTH=SCRAM-SHA-256-PLUS" not in client.capabilities
    client.starttls(ssl_context=clients.tls())
    assert "AUTH=SCRAM-SHA-256-PLUS" in client.capabilities
    assert imap_scram(client, ANN["address"], ANN["password"], END_POINT, binding) == "OK"
    client.logout()


clients.run_checks()
