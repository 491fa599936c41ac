//! From the greeting to a session that takes mail: EHLO or HELO, STARTTLS, AUTH.
//!
//! ```text
//!   greeting ─▶ EHLO ─▶ STARTTLS ─▶ (handshake) ─▶ EHLO ─▶ AUTH ─▶ next_job
//!                └5yz─▶ HELO           │                    ▲
//!                        └─────────────┴── no TLS ──────────┘
//! ```
//! Invariants: what was learnt before TLS is forgotten (RFC 3207 4.2); a password is sent only over
//! TLS, unless `settings` says otherwise, and never noted.
//! Not here: the handshake (the driver), the choice of the host.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use crate::reply::printable;
use crate::sender::extensions::Extensions;
use crate::sender::outcome::{Failure, Reason};
use crate::sender::reply::{PeerReply, RawReply};
use crate::sender::settings::{LINE_SHOWN_BYTES_MAX, TlsPolicy};
use crate::sender::{Action, Asked, CloseReason, Phase, Sender, Tls};

/// What a note shows of a response to AUTH.
const NOT_SHOWN: &str = "(not shown)";

/// Where a login stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Login {
    /// `AUTH LOGIN` is sent: the peer asks for the name.
    Name,
    /// The name is sent: the peer asks for the password.
    Password,
    /// All is sent: the peer says yes or no.
    Verdict,
}

impl Sender {
    pub(super) fn greeted(&mut self, reply: PeerReply) {
        match reply.code {
            220 if self.wants_out() => self.say_quit(CloseReason::Quit),
            220 => self.say_hello(Asked::Ehlo),
            // RFC 5321 3.1: 554, and by RFC 7504 521: there is no mail service here.
            400.. => self.give_up(Failure::replied(reply)),
            _ => self.unexpected(Asked::Greeting, reply),
        }
    }

    /// The driver wants no more, and there is nothing to be done first.
    fn wants_out(&self) -> bool {
        self.is_stopping && self.transaction.is_none()
    }

    fn say_hello(&mut self, asked: Asked) {
        let verb = if asked == Asked::Ehlo { "EHLO" } else { "HELO" };
        let line = format!("{verb} {}", self.settings.hostname);
        self.command(asked, &line, &line);
    }

    pub(super) fn hello_answered(&mut self, asked: Asked, raw: &RawReply, reply: PeerReply) {
        match reply.class() {
            2 => {
                let first = raw.lines.first().map_or("", String::as_str);
                let name = first.split_whitespace().next().unwrap_or_default();
                self.peer_name = Some(printable(name, LINE_SHOWN_BYTES_MAX));
                if asked == Asked::Ehlo {
                    self.extensions = Extensions::parse(&raw.lines);
                }
                let own_name = self.settings.own_name.as_deref();
                if own_name.is_some_and(|own| name.eq_ignore_ascii_case(own)) {
                    return self.give_up(Failure::found(Reason::OwnName));
                }
                self.encrypt();
            }
            // RFC 5321 3.2: a server that does not know EHLO is asked with HELO.
            5 if asked == Asked::Ehlo => self.say_hello(Asked::Helo),
            4 | 5 => self.give_up(Failure::replied(reply)),
            _ => self.unexpected(asked, reply),
        }
    }

    fn encrypt(&mut self) {
        let is_offered = self.extensions.starttls;
        match (&self.tls, self.settings.tls) {
            _ if self.wants_out() => self.say_quit(CloseReason::Quit),
            (Some(_), _) | (None, TlsPolicy::Never) => self.log_in(),
            (None, _) if is_offered => self.command(Asked::StartTls, "STARTTLS", "STARTTLS"),
            (None, TlsPolicy::Opportunistic) => self.log_in(),
            (None, TlsPolicy::Required) => self.give_up(Failure::found(Reason::NoStartTls)),
        }
    }

