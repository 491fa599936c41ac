//! A message while it comes in: its header block is held until the last byte is here, its body goes
//! into the journal piece by piece.
//!
//! ```text
//!   header block ──────────────────┐ held, bounded
//!   our own lines, known last ─────┴─▶ head ─┐
//!   body ─▶ journal, and past the checks ────┴─▶ one message, the head in front
//! ```
//! Invariants: memory is bounded by `header_bytes_max`, whatever comes; what is stored is the
//! header block and the body byte for byte, but for fields that speak in our name.
//! Not here: who may send it (`session`), what becomes of it ([`super`]).

use std::net::SocketAddr;

use grace_ipc::event::TraceId;
use grace_mail::header;
use grace_smtp::receiver::Envelope;
use grace_smtp::reply::Reply;

use super::Received;
use super::names::Names;
use super::submitted::Submitter;
use crate::authenticity::results::Extra;
use crate::authenticity::{Authenticity, Check, Facts};
use crate::mailbox::append::Upload;
use crate::signing::sign;
use crate::store::failure::Failure;

/// A message that comes in.
pub struct Incoming {
    /// Its number.
    pub queue_id: String,
    /// Who it is from and for.
    pub envelope: Envelope,
    /// The lines we put on top.
    pub lines: Lines,
    body: Upload,
    header: Vec<u8>,
    header_bytes_max: usize,
    /// Where the line of the header begins that is not whole yet.
    line_start: usize,
    header_ended: bool,
    /// How its sender is to be checked; none: not at all.
    checks: Option<(Authenticity, Facts)>,
    check: Option<Check>,
    submitter: Option<Submitter>,
    /// Its body, to be signed or sealed.
    signed: Option<sign::Body>,
}

/// The lines we put on top (RFC 5321 4.4).
#[derive(Debug)]
pub struct Lines {
    /// `Return-Path:`.
    pub return_path: String,
    /// `Received:`.
    pub received: String,
    /// What the door found out about the peer, for `Authentication-Results:`.
    pub results: Vec<Extra>,
}

/// Why a piece was not taken.
#[derive(Debug)]
pub enum Stuck {
    /// The header block is larger than it may be.
    HeaderTooLarge(usize),
    /// The database failed.
    Store(Failure),
}

impl Stuck {
    /// What the sender is told of a header that is too large.
    #[must_use]
    pub fn too_large(bytes_max: usize) -> Reply {
        let words = format!("the header is larger than {bytes_max} bytes");
        Reply::new(552, (5, 3, 4), &words)
    }
}

impl Incoming {
    /// Begins.
    #[must_use]
    pub fn new(
        queue_id: String,
        envelope: Envelope,
        lines: Lines,
        body: Upload,
        header_bytes_max: usize,
    ) -> Self {
        Self {
            queue_id,
            envelope,
            lines,
            body,
            header: Vec::new(),
            header_bytes_max,
            line_start: 0,
            header_ended: false,
            checks: None,
            check: None,
            submitter: None,
            signed: None,
        }
    }

    /// It comes from one of our own people.
    #[must_use]
    pub fn submitted(self, submitter: Submitter) -> Self {
        Self { submitter: Some(submitter), signed: Some(sign::Body::default()), ..self }
    }

    /// Has its sender checked.
    #[must_use]
    pub fn checked(mut self, authenticity: Authenticity, facts: Facts) -> Self {
        self.checks = Some((authenticity, facts));
        self
    }

    /// It may be passed on, and then sealed.
    #[must_use]
    pub fn passed_on(self) -> Self {
        Self { signed: Some(sign::Body::default()), ..self }
    }

    /// Takes the next piece. Waits while the journal is behind.
    ///
    /// # Errors
    /// The message cannot be taken.
    pub async fn take(&mut self, bytes: &[u8]) -> Result<(), Stuck> {
        let body = if self.header_ended { bytes } else { self.take_header(bytes)? };
        if let Some(check) = &mut self.check {
            check.feed(body);
        }
        if let Some(signed) = &mut self.signed {
            signed.feed(body);
        }
        self.body.write(body).await.map_err(Stuck::Store)
    }

    /// Takes what belongs to the header block, up to its blank line; returns what follows.
    fn take_header<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Stuck> {
        let mut rest = bytes;
        while !self.header_ended
            && let Some(line) = header::line_at(rest, 0)
        {
            self.header.extend_from_slice(line);
            if self.header.len() > self.header_bytes_max {
                return Err(Stuck::HeaderTooLarge(self.header_bytes_max));
            }
            rest = rest.get(line.len()..).unwrap_or_default();
            if line.ends_with(b"\n") {
                let whole = self.header.get(self.line_start..).unwrap_or_default();
                self.header_ended = header::is_blank(whole);
                self.line_start = self.header.len();
            }
        }
        if self.header_ended {
            self.begin_check();
        }
        Ok(rest)
    }

    fn begin_check(&mut self) {
        let begin =
            |(authenticity, facts): (Authenticity, Facts)| authenticity.begin(facts, &self.header);
        self.check = self.checks.take().map(begin);
    }

    /// Its names, as far as it came.
    pub(super) fn names(&self) -> Names {
        Names::of(&self.queue_id, &self.envelope, &self.header, "")
    }

    /// The last byte was taken.
    #[must_use]
    pub fn end(mut self, trace: TraceId, peer: SocketAddr) -> Received {
        if !self.header_ended {
            // A message may have no body, and then no blank line either.
            self.begin_check();
        }
        Received {
            trace,
            peer,
            queue_id: self.queue_id,
            envelope: self.envelope,
            lines: self.lines,
            header: self.header,
            body: self.body,
            check: self.check,
            submitter: self.submitter,
            signed: self.signed,
        }
    }
}
