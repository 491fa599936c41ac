//! AUTH: who may try, and what becomes of it (RFC 4954).
//!
//! ```text
//!   AUTH ─▶ Login ◀─▶ lines of the peer
//!             ├──▶ FindKeys      ─ answer_keys ──▶ Login
//!             └──▶ Authenticate, ─ answer_login ─▶ Command, logged in or not
//!                  ProofChecked,
//!                  CheckToken,
//!                  CheckCertificate
//! ```
//! Invariants: only a yes of the driver logs somebody in, and never one to a wrong proof; what a
//! peer sent in a login never gets into a note.
//! Not here: the lines of a login (`crate::login`).

use std::time::Instant;

use crate::login::{self, KeysWanted, Mechanism, Secret, Step};
use crate::receiver::asked::wrong;
use crate::receiver::{
    Action, CloseReason, KeysAnswer, LoginAnswer, Mailing, Means, Phase, Question, Receiver,
};
use crate::reply::{Reply, fixed};
use crate::scram::Channel;

impl Receiver {
    /// Whether anybody may log in now.
    pub(super) fn may_log_in(&self) -> bool {
        self.session.tls.is_some() || self.settings.login_without_tls
    }

    /// Does what AUTH says. Without a login there is no transaction it could stand in (RFC 4954 4).
    pub(super) fn auth(
        &mut self,
        mechanism: Option<Mechanism>,
        initial: Option<&Secret>,
    ) -> Result<(), Reply> {
        if !self.settings.role.needs_login() {
            return Err(fixed::NOT_HERE);
        }
        if self.session.hello.is_none() {
            return Err(fixed::HELLO_FIRST);
        }
        if self.session.login.is_some() {
            return Err(fixed::ALREADY_IN);
        }
        if !self.may_log_in() {
            return Err(fixed::TLS_FOR_LOGIN);
        }
        let offered = self.mechanisms();
        let Some(mechanism) = mechanism.filter(|mechanism| offered.contains(mechanism)) else {
            // RFC 4954 4: 504 for a mechanism that is not there.
            let names = format!("mechanisms: {}", self.mechanism_names());
            return Err(Reply::new(504, (5, 5, 4), &names));
        };
        let bindings = self.session.tls.as_ref().map(|tls| tls.bindings.clone());
        let channel = Channel {
            bindings: bindings.unwrap_or_default(),
            plus_offered: offered.contains(&Mechanism::ScramSha256Plus),
        };
        let step = login::begin(mechanism, initial.map(Secret::expose), channel);
        self.login_step(mechanism, step);
        Ok(())
    }

    /// Takes the next line of a login.
    pub(super) fn login_line(&mut self, line: &[u8]) {
        let Phase::Login(mechanism, exchange) = std::mem::replace(&mut self.phase, Phase::Closed)
        else {
            return;
        };
        self.login_step(mechanism, exchange.answer(line));
    }

    fn login_step(&mut self, mechanism: Mechanism, step: Step) {
        match step {
            Step::Ask(challenge, exchange) => {
                self.replies.extend_from_slice(format!("334 {challenge}\r\n").as_bytes());
                self.enter(Phase::Login(mechanism, exchange));
            }
            Step::Done(credentials) => {
                self.ask(Question::Login(Means::Password), Action::Authenticate(credentials));
            }
            Step::FindKeys(mechanism, first) => {
                let wanted = KeysWanted { mechanism, login: first.login().to_owned() };
                self.ask(Question::Keys(mechanism, Box::new(first)), Action::FindKeys(wanted));
            }
            Step::Proven(proof) => {
                let means = Means::Proof { is_right: proof.right.is_some() };
                self.ask(Question::Login(means), Action::ProofChecked(proof));
            }
            Step::Shown(token) => {
                self.ask(Question::Login(Means::Token), Action::CheckToken(token));
            }
            Step::Certified(wish) => {
                self.ask(Question::Login(Means::Certificate), Action::CheckCertificate(wish));
            }
            Step::Failed => self.login_failed(),
            Step::Refused(reply) => {
                self.enter(Phase::Command(Mailing::None));
                self.lines_hidden = 2;
                self.refuse(format!("AUTH {}", mechanism.name()), &reply);
            }
        }
    }

    /// Answers [`Action::FindKeys`].
    pub fn answer_keys(&mut self, now: Instant, answer: KeysAnswer) {
        let Question::Keys(mechanism, first) = self.answered(now) else { wrong("keys") };
        match answer {
            KeysAnswer::Keys(keys, nonce) => {
                self.login_step(mechanism, login::challenge(mechanism, *first, keys, &nonce));
            }
            KeysAnswer::Later => self.login_later(),
        }
    }

    /// Answers [`Action::Authenticate`], [`Action::ProofChecked`] and [`Action::CheckToken`]. To
    /// slow a guesser down, wait before you answer.
    pub fn answer_login(&mut self, now: Instant, answer: LoginAnswer) {
        let Question::Login(means) = self.answered(now) else { wrong("a login") };
        match answer {
            LoginAnswer::Yes(account) if means != (Means::Proof { is_right: false }) => {
                self.session.login = Some(account);
                self.reply(&fixed::LOGGED_IN);
                self.enter(Phase::Command(Mailing::None));
            }
            // RFC 7628 3.2.3: first the reason, then, when the client has seen it, the no.
            LoginAnswer::No if means == Means::Token => {
                self.login_step(Mechanism::OauthBearer, login::refuse_token());
            }
            LoginAnswer::Yes(_) | LoginAnswer::No => self.login_failed(),
            LoginAnswer::Later => self.login_later(),
        }
    }

    fn login_failed(&mut self) {
        self.enter(Phase::Command(Mailing::None));
        self.reply(&fixed::BAD_LOGIN);
        self.lines_hidden = 2;
        self.counts.login_failures += 1;
        if self.counts.login_failures >= self.settings.login_failures_max {
            self.close(CloseReason::TooManyLogins, &fixed::TOO_MANY_LOGINS);
        }
    }

    fn login_later(&mut self) {
        self.enter(Phase::Command(Mailing::None));
        // RFC 4954 6: 454 4.7.0, temporary authentication failure.
        self.reply(&Reply::new(454, (4, 7, 0), "cannot check the password now"));
    }
}
