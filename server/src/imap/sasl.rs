//! Logins by SCRAM and by certificate over IMAP (RFC 5802 and RFC 4422 A in the AUTHENTICATE of
//! RFC 9051 6.2.2).
//!
//! Not here: the messages (`grace_smtp::scram`), whether a proof is right for somebody
//! (`directory::guest`), the words of IMAP around it (`grace_imap`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use grace_imap::machine::{Answer, Why};
use grace_smtp::channel_binding::ChannelBindings;
use grace_smtp::login::Mechanism;
use grace_smtp::sasl::{self, Turn, Waiting};

use super::desk::Desk;
use crate::net::client_names;

/// The login by certificate.
const EXTERNAL: &str = Mechanism::External.name();

/// What a session knows of logins by SCRAM, and of its client's certificate.
#[derive(Debug, Default)]
pub(super) struct Sasl {
    /// What ties a login to the connection.
    bindings: ChannelBindings,
    /// The addresses in the certificate that the client showed.
    addresses: Vec<String>,
    /// EXTERNAL waits for who the client wants to be.
    awaits_wish: bool,
    /// The login that waits for its client's next line.
    waiting: Option<Waiting>,
}

impl Sasl {
    /// For a connection with these bindings, whose client showed a certificate for these addresses.
    pub(super) fn new(bindings: ChannelBindings, addresses: Vec<String>) -> Self {
        Self { bindings, addresses, awaits_wish: false, waiting: None }
    }

    /// The names of the ways there are, the strongest first.
    pub(super) fn offered(&self) -> Vec<&'static str> {
        let external = (!self.addresses.is_empty()).then_some(Mechanism::External);
        let known = sasl::mechanisms(&self.bindings);
        external.into_iter().chain(known).map(Mechanism::name).collect()
    }
}

impl Desk {
    /// Begins a login, with the initial response if there was one.
    pub(super) async fn sasl_begin(&mut self, name: &str, initial: Option<Vec<u8>>) -> Answer {
        // A login before this one may have been cancelled.
        (self.sasl.awaits_wish, self.sasl.waiting) = (false, None);
        if name == EXTERNAL && !self.sasl.addresses.is_empty() {
            return match initial {
                Some(line) => self.external(&line).await,
                None => {
                    self.sasl.awaits_wish = true;
                    Answer::Challenge(String::new())
                }
            };
        }
        let known = sasl::mechanisms(&self.sasl.bindings);
        let Some(way) = known.into_iter().find(|way| way.name() == name) else {
            return Answer::Refused(Why::NotAllowed("this mechanism is not offered".to_owned()));
        };
        // What is no UTF-8 is no base64 either, and is refused as such.
        let initial = initial.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let turn = sasl::begin(way, initial.as_deref(), &self.sasl.bindings);
        self.sasl_turn(turn).await
    }

    /// Goes on with the client's next line.
    pub(super) async fn sasl_line(&mut self, line: &[u8]) -> Answer {
        if std::mem::take(&mut self.sasl.awaits_wish) {
            return self.external(line).await;
        }
        match self.sasl.waiting.take() {
            Some(waiting) => self.sasl_turn(waiting.answer(line)).await,
            None => Answer::Refused(Why::Broken),
        }
    }

    /// EXTERNAL (RFC 4422 A): the client says who it wants to be, or nothing.
    async fn external(&mut self, line: &[u8]) -> Answer {
        let decoded = if line == b"=" { Ok(Vec::new()) } else { STANDARD.decode(line) };
        let Some(wish) = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok()) else {
            return Answer::Refused(Why::NotAllowed("expected base64 of UTF-8".to_owned()));
        };
        let login = client_names::asked(&self.sasl.addresses, &wish).map(str::to_owned);
        let verdict = self.guest.certificate(EXTERNAL, login.as_deref()).await;
        self.admit(verdict)
    }

    async fn sasl_turn(&mut self, mut turn: Turn) -> Answer {
        loop {
            match turn {
                Turn::Challenge(text, waiting) => {
                    self.sasl.waiting = Some(waiting);
                    return Answer::Challenge(text);
                }
                Turn::FindKeys(wanted, asking) => {
                    let found = self.guest.keys(wanted.mechanism.name(), &wanted.login).await;
                    let Some((keys, nonce)) = found else {
                        return Answer::Refused(Why::LoginLimited);
                    };
                    turn = asking.keys(keys, &nonce);
                }
                Turn::Proven(proof) => {
                    let (way, login) = (proof.mechanism.name(), proof.login.as_str());
                    let verdict = self.guest.proof(way, login, proof.right).await;
                    return self.admit(verdict);
                }
                Turn::Refused(text) => return Answer::Refused(Why::NotAllowed(text)),
            }
        }
    }
}
