//! Passwords come from a file or from standard input.
//!
//! Invariant: one line, without its line break; a password is never an argument, for arguments are
//! seen by every user of the machine and kept in the shell's history.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _};
use std::path::PathBuf;

use clap::Args;

use grace_ipc::message::Secret;

/// Most bytes read for a password; the daemon allows fewer.
const BYTES_MAX: u64 = 16 * 1_024;

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
        let (line, from) = match &self.password_file {
            Some(path) => {
                let from = path.display().to_string();
                let file = File::open(path).map_err(|e| format!("{from}: {e}"))?;
                (first_line(BufReader::new(file)), from)
            }
            None => {
                if io::stdin().is_terminal() {
                    ask(address);
                }
                (first_line(io::stdin().lock()), "standard input".to_owned())
            }
        };
        let line = line.map_err(|e| format!("the password in {from} cannot be read: {e}"))?;
        if line.is_empty() {
            return Err(format!("{from} begins with an empty line; there has to be a password"));
        }
        Ok(Secret(line))
    }
}

/// The terminal shows what is typed: this program has no way to turn that off on every system.
#[expect(clippy::print_stderr, reason = "a prompt must not end up in what a script reads")]
fn ask(address: &str) {
    eprintln!("Password for {address} (it will be seen; end with the return key):");
}

fn first_line(source: impl io::BufRead) -> io::Result<String> {
    let mut line = String::new();
    source.take(BYTES_MAX).read_line(&mut line)?;
    let end = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(end);
    Ok(line)
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
}
