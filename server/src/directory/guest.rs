//! Somebody at a door who wants to log in: the one way in, by whatever protocol.
//!
//! ```text
//!   password ───────────────▶ may it be tried from here? ─▶ right? ─▶ Welcome, with a ticket
//!   keys ─▶ (proof of SCRAM) ─▶                               └─ no ─▶ counted, told, slowed down
//! ```
//! Invariants: every attempt is told of in one event; a wrong one is answered after a wait that
//! grows with each, and counts against its address alone; an unknown login is answered like a wrong
//! password.
//! Not here: the lines of a login (`grace_smtp::login`, `grace_imap`), whether a password is right
//! ([`super::login`]).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use zeroize::Zeroizing;

use grace_ipc::event::{EventKind, Service, TraceId};
use grace_smtp::scram::{NONCE_RANDOM_BYTES, Nonce, StoredKeys};

use super::login::Login;
use super::scram::Given;
use super::tickets::Ticket;
use super::{Directory, Person};
use crate::net::listener::Porter;
use crate::store::logins::Scope;
use crate::telemetry::bus::claim;

/// How often the wait after a wrong password doubles: eight times the first is the longest.
const DELAY_DOUBLINGS_MAX: u32 = 3;

/// Somebody at a door, for one session.
pub struct Guest {
    directory: Directory,
    porter: Porter,
    service: Service,
    peer: SocketAddr,
    trace: TraceId,
    /// Wrong passwords of this session.
    failures: u32,
    /// What SCRAM was given, until its proof comes.
    given: Option<Given>,
}

/// What became of an attempt.
#[derive(Debug)]
pub enum Verdict {
    /// It is this account, as long as the ticket is not revoked.
    Welcome(Person, Ticket),
    /// Login or password is wrong.
    No,
    /// Too many passwords were guessed from there.
    Limited,
    /// It could not be checked; the client may try again.
    NotNow,
}

impl Guest {
    /// Somebody who has just come in.
    #[must_use]
    pub fn new(
        directory: Directory,
        porter: Porter,
        service: Service,
        peer: SocketAddr,
        trace: TraceId,
    ) -> Self {
        Self { directory, porter, service, peer, trace, failures: 0, given: None }
    }

    /// Checks a password, and takes its time over a wrong one.
    pub async fn password(
        &mut self,
        mechanism: &str,
        login: &str,
        password: Zeroizing<Vec<u8>>,
    ) -> Verdict {
        if !self.may_try(login) {
            return self.limited(mechanism, login).await;
        }
        let found = self.directory.authenticate(login, &password, self.purpose()).await;
        self.conclude(mechanism, login, Some(&password), found).await
    }

    /// The keys for a login by SCRAM, and a nonce for this one time. `None`: it cannot be now.
    pub async fn keys(&mut self, mechanism: &str, login: &str) -> Option<(StoredKeys, Nonce)> {
        if !self.may_try(login) {
            drop(self.limited(mechanism, login).await);
            return None;
        }
        let mut random = [0; NONCE_RANDOM_BYTES];
        let why = match getrandom::fill(&mut random) {
            Err(e) => format!("the system gives no random bytes: {e}"),
            Ok(()) => match self.directory.scram_keys(login, self.purpose()).await {
                Ok((keys, given)) => {
                    self.given = Some(given);
                    return Some((keys, Nonce::from_random(&random)));
                }
                Err(failure) => failure.to_string(),
            },
        };
        self.tell_failed(mechanism, login, &why);
        None
    }

    /// Judges the proof that came to those keys. `right`: the place of those it proves, if any.
    pub async fn proof(&mut self, mechanism: &str, login: &str, right: Option<usize>) -> Verdict {
        let found = match (self.given.take(), right) {
            (Some(Given { account: Some(account), means }), Some(place)) => {
                match means.into_iter().nth(place) {
                    Some(means) => self.directory.welcome(&account, means),
                    None => Login::WRONG,
                }
            }
            _ => Login::WRONG,
        };
        self.conclude(mechanism, login, None, found).await
    }

    /// Lets in who showed a certificate; `login` is the address in it that was asked for, if any.
    pub async fn certificate(&mut self, mechanism: &str, login: Option<&str>) -> Verdict {
        let found = match login {
            Some(login) => self.directory.certified(login),
            None => Login::Wrong("the certificate does not name who was asked for"),
        };
        self.conclude(mechanism, login.unwrap_or_default(), None, found).await
    }

    /// Refuses what nobody here can check.
    pub async fn unknown_way(&mut self, mechanism: &str, login: &str) -> Verdict {
        let found = Login::Wrong("nobody is set up here who gives out tokens");
        self.conclude(mechanism, login, None, found).await
    }

    async fn conclude(
        &mut self,
        mechanism: &str,
        login: &str,
        password: Option<&[u8]>,
        found: Login,
    ) -> Verdict {
        let (service, peer) = (self.service, self.peer);
        match found {
            Login::Welcome(person, means, ticket) => {
                self.porter.bans.succeeded(Instant::now(), peer.ip(), login);
                self.directory.note_use(person.id, &means, peer.ip()).await;
                let (account, mechanism) = (person.address.clone(), mechanism.to_owned());
                let kind = EventKind::LoginSucceeded { service, peer, account, mechanism };
                self.porter.bus.emit(self.trace, kind);
                Verdict::Welcome(person, ticket)
            }
            Login::Wrong(why) => {
                let now = Instant::now();
                let count = self.porter.bans.failed(now, peer.ip(), login, password);
                if count.begins_ban {
                    let ban_s = self.porter.limits.login_ban_s;
                    let why = format!("{why}; its address is kept out for {ban_s} s");
                    self.tell_failed(mechanism, login, &why);
                } else {
                    self.tell_failed(mechanism, login, why);
                }
                self.slow_down(count.guesses.saturating_sub(1)).await;
                Verdict::No
            }
            Login::Unavailable(why) => {
                self.tell_failed(mechanism, login, &why);
                Verdict::NotNow
            }
        }
    }

    /// Whether this login may be tried from here: asked anew each time, for a session may have
    /// begun before its address was banned.
    fn may_try(&self, login: &str) -> bool {
        self.porter.bans.may_try(Instant::now(), self.peer.ip(), login)
    }

    async fn limited(&mut self, mechanism: &str, login: &str) -> Verdict {
        self.tell_failed(mechanism, login, "too many wrong passwords came from its address");
        self.slow_down(DELAY_DOUBLINGS_MAX).await;
        Verdict::Limited
    }

    /// Makes guessing slow: each wrong password of a session, or of its address, waits twice as
    /// long as the one before.
    async fn slow_down(&mut self, of_address: u32) {
        let first_ms = self.porter.limits.login_failure_delay_ms;
        let doublings = self.failures.max(of_address).min(DELAY_DOUBLINGS_MAX);
        self.failures = self.failures.saturating_add(1);
        tokio::select! {
            () = self.porter.stop.wait() => {}
            () = sleep(Duration::from_millis(first_ms << doublings)) => {}
        }
    }

    fn tell_failed(&self, mechanism: &str, login: &str, why: &str) {
        let failed = EventKind::LoginFailed {
            service: self.service,
            peer: self.peer,
            login: claim(login.as_bytes()),
            mechanism: mechanism.to_owned(),
            reason: why.to_owned(),
        };
        self.porter.bus.emit(self.trace, failed);
    }

    /// What a login at this door is for.
    fn purpose(&self) -> Scope {
        match self.service {
            Service::Imap | Service::Imaps => Scope::Imap,
            Service::Smtp | Service::Submission | Service::Submissions | Service::Admin => {
                Scope::Smtp
            }
        }
    }
}
