//! What the client says, for somebody who listens in: every line and every literal, but no secret.
//!
//! ```text
//!   framer ─▶ frame ─▶ (told, while somebody listens) ─▶ command
//! ```
//! Invariants: the answers of a login are never told, nor the arguments of LOGIN and AUTHENTICATE,
//! nor, before the login, a line that is no command we know, for it may be the answer of a login
//! that was refused; nothing is made while nobody listens.
//! Not here: who listens, what is said to the client (the driver).

use super::Session;
use crate::framer::{Frame, LineTooLong, announcement};
use crate::machine::{Action, Overheard};

/// Commands that may be given before the login and hold no secret.
const OPEN: [&str; 5] = ["CAPABILITY", "ID", "LOGOUT", "NOOP", "STARTTLS"];

/// Those whose arguments are secret.
const SECRET: [&str; 2] = ["AUTHENTICATE", "LOGIN"];

/// The others.
#[rustfmt::skip]
const CLOSED: [&str; 54] = [
    "APPEND", "CANCELUPDATE", "CHECK", "CLOSE", "COMPRESS", "COPY", "CREATE", "DELETE", "DELETEACL",
    "ENABLE", "ESEARCH", "EXAMINE", "EXPUNGE", "FETCH", "GENURLAUTH", "GETACL", "GETMETADATA",
    "GETQUOTA", "GETQUOTAROOT", "IDLE", "LIST", "LISTRIGHTS", "LSUB", "MOVE", "MYRIGHTS",
    "NAMESPACE", "NOTIFY", "RENAME", "REPLACE", "RESETKEY", "SEARCH", "SELECT", "SETACL",
    "SETMETADATA", "SETQUOTA", "SORT", "STATUS", "STORE", "SUBSCRIBE", "THREAD", "UID COPY",
    "UID EXPUNGE", "UID FETCH", "UID MOVE", "UID REPLACE", "UID SEARCH", "UID SORT", "UID STORE",
    "UID THREAD", "UNAUTHENTICATE", "UNSELECT", "UNSUBSCRIBE", "URLFETCH", "XLIST",
];

/// What stands where a secret stood.
const HIDDEN: &str = "***";

