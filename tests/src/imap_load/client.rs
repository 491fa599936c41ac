//! A client that says one command after the other, and counts what it hears.
//!
//! Invariant: literals are passed over by their length, so that no letter is taken for an answer.
//! Not here: what is said ([`super::rows`]).

use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use grace_tests::house::Account;

/// How long a server may take for a piece of an answer.
const PATIENCE: Duration = Duration::from_secs(300);
/// Read at once.
const READ_BYTES: usize = 256 << 10;

/// One connection.
#[derive(Debug)]
pub(super) struct Client {
    stream: BufReader<TcpStream>,
    line: Vec<u8>,
    tag: u32,
}

/// What was heard of a command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// `FETCH` responses.
    pub(super) fetched: usize,
    /// Numbers in `SEARCH`, `SORT` and `THREAD`.
    pub(super) numbers: usize,
    /// The last `EXISTS`.
    pub(super) exists: usize,
    /// Bytes of literals.
    pub(super) literal_bytes: u64,
}

impl Client {
    /// Connects and logs in.
    pub(super) fn login(port: u16, account: &Account) -> Result<Self, String> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        let stream = stream.map_err(|error| error.to_string())?;
        let set = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(PATIENCE)));
        set.map_err(|error| error.to_string())?;
        let stream = BufReader::with_capacity(READ_BYTES, stream);
        let mut client = Self { stream, line: Vec::new(), tag: 0 };
        client.read_line()?;
        client.command(&format!("LOGIN {} \"{}\"", account.address, account.password))?;
        Ok(client)
    }

    /// Says a command, which must succeed.
    pub(super) fn command(&mut self, text: &str) -> Result<Told, String> {
        self.send(text.as_bytes())?;
        self.answered(text)
    }

    /// Appends letters to a mailbox, in one command (RFC 3502, RFC 7888).
    pub(super) fn append(
        &mut self,
        mailbox: &str,
        letters: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<Told, String> {
        let mut text = format!("APPEND {mailbox}").into_bytes();
        for letter in letters {
            text.extend_from_slice(format!(" {{{}+}}\r\n", letter.len()).as_bytes());
            text.extend_from_slice(&letter);
        }
        self.send(&text)?;
        self.answered("APPEND")
    }

    /// Begins to wait for news.
    pub(super) fn idle(&mut self) -> Result<(), String> {
        self.send(b"IDLE")?;
        while !self.read_line()?.starts_with(b"+") {}
        Ok(())
    }

    /// Waits until there are so many messages, in IDLE, and says when it heard so.
    pub(super) fn wait_exists(&mut self, wanted: usize) -> Result<Instant, String> {
        let begun = Instant::now();
        loop {
            // A server may tell of two letters in one line.
            let line = String::from_utf8_lossy(self.read_line()?).into_owned();
            let told = line.strip_prefix("* ").and_then(|line| line.strip_suffix(" EXISTS"));
            if told.and_then(|count| count.parse().ok()).is_some_and(|count: usize| count >= wanted)
            {
                return Ok(Instant::now());
            }
            // One that forgot this client says now and then that it is still there.
            if begun.elapsed() > PATIENCE {
                return Err(format!("no word of a letter within {PATIENCE:?}"));
            }
        }
    }

    /// Ends the waiting.
    pub(super) fn done(&mut self) -> Result<(), String> {
        self.write(b"DONE\r\n")?;
        self.answered("IDLE").map(drop)
    }

    fn send(&mut self, text: &[u8]) -> Result<(), String> {
        self.tag += 1;
        let line = [format!("t{} ", self.tag).as_bytes(), text, b"\r\n"].concat();
        self.write(&line)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.get_mut().write_all(bytes).map_err(|error| error.to_string())
    }

    /// Reads up to the tagged answer.
    fn answered(&mut self, text: &str) -> Result<Told, String> {
        let tag = format!("t{} ", self.tag);
        let mut told = Told::default();
        loop {
            self.read_line()?;
            if let Some(rest) = self.line.strip_prefix(tag.as_bytes()) {
                if rest.starts_with(b"OK") {
                    return Ok(told);
                }
                let said = String::from_utf8_lossy(rest);
                return Err(format!("{text:.60}: {said}"));
            }
            told.count(&self.line);
            while let Some(bytes) = literal(&self.line) {
                told.literal_bytes += bytes;
                self.skip(bytes)?;
                self.read_line()?;
            }
        }
    }

    /// Reads a line, without its end.
    fn read_line(&mut self) -> Result<&[u8], String> {
        self.line.clear();
        let read = self.stream.read_until(b'\n', &mut self.line);
        match read {
            Ok(0) => return Err("the server hung up".to_owned()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(format!("no answer within {PATIENCE:?}"));
            }
            Err(error) => return Err(error.to_string()),
        }
        let length = self.line.trim_ascii_end().len();
        self.line.truncate(length);
        Ok(&self.line)
    }

    fn skip(&mut self, mut bytes: u64) -> Result<(), String> {
        while bytes > 0 {
            let held = self.stream.fill_buf().map_err(|error| error.to_string())?.len();
            if held == 0 {
                return Err("the server hung up".to_owned());
            }
            let most = usize::try_from(bytes).unwrap_or(usize::MAX).min(held);
            self.stream.consume(most);
            bytes -= most as u64;
        }
        Ok(())
    }
}

impl Told {
    /// Counts an untagged line.
    fn count(&mut self, line: &[u8]) {
        let Some(rest) = line.strip_prefix(b"* ") else { return };
        for word in [b"SEARCH".as_slice(), b"SORT", b"THREAD"] {
            if let Some(numbers) = rest.strip_prefix(word) {
                let digits = numbers.split(|byte| !byte.is_ascii_digit());
                self.numbers += digits.filter(|digits| !digits.is_empty()).count();
                return;
            }
        }
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = rest.split_at(digits);
        if rest.starts_with(b" FETCH (") {
            self.fetched += 1;
        } else if rest == b" EXISTS" {
            let number = std::str::from_utf8(number).unwrap_or_default();
            self.exists = number.parse().unwrap_or_default();
        }
    }
}

/// The length of the literal that this line announces.
fn literal(line: &[u8]) -> Option<u64> {
    let rest = line.strip_suffix(b"}")?;
    let open = rest.iter().rposition(|byte| *byte == b'{')?;
    std::str::from_utf8(rest.get(open + 1..)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted() {
        let mut told = Told::default();
        for line in ["* 3 FETCH (UID 7)", "* SEARCH 1 22 3", "* THREAD (1)(2 3)", "* 9 EXISTS"] {
            told.count(line.as_bytes());
        }
        assert_eq!(told, Told { fetched: 1, numbers: 6, exists: 9, literal_bytes: 0 });
        assert_eq!(literal(b"* 1 FETCH (BODY[] {12}"), Some(12));
        assert_eq!(literal(b"* 1 FETCH (BODY[] {x}"), None);
    }
}
