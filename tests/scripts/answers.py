"""Reads the answers of FETCH by the grammar of RFC 9051, for scripts that compare what they say.

Not here: what should be in them.
"""

import re


class Broken(Exception):
    """An answer that does not follow the grammar."""


def parse(text, literals):
    """Reads `n (NAME value …)` as RFC 9051 has it; {name: value}. Literals come from the side."""
    at = 0
    literals = iter(literals)

    def value():
        nonlocal at
        if text[at:at + 1] == b"(":
            at += 1
            values = []
            while text[at:at + 1] != b")":
                if at >= len(text):
                    raise Broken("a list without an end")
                if text[at:at + 1] == b" ":
                    at += 1
                    continue
                values.append(value())
            at += 1
            return values
        if text[at:at + 1] == b'"':
            found = re.compile(rb'"((?:[^"\\\r\n]|\\["\\])*)"').match(text, at)
            if not found:
                raise Broken(f"a string without an end: {text[at:at + 40]!r}")
            at = found.end()
            return re.sub(rb"\\(.)", rb"\1", found.group(1))
        found = re.compile(rb"~?\{(\d+)\}").match(text, at)
        if found:
            at = found.end()
            literal = next(literals)
            if len(literal) != int(found.group(1)):
                raise Broken("a literal of another length")
            return literal
        found = re.compile(rb"[^\s()\"{\[]+(\[[^\]]*\](<\d+>)?)?").match(text, at)
        if not found:
            raise Broken(f"neither atom nor string: {text[at:at + 40]!r}")
        at = found.end()
        return found.group(0)

    found = re.match(rb"\d+ ", text)
    if not found:
        raise Broken(f"no message number: {text[:40]!r}")
    at = found.end()
    values = value()
    if text[at:].strip() or len(values) % 2:
        raise Broken(f"something after the answer: {text[at:at + 40]!r}")
    return {name.upper(): content for name, content in zip(values[::2], values[1::2])}