impl Session {
    /// The names of all commands that we know, in capitals, UID and its forms among them.
    pub fn commands() -> impl Iterator<Item = &'static str> {
        OPEN.iter().chain(&SECRET).chain(&CLOSED).copied()
    }

    /// From now on, or no more, what the client says is told in [`Action::Overheard`].
    pub fn listen_in(&mut self, on: bool) {
        self.is_overheard = on;
    }

    /// The last command we know, without its arguments; empty: none yet.
    pub fn last_command(&self) -> &'static str {
        self.last_command
    }

    /// The next thing found in what the client sent.
    pub(super) fn next_frame(&mut self) -> Option<Frame> {
        let frame = self.framer.next_frame()?;
        match &frame {
            Frame::Command(text) if !text.is_empty() => {
                let name = known(&super::command_name(text));
                self.last_command = name.unwrap_or(self.last_command);
                if self.is_overheard {
                    self.overhear_text(text);
                }
            }
            Frame::Announced(_) if self.is_overheard => {
                let text = self.framer.collected().to_vec();
                self.overhear_text(text.strip_suffix(b"\r\n").unwrap_or(&text));
            }
            Frame::Chunk(bytes) if self.is_overheard => {
                self.notes.push_back(Action::Overheard(Overheard::Message(bytes.clone())));
            }
            Frame::TooLong(_) => self.overhear("(a command that is too long)".to_owned()),
            _ => {}
        }
        Some(frame)
    }

    /// The next line that is no command. `is_secret`: it answers a login.
    pub(super) fn next_line(&mut self, is_secret: bool) -> Option<Result<Vec<u8>, LineTooLong>> {
        let line = self.framer.next_line()?;
        if self.is_overheard {
            match &line {
                // RFC 9051 6.2.2: a lone asterisk ends the login.
                Ok(line) if is_secret && line.trim_ascii() != b"*" => {
                    self.overhear(HIDDEN.to_owned());
                }
                Ok(line) => self.overhear_text(line),
                Err(LineTooLong) => self.overhear("(a line that is too long)".to_owned()),
            }
        }
        Some(line)
    }

    /// The mechanism of an AUTHENTICATE, if it is one that there is.
    fn mechanism(&self, text: &[u8]) -> Option<&'static str> {
        let mut words = text.split(|byte| *byte == b' ').skip(1);
        words.next().filter(|name| name.eq_ignore_ascii_case(b"AUTHENTICATE"))?;
        let named = words.next()?;
        let ways = self.settings.sasl.iter().copied().chain(["PLAIN", "LOGIN"]);
        ways.into_iter().find(|way| named.eq_ignore_ascii_case(way.as_bytes()))
    }

    fn overhear(&mut self, text: String) {
        if self.is_overheard {
            self.notes.push_back(Action::Overheard(Overheard::Line(text)));
        }
    }

    /// Tells what is new in the text of a command: what comes before its last literal was told when
    /// that was announced.
    fn overhear_text(&mut self, text: &[u8]) {
        let (before, literal, line) = last_part(text);
        let name = known(&super::command_name(text));
        let tag = text.split(|byte| *byte == b' ').next().unwrap_or_default();
        let is_short = matches!(line.trim_ascii(), b"DONE" | b"done" | b"*");
        let is_open = match name {
            Some(name) if SECRET.contains(&name) => false,
            Some(name) => OPEN.contains(&name) || self.is_authenticated(),
            // What has one word may be a password; of a message's end only brackets are left.
            None => is_short || (self.is_authenticated() && text.contains(&b' ')),
        };
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if is_open {
            let literal = literal.map(shown);
            literal.into_iter().chain([shown(line)]).for_each(|text| self.overhear(text));
            return;
        }
        match name {
            Some(name) if !before => {
                let way = self.mechanism(text).map_or_else(String::new, |way| format!("{way} "));
                self.overhear(format!("{} {name} {way}{HIDDEN}", shown(tag)));
            }
            _ => self.overhear(HIDDEN.to_owned()),
        }
    }
}

/// A name that is known to be one.
pub(super) fn known(name: &str) -> Option<&'static str> {
    Session::commands().find(|known| *known == name)
}

/// Whether a literal stands in a command's text, the last one, and the line behind it.
fn last_part(text: &[u8]) -> (bool, Option<&[u8]>, &[u8]) {
    let (mut rest, mut last) = (text, None);
    loop {
        let Some(end) = rest.windows(2).position(|bytes| bytes == b"\r\n") else {
            return (last.is_some(), last, rest);
        };
        let (line, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
        let after = after.get(2..).unwrap_or_default();
        let size = announcement(line).and_then(|literal| usize::try_from(literal.size).ok());
        match size.and_then(|size| after.split_at_checked(size)) {
            Some((literal, behind)) => (last, rest) = (Some(literal), behind),
            None => return (last.is_some(), last, rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_part_of_a_command() {
        let check = |text: &str, before: bool, literal: Option<&str>, line: &str| {
            let (is_before, last, rest) = last_part(text.as_bytes());
            let last = last.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            assert_eq!((is_before, last.as_deref()), (before, literal), "{text}");
            assert_eq!(rest, line.as_bytes(), "{text}");
        };
        check("a NOOP", false, None, "a NOOP");
        check("a X {3}", false, None, "a X {3}");
        check("a X {3}\r\na\r\n y", true, Some("a\r\n"), " y");
        check("a X {3}\r\nabc {0+}\r\n z {5}", true, Some(""), " z {5}");
        check("a X {9}\r\nabc", false, None, "a X {9}\r\nabc");
    }
}
