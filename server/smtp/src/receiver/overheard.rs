//! What the peer says, for somebody who listens in: every line, but no secret.
//!
//! Invariants: the answers of a login are never told, nor is a line that is no command we know, for
//! it may be the answer of a login that was refused; nothing is made while nobody listens.
//! Not here: who listens, what we answer, what messages consist of (the driver).

use crate::command;
use crate::login::Mechanism;
use crate::receiver::{Note, Receiver};
use crate::reply::printable;
use crate::settings::AUTH_LINE_BYTES_MAX;

/// Commands whose lines hold no secret.
const OPEN: [&str; 13] = [
    "EHLO", "HELO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "QUIT", "VRFY", "EXPN", "HELP",
    "STARTTLS",
];

/// The one whose lines do.
const AUTH: &str = "AUTH";

/// What stands where a secret stood.
const HIDDEN: &str = "***";

impl Receiver {
    /// From now on, or no more, each line is told in a [`Note::Heard`].
    pub fn listen_in(&mut self, on: bool) {
        self.is_overheard = on;
    }

    /// The last command we know, without its arguments; empty: none yet.
    pub fn last_command(&self) -> &'static str {
        self.last_command
    }

    /// Takes note of a line, before it is obeyed.
    pub(super) fn overhear(&mut self, line: &[u8], in_login: bool) {
        let verb = command::verb(line);
        if !in_login {
            let known = OPEN.iter().chain([&AUTH]).find(|known| **known == verb);
            self.last_command = known.copied().unwrap_or(self.last_command);
        }
        if self.is_overheard {
            let text = if in_login { answer(line) } else { shown(line, &verb) };
            self.note(Note::Heard(text));
        }
    }
}

/// A line of a login: nothing of it, unless it ends the login.
fn answer(line: &[u8]) -> String {
    // RFC 4954 4: a lone asterisk.
    if line == b"*" { "*".to_owned() } else { HIDDEN.to_owned() }
}

fn shown(line: &[u8], verb: &str) -> String {
    if OPEN.contains(&verb) {
        return printable(&String::from_utf8_lossy(line), AUTH_LINE_BYTES_MAX);
    }
    if verb != AUTH {
        return HIDDEN.to_owned();
    }
    let text = String::from_utf8_lossy(line);
    let mut words = text.split_whitespace().skip(1);
    let mechanism = words.next().map(|name| Mechanism::parse(name).map_or(HIDDEN, Mechanism::name));
    let initial = words.next().map(|_| HIDDEN);
    let words: Vec<&str> = [AUTH].into_iter().chain(mechanism).chain(initial).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let secret = "AGFubgBzZWNyZXQ=";
        let line = |text: &str| shown(text.as_bytes(), &command::verb(text.as_bytes()));
        for (said, told) in [
            (format!("AUTH PLAIN {secret}"), "AUTH PLAIN ***"),
            (format!("auth login {secret}"), "AUTH LOGIN ***"),
            (format!("AUTH SCRAM-SHA-256 {secret} x"), "AUTH SCRAM-SHA-256 ***"),
            (format!("AUTH {secret}"), "AUTH ***"),
            (format!("AUTH OAUTHBEARER {secret}"), "AUTH OAUTHBEARER ***"),
            ("AUTH".to_owned(), "AUTH"),
            (secret.to_owned(), "***"),
            (format!("PASS {secret}"), "***"),
            (String::new(), "***"),
        ] {
            assert_eq!(line(&said), told, "{said}");
        }
        assert_eq!(line("MAIL FROM:<a@b> SIZE=7"), "MAIL FROM:<a@b> SIZE=7");
        assert_eq!(line("noop"), "noop");
        assert_eq!((answer(secret.as_bytes()).as_str(), answer(b"*").as_str()), ("***", "*"));
    }
}
