"""Submits numbered messages for somebody at another server, and reads what arrived there.

Orders, one JSON object a line, each answered by one:
  {"do": "send", "submission": PORT, "to": ADDRESS, "count": N}
      sends the next N messages, or as many as go before the connection breaks; with "options" over
      TLS and with these parameters of MAIL, with "header" with these fields;
      answers {"acknowledged": [numbers]}
  {"do": "read", "imap": PORT}
      answers {"arrived": [numbers, once for each copy], "broken": [texts that are not whole]}
Arguments: "accounts": who sends here, and who reads there.
Not here: what either server should have done with them (`outbound.rs`).
"""

import imaplib
import json
import smtplib
import ssl
import sys
from email import message_from_bytes, policy
from email.message import EmailMessage

ARGUMENTS = json.loads(sys.argv[1])
SENDER, READER = ARGUMENTS["accounts"]
# Dots at the start of lines, and more than one read's worth of text.
TEXT = ".\n..\nSome text that is as long as a short letter.\n" * 40


def message(number, to):
    letter = EmailMessage()
    letter["From"] = SENDER["address"]
    letter["To"] = to
    letter["Subject"] = f"number {number}"
    letter.set_content(TEXT)
    return letter


def send(order, numbers):
    acknowledged = []
    try:
        with smtplib.SMTP("127.0.0.1", order["submission"], timeout=30) as client:
            if "options" in order:
                client.starttls(context=ssl._create_unverified_context())
            client.login(SENDER["address"], SENDER["password"])
            for _ in range(order["count"]):
                number = next(numbers)
                letter = message(number, order["to"])
                for name, value in order.get("header", {}).items():
                    letter[name] = value
                client.send_message(letter, mail_options=order.get("options", ()))
                acknowledged.append(number)
    except (OSError, smtplib.SMTPException) as error:
        print(f"the connection broke: {error!r}", file=sys.stderr)
    return {"acknowledged": acknowledged}


def read(order):
    arrived, broken = [], []
    with imaplib.IMAP4("127.0.0.1", order["imap"]) as client:
        client.login(READER["address"], READER["password"])
        client.select("INBOX", readonly=True)
        _, found = client.uid("FETCH", "1:*", "(BODY.PEEK[])")
        for part in found:
            if not isinstance(part, tuple):
                continue
            letter = message_from_bytes(part[1], policy=policy.default)
            arrived.append(int(letter["Subject"].split()[1]))
            if letter.get_content().replace("\r\n", "\n") != TEXT:
                broken.append(part[1].decode("latin-1"))
    return {"arrived": arrived, "broken": broken}


def main():
    numbers = iter(range(1 << 30))
    for line in sys.stdin:
        order = json.loads(line)
        answer = send(order, numbers) if order["do"] == "send" else read(order)
        print(json.dumps(answer), flush=True)


main()
