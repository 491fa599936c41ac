//! A login by SCRAM outside of SMTP: the same lines, for a protocol that has other words around
//! them.
//!
//! ```text
//!   begin ─▶ Challenge ─▶ answer ─▶ FindKeys ─▶ keys ─▶ Challenge ─▶ … ─▶ Proven
//! ```
//! Invariants: those of `login` and `scram`; nothing is asked of a login that was refused.
//! Not here: the messages (`scram`), PLAIN and LOGIN, which each protocol reads by itself.

use crate::channel_binding::ChannelBindings;
use crate::login::{self, Exchange, KeysWanted, Mechanism, Proof, Step};
use crate::reply::{Reply, fixed};
use crate::scram::{Channel, ClientFirst, Nonce, StoredKeys};

/// A login that waits for its client.
#[derive(Debug)]
pub struct Waiting(Exchange);

/// A login that waits for keys.
#[derive(Debug)]
pub struct Asking {
    mechanism: Mechanism,
    first: ClientFirst,
}

/// What comes next.
#[derive(Debug)]
pub enum Turn {
    /// Send this, in base64 already, and go on with the answer.
    Challenge(String, Waiting),
    /// Find the keys of this login, and go on with them.
    FindKeys(KeysWanted, Asking),
    /// It was checked, and was right or wrong.
    Proven(Proof),
    /// It ended here; why, for the client.
    Refused(String),
}

/// The ways by SCRAM that a connection with these bindings has, the strongest first.
#[must_use]
pub fn mechanisms(bindings: &ChannelBindings) -> Vec<Mechanism> {
    let plus = (!bindings.is_empty()).then_some(Mechanism::ScramSha256Plus);
    plus.into_iter().chain([Mechanism::ScramSha256]).collect()
}

/// Begins a login, with the initial response if there was one (`=`: an empty one).
#[must_use]
pub fn begin(mechanism: Mechanism, initial: Option<&str>, bindings: &ChannelBindings) -> Turn {
    if !mechanisms(bindings).contains(&mechanism) {
        return refused(&fixed::AUTH_BAD_MESSAGE);
    }
    let channel = Channel { bindings: bindings.clone(), plus_offered: !bindings.is_empty() };
    turn(login::begin(mechanism, initial, channel))
}

impl Waiting {
    /// Goes on with a line of the client, without its line end.
    #[must_use]
    pub fn answer(self, line: &[u8]) -> Turn {
        turn(self.0.answer(line))
    }
}

impl Asking {
    /// Goes on with the keys, and a nonce made for this one login.
    #[must_use]
    pub fn keys(self, keys: StoredKeys, nonce: &Nonce) -> Turn {
        turn(login::challenge(self.mechanism, self.first, keys, nonce))
    }
}

fn turn(step: Step) -> Turn {
    match step {
        Step::Ask(challenge, exchange) => {
            Turn::Challenge(challenge.into_owned(), Waiting(exchange))
        }
        Step::FindKeys(mechanism, first) => {
            let wanted = KeysWanted { mechanism, login: first.login().to_owned() };
            Turn::FindKeys(wanted, Asking { mechanism, first })
        }
        Step::Proven(proof) => Turn::Proven(proof),
        Step::Refused(reply) => refused(&reply),
        // The ends of other ways.
        Step::Done(_) | Step::Shown(_) | Step::Certified(_) | Step::Failed => {
            refused(&fixed::AUTH_BAD_MESSAGE)
        }
    }
}

fn refused(reply: &Reply) -> Turn {
    Turn::Refused(reply.text().to_owned())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;
    use crate::login::BASE64;
    use crate::scram::tests::{FEW, client, keys, nonce};

    #[test]
    fn a_login_from_its_begin_to_its_end() {
        let bindings = ChannelBindings { exporter: Some([7; 32]), server_end_point: None };
        let way = Mechanism::ScramSha256Plus;
        let Turn::Challenge(text, waiting) = begin(way, None, &bindings) else { panic!("first") };
        assert_eq!(text, "");
        let header = "p=tls-exporter,,";
        let first = BASE64.encode(format!("{header}n=anna,r=abc"));
        let Turn::FindKeys(wanted, asking) = waiting.answer(first.as_bytes()) else {
            panic!("keys")
        };
        assert_eq!((wanted.mechanism, wanted.login.as_str()), (way, "anna"));
        let turn = asking.keys(keys(&["secret"], &[5; 16], FEW), &nonce("xyz"));
        let Turn::Challenge(text, waiting) = turn else { panic!("challenge") };
        let challenge = String::from_utf8(BASE64.decode(text).unwrap()).unwrap();
        let bound = [header.as_bytes(), &[7; 32]].concat();
        let (proof, signature) = client("secret", "n=anna,r=abc", &challenge, &bound);
        let turn = waiting.answer(BASE64.encode(proof).as_bytes());
        let Turn::Challenge(text, waiting) = turn else { panic!("signature") };
        assert_eq!(text, BASE64.encode(signature));
        let Turn::Proven(proof) = waiting.answer(b"") else { panic!("end") };
        assert_eq!(proof.right, Some(0));
    }

    #[test]
    fn what_is_refused() {
        let none = ChannelBindings::default();
        let text = |turn| match turn {
            Turn::Refused(text) => text,
            other => panic!("{other:?}"),
        };
        let unreadable = "cannot read the response";
        assert_eq!(text(begin(Mechanism::ScramSha256Plus, None, &none)), unreadable);
        assert_eq!(text(begin(Mechanism::Plain, Some("AGEAYg=="), &none)), unreadable);
        assert_eq!(text(begin(Mechanism::ScramSha256, Some("="), &none)), unreadable);
        let bound = ChannelBindings { server_end_point: Some(vec![1]), ..none };
        let hidden = BASE64.encode("y,,n=anna,r=abc");
        let why = text(begin(Mechanism::ScramSha256, Some(&hidden), &bound));
        assert_eq!(why, "channel binding is offered, somebody hides it from you");
    }
}