    pub(super) fn start_tls_answered(&mut self, reply: PeerReply) {
        match reply.code {
            // Whoever is between us could have put commands' replies there (RFC 3207 6).
            220 if !self.input.is_empty() => {
                self.fail(Failure::found(Reason::StartTlsInjection));
            }
            220 if self.is_gone => self.phase = Phase::Tls,
            220 => {
                self.enter(Phase::Tls);
                self.actions.push_back(Action::StartTls);
            }
            400.. if self.settings.tls == TlsPolicy::Required => {
                self.give_up(Failure::found(Reason::StartTlsRefused(reply)));
            }
            // RFC 3207 4: the client decides whether to go on.
            400.. => self.log_in(),
            _ => self.unexpected(Asked::StartTls, reply),
        }
    }

    /// Answers [`Action::StartTls`].
    pub fn tls_started(&mut self, now: Instant, tls: Tls) {
        self.now = now;
        if self.phase != Phase::Tls {
            return;
        }
        self.tls = Some(tls);
        self.extensions = Extensions::default();
        self.peer_name = None;
        self.enter(Phase::Opening);
        self.say_hello(Asked::Ehlo);
    }

    /// Answers [`Action::StartTls`]: the handshake failed, for this reason. The session ends; where
    /// TLS is opportunistic, connect again with [`TlsPolicy::Never`].
    pub fn tls_failed(&mut self, now: Instant, why: &str) {
        self.now = now;
        if self.phase == Phase::Tls {
            let why = printable(why, LINE_SHOWN_BYTES_MAX);
            self.fail(Failure::found(Reason::TlsFailed(why)));
        }
    }

    fn log_in(&mut self) {
        let Some(login) = &self.settings.login else { return self.next_job() };
        if self.tls.is_none() && !self.settings.login_without_tls {
            return self.give_up(Failure::found(Reason::LoginNeedsTls));
        }
        if self.extensions.auth_plain {
            // RFC 4616 2: nobody in particular is to be acted for. RFC 4954 4: in the same line.
            let response = Zeroizing::new(format!("\0{}\0{}", login.name, login.password.expose()));
            let response = Zeroizing::new(BASE64.encode(response.as_bytes()));
            let line = Zeroizing::new(format!("AUTH PLAIN {}", response.as_str()));
            self.command(Asked::Auth(Login::Verdict), &line, &format!("AUTH PLAIN {NOT_SHOWN}"));
        } else if self.extensions.auth_login {
            self.command(Asked::Auth(Login::Name), "AUTH LOGIN", "AUTH LOGIN");
        } else {
            self.give_up(Failure::found(Reason::NoLogin));
        }
    }

    pub(super) fn auth_answered(&mut self, at: Login, reply: PeerReply) {
        match (reply.class(), at) {
            (2, Login::Verdict) => self.next_job(),
            (3, Login::Name | Login::Password) => self.say_secret(at),
            (4, _) => self.give_up(Failure::replied(reply)),
            // It is our login that is wrong, not the message: nothing is lost until it is mended.
            (5, _) => self.give_up(Failure::found(Reason::LoginRefused(reply))),
            _ => self.unexpected(Asked::Auth(at), reply),
        }
    }

    /// Answers what AUTH LOGIN asks for, whatever the words.
    fn say_secret(&mut self, at: Login) {
        let Some(login) = &self.settings.login else { return };
        let (secret, next) = match at {
            Login::Name => (login.name.as_str(), Login::Password),
            Login::Password | Login::Verdict => (login.password.expose(), Login::Verdict),
        };
        let line = Zeroizing::new(BASE64.encode(secret));
        self.command(Asked::Auth(next), &line, NOT_SHOWN);
    }

    /// Whether a reply repeats what nobody may read, as it was or as it was sent.
    pub(super) fn tells_login(&self, raw: &RawReply) -> bool {
        let Some(login) = &self.settings.login else { return false };
        let password = login.password.expose();
        let plain = Zeroizing::new(format!("\0{}\0{password}", login.name));
        let secrets = [
            Zeroizing::new(password.to_owned()),
            Zeroizing::new(BASE64.encode(password)),
            Zeroizing::new(BASE64.encode(plain.as_bytes())),
        ];
        let tells = |line: &String| {
            secrets.iter().any(|secret| !secret.is_empty() && line.contains(secret.as_str()))
        };
        // A long line may have been cut in two.
        raw.lines.iter().any(tells) || tells(&raw.lines.concat())
    }
}
