//! One connection: commands go out, responses come in, and the last of what was said is kept.
//!
//! Invariant: every line ends with CRLF; a connection that is to be cut reads not one byte more
//! than it may.
//! Not here: TLS, and what responses mean ([`super::picture`]).

use std::collections::VecDeque;
use std::io::{BufReader, Read, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use super::syntax::{self, Response, Status};
use crate::house::Account;

/// How long a server may take to answer. Twenty sessions share two cores with a daemon that syncs.
const PATIENCE: Duration = Duration::from_secs(60);
/// Lines of a conversation that are shown when it goes wrong.
const SAID_MAX: usize = 60;
/// Bytes of a line that are shown.
const SHOWN_BYTES: usize = 400;
/// Why a read ended: as many bytes came as may.
pub const CUT: &str = "the connection was cut";

/// A connection.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<Meter>,
    tags: u32,
    said: VecDeque<String>,
}

/// A socket that counts what is read, and may end early.
#[derive(Debug)]
struct Meter {
    stream: TcpStream,
    read: usize,
    most: Option<usize>,
}

impl Read for Meter {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let room = self.most.map_or(buffer.len(), |most| buffer.len().min(most - self.read));
        let count = self.stream.read(buffer.get_mut(..room).unwrap_or_default())?;
        self.read += count;
        Ok(count)
    }
}

/// What a command was answered with.
#[derive(Debug)]
pub struct Reply {
    /// Untagged responses, in order.
    pub untagged: Vec<Response>,
    /// The tagged one.
    pub status: Status,
}

impl Client {
    /// Connects to a loopback port and reads the greeting.
    ///
    /// # Errors
    /// Nobody is there.
    pub fn connect(port: u16) -> Result<Self, String> {
        Self::connect_for(port, None)
    }

    /// The same, with an end after so many bytes were read.
    ///
    /// # Errors
    /// Nobody is there.
    pub fn connect_for(port: u16, most: Option<usize>) -> Result<Self, String> {
        let told = |error: std::io::Error| error.to_string();
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(told)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(told)?;
        stream.set_nodelay(true).map_err(told)?;
        let stream = BufReader::new(Meter { stream, read: 0, most });
        let mut client = Self { stream, tags: 0, said: VecDeque::new() };
        client.response()?;
        Ok(client)
    }

    /// Logs in.
    ///
    /// # Errors
    /// That is refused.
    pub fn login(&mut self, account: &Account) -> Result<(), String> {
        let quote = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let (name, password) = (quote(&account.address), quote(&account.password));
        self.ok(&format!("LOGIN \"{name}\" \"{password}\"")).map(drop)
    }

    /// How many bytes were read so far.
    #[must_use]
    pub fn read_bytes(&self) -> usize {
        self.stream.get_ref().read
    }

    /// Sends a command, without its tag, and reads everything up to its tagged response.
    ///
    /// # Errors
    /// The connection ends, or what comes is not IMAP.
    pub fn command(&mut self, command: &str) -> Result<Reply, String> {
        let tag = self.send(command)?;
        self.reply(&tag)
    }

    /// The same; the answer must be OK.
    ///
    /// # Errors
    /// It is not.
    pub fn ok(&mut self, command: &str) -> Result<Reply, String> {
        let reply = self.command(command)?;
        if reply.status.word == "OK" { Ok(reply) } else { Err(self.wrong("refused")) }
    }

    /// Sends a command and returns its tag.
    ///
    /// # Errors
    /// The connection ended.
    pub fn send(&mut self, command: &str) -> Result<String, String> {
        self.tags += 1;
        let tag = format!("t{}", self.tags);
        self.write(&format!("{tag} {command}\r\n"))?;
        Ok(tag)
    }

    /// Sends text as it is.
    ///
    /// # Errors
    /// The connection ended.
    pub fn write(&mut self, text: &str) -> Result<(), String> {
        self.note("C", text.as_bytes());
        let written = self.stream.get_mut().stream.write_all(text.as_bytes());
        written.map_err(|error| self.wrong(&error.to_string()))
    }

    /// Reads everything up to the tagged response.
    ///
    /// # Errors
    /// As [`Client::command`].
    pub fn reply(&mut self, tag: &str) -> Result<Reply, String> {
        let mut untagged = Vec::new();
        loop {
            match self.response()? {
                Response::Tagged(status) if status.tag == tag => {
                    return Ok(Reply { untagged, status });
                }
                Response::Tagged(_) => return Err(self.wrong("another tag")),
                response => untagged.push(response),
            }
        }
    }

    /// Reads one response.
    ///
    /// # Errors
    /// As [`Client::command`].
    pub fn response(&mut self) -> Result<Response, String> {
        let mut line = Vec::new();
        loop {
            let from = line.len();
            self.read_line(&mut line)?;
            let Some(length) = literal(line.get(from..).unwrap_or_default()) else { break };
            let from = line.len();
            line.resize(from + length, 0);
            let read = self.stream.read_exact(line.get_mut(from..).unwrap_or_default());
            read.map_err(|error| self.ended(&error))?;
        }
        self.note("S", &line);
        let line = line.strip_suffix(b"\r\n").ok_or_else(|| self.wrong("a line without CRLF"))?;
        syntax::response(line).map_err(|why| self.wrong(&why))
    }

    /// Reads one response, if one begins within `patience`.
    ///
    /// # Errors
    /// As [`Client::command`].
    pub fn response_within(&mut self, patience: Duration) -> Result<Option<Response>, String> {
        if self.stream.buffer().is_empty() {
            let socket = &self.stream.get_ref().stream;
            drop(socket.set_read_timeout(Some(patience)));
            let waiting = socket.peek(&mut [0]);
            drop(socket.set_read_timeout(Some(PATIENCE)));
            let late = [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut];
            if waiting.is_err_and(|error| late.contains(&error.kind())) {
                return Ok(None);
            }
        }
        self.response().map(Some)
    }

    fn read_line(&mut self, line: &mut Vec<u8>) -> Result<(), String> {
        use std::io::BufRead as _;
        let read = self.stream.read_until(b'\n', line);
        match read {
            Ok(_) if line.ends_with(b"\n") => Ok(()),
            Ok(_) => Err(self.ended(&std::io::ErrorKind::UnexpectedEof.into())),
            Err(error) => Err(self.ended(&error)),
        }
    }

    fn ended(&self, error: &std::io::Error) -> String {
        let meter = self.stream.get_ref();
        match meter.most {
            Some(most) if meter.read >= most => CUT.to_owned(),
            _ => self.wrong(&error.to_string()),
        }
    }

    fn note(&mut self, who: &str, bytes: &[u8]) {
        let shown = bytes.get(..bytes.len().min(SHOWN_BYTES)).unwrap_or_default();
        self.said.push_back(format!("{who}: {}", shown.escape_ascii()));
        while self.said.len() > SAID_MAX {
            self.said.pop_front();
        }
    }

    /// What went wrong, with what was said before it.
    #[must_use]
    pub fn wrong(&self, what: &str) -> String {
        let said: Vec<&str> = self.said.iter().map(String::as_str).collect();
        format!("{what}\nthe conversation before:\n{}", said.join("\n"))
    }
}

/// How long the literal is that a line ends with, if it does.
fn literal(line: &[u8]) -> Option<usize> {
    let start = line.iter().rposition(|byte| *byte == b'{')? + 1;
    let digits = line.get(start..)?.strip_suffix(b"}\r\n")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
