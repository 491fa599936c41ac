//! Passwords and passphrases come from a file, from a terminal that does not show them, or from
//! standard input.
//!
//! Invariants: one line, without its line break; a password is never an argument, for arguments are
//! seen by every user of the machine and kept in the shell's history; whatever happens while one is
//! typed, the terminal then shows again what is typed.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _};
use std::path::PathBuf;

use clap::Args;

use grace_ipc::message::Secret;

/// Most bytes read for a password; the daemon allows fewer.
const BYTES_MAX: u64 = 16 * 1_024;

/// Most keys typed for one.
#[cfg(unix)]
const KEYS_MAX: usize = 16 * 1_024;

/// Where the password is.
#[derive(Debug, Args)]
pub(crate) struct Source {
    /// File whose first line is the password [default: standard input]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl Source {
    /// Reads the password for `address`.
    pub(crate) fn read(&self, address: &str) -> Result<Secret, String> {
        let Some(path) = &self.password_file else {
            return ask(&format!("Password for {address}")).map(Secret);
        };
        let from = path.display().to_string();
        let file = File::open(path).map_err(|e| format!("{from}: {e}"))?;
        checked(first_line(BufReader::new(file)), &from).map(Secret)
    }
}

/// Asks for a line that nobody is to see; from standard input if that is no terminal.
pub(crate) fn ask(what: &str) -> Result<String, String> {
    let line =
        if io::stdin().is_terminal() { hidden::line(what) } else { first_line(io::stdin().lock()) };
    checked(line, "standard input")
}

/// Asks for a new one: on a terminal, where nobody sees a slip, twice.
pub(crate) fn ask_twice(what: &str, again: &str) -> Result<String, String> {
    let first = ask(what)?;
    if io::stdin().is_terminal() && ask(again)? != first {
        return Err("the two are not the same; nothing was changed".to_owned());
    }
    Ok(first)
}

fn checked(line: io::Result<String>, from: &str) -> Result<String, String> {
    let line = line.map_err(|e| format!("what {from} says cannot be read: {e}"))?;
    if line.is_empty() {
        return Err(format!("{from} begins with an empty line; there has to be a password"));
    }
    Ok(line)
}

#[expect(clippy::print_stderr, reason = "a prompt must not end up in what a script reads")]
fn prompt(what: &str, end: &str) {
    eprint!("{what}{end}");
}

fn first_line(source: impl io::BufRead) -> io::Result<String> {
    let mut line = String::new();
    source.take(BYTES_MAX).read_line(&mut line)?;
    let end = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(end);
    Ok(line)
}

/// Typing that is not shown.
#[cfg(unix)]
mod hidden {
    use std::io::{self, Read as _};

    use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

    use super::{KEYS_MAX, prompt};

    /// A terminal that shows nothing, until dropped. It gives each byte as it is typed, the
    /// interrupt's too, so that this program always gets to put things right again.
    struct Quiet(Termios);

    impl Quiet {
        fn begin() -> io::Result<Self> {
            let before = tcgetattr(io::stdin())?;
            let mut quiet = before.clone();
            quiet.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
            tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
            Ok(Self(before))
        }
    }

    impl Drop for Quiet {
        fn drop(&mut self) {
            // A terminal that is gone needs no care.
            let _gone = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
        }
    }

    pub(super) fn line(what: &str) -> io::Result<String> {
        let quiet = Quiet::begin()?;
        prompt(what, " (it is not shown): ");
        let line = super::typed(io::stdin().lock().bytes().take(KEYS_MAX));
        drop(quiet);
        prompt("", "\n");
        line
    }
}

/// The terminal shows what is typed: there is no way here to turn that off.
#[cfg(not(unix))]
mod hidden {
    use std::io;

    pub(super) fn line(what: &str) -> io::Result<String> {
        super::prompt(what, " (it will be seen; end with the return key):\n");
        super::first_line(io::stdin().lock())
    }
}

/// A line out of single keys, with the keys that take back.
#[cfg(unix)]
fn typed(keys: impl Iterator<Item = io::Result<u8>>) -> io::Result<String> {
    const INTERRUPT: u8 = 3;
    const END: u8 = 4;
    const BACK: u8 = 8;
    const KILL: u8 = 21;
    const DELETE: u8 = 127;
    let mut line = Vec::new();
    for key in keys {
        match key? {
            b'\r' | b'\n' | END => break,
            INTERRUPT => return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted")),
            KILL => line.clear(),
            BACK | DELETE => {
                // A character may be several bytes.
                while line.pop().is_some_and(|byte: u8| byte & 0xC0 == 0x80) {}
            }
            byte => line.push(byte),
        }
    }
    String::from_utf8(line).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_without_its_break() {
        let line = |text: &str| first_line(text.as_bytes()).unwrap();
        assert_eq!(line("correct horse\n"), "correct horse");
        assert_eq!(line("correct horse\r\nnot this"), "correct horse");
        assert_eq!(line(" spaces are part of it "), " spaces are part of it ");
        assert_eq!(line("\nsecond"), "");
    }

    #[cfg(unix)]
    #[test]
    fn keys_make_a_line() {
        let line = |keys: &str| typed(keys.bytes().map(Ok));
        assert_eq!(line("correct horse\rx").unwrap(), "correct horse");
        assert_eq!(line("wrong\u{15}right\n").unwrap(), "right");
        assert_eq!(line("aé\u{7f}b\u{8}\u{8}\u{8}ü\n").unwrap(), "ü");
        assert!(line("half\u{3}").is_err());
    }
}
