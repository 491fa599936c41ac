//! Sets as the suite for ARC wants them, and as another server reads them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;

use aws_lc_rs::signature::{RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};
use mail_auth::common::crypto::{RsaKey, Sha256};
use mail_auth::{AuthenticatedMessage, DkimResult, MessageAuthenticator};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::Deserialize;

use super::super::keys;
use super::super::sign::Body;
use super::*;
use crate::dkim::suites::{corpus, settle, with_crlf};
use crate::dns::testing::{Server, Zone};

/// What fails, and why.
const KNOWN: &[(&str, &str)] = &[];

#[derive(Deserialize)]
struct Part {
    domain: String,
    sel: String,
    tests: BTreeMap<String, Test>,
    #[serde(rename = "txt-records")]
    texts: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Test {
    message: String,
    t: u64,
    sig_headers: String,
    srv_id: String,
    #[serde(rename = "AS")]
    seal: String,
    #[serde(rename = "AMS")]
    signature: String,
    #[serde(rename = "AAR")]
    results: String,
}

/// The header block with its blank line, and the body.
fn cut(message: &[u8]) -> (&[u8], &[u8]) {
    let end = message.windows(4).position(|four| four == b"\r\n\r\n").expect("a body");
    message.split_at(end + 4)
}

/// What the fields of this server say, as one: the suite wants them joined (we take our results
/// from where they are found out, and not from fields).
fn joined_results(header: &[u8], server: &str) -> String {
    let results = header::fields(header).filter(|field| field.is(b"Authentication-Results"));
    let results = results.filter_map(|field| {
        let value = String::from_utf8_lossy(&header::unfold(field.value)).trim().to_owned();
        let rest = value.strip_prefix(server)?.trim_start().strip_prefix(';')?.to_owned();
        Some(rest.trim().trim_end_matches(';').to_owned())
    });
    results.fold(String::new(), |all, one| format!("{all}; {one}"))
}

fn validation(results: &str) -> Validation {
    match results {
        results if results.starts_with("; arc=pass") => Validation::Pass,
        results if results.starts_with("; arc=fail") => Validation::Fail,
        _ => Validation::None,
    }
}

/// The tags of a field or of a text of the suite, by their names, without white space.
fn tags(text: &str) -> BTreeMap<String, String> {
    let tags = text.split(';').filter_map(|tag| tag.split_once('='));
    let plain = |text: &str| text.split_whitespace().collect::<String>();
    tags.map(|(name, value)| (plain(name), plain(value))).collect()
}

/// Makes the set that a test wants. The suite's keys are too short to sign with today; so the suite
/// signs, and each signature of its must fit what we would have signed.
fn suite_set(part: &Part, test: &Test) -> Result<String, String> {
    let message = with_crlf(&test.message);
    let (header, body) = cut(&message);
    let results = joined_results(header, &test.srv_id);
    let statement =
        Statement { hostname: &test.srv_id, results: &results, validation: validation(&results) };
    let record = part.texts.values().next().expect("a key");
    let public = record.split("p=").nth(1).expect("a key").split_whitespace().collect::<String>();
    let public = BASE64.decode(public).expect("base64");
    let key = UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, public);
    let wanted = RefCell::new(vec![&test.seal, &test.signature]);
    let sign = |input: &[u8]| {
        let wanted = wanted.borrow_mut().pop().expect("two signatures at most");
        let signature = BASE64.decode(&tags(wanted)["b"]).expect("base64");
        match key.verify(input, &signature) {
            Ok(()) => Ok(signature),
            Err(_) => Err(Failure::Key(String::from_utf8_lossy(input).into_owned())),
        }
    };
    let mut whole = Body::default();
    whole.feed(body);
    let names: Vec<String> = test.sig_headers.split(':').map(str::to_owned).collect();
    let sealer = Sealer { domain: &part.domain, selector: &part.sel, now_s: test.t, sign: &sign };
    set(&sealer, &statement, header, &names, &whole.hash()).map_err(|e| e.to_string())
}

/// Whether the set says what the test wants.
fn differs(set: &str, test: &Test) -> Option<String> {
    let found: Vec<String> = header::fields(set.as_bytes())
        .map(|field| String::from_utf8_lossy(field.value).into_owned())
        .collect();
    let [seal, signature, results] = found.as_slice() else {
        let is_wanted = test.seal.is_empty() && test.signature.is_empty();
        return (!is_wanted).then(|| "no set".to_owned());
    };
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let pairs = [
        (format!("{:?}", tags(seal)), format!("{:?}", tags(&test.seal))),
        (format!("{:?}", tags(signature)), format!("{:?}", tags(&test.signature))),
        (words(results), words(&test.results)),
    ];
    pairs.into_iter().find(|(ours, theirs)| ours != theirs).map(|pair| format!("{pair:?}"))
}

#[test]
fn sets_are_those_of_the_suite() {
    let file = "postalsys+mailauth/test/fixtures/arc/arc-draft-sign-tests.json";
    let Some(file) = corpus(file, "sets_are_those_of_the_suite") else { return };
    let suite = fs::read_to_string(file).expect("a readable suite");
    let parts: Vec<Part> = serde_json::from_str(&suite).expect("the suite's JSON");
    let (mut run, mut failed) = (0, Vec::new());
    for part in &parts {
        for (name, test) in &part.tests {
            run += 1;
            let made = suite_set(part, test);
            let wrong = match made {
                Ok(set) => differs(&set, test),
                Err(input) => Some(format!("the signature does not fit {input:?}")),
            };
            failed.extend(wrong.map(|why| (name.clone(), why)));
        }
    }
    settle("ARC signing suite", run, &failed, KNOWN);
}

/// A domain that seals, and the name server that knows its key.
struct House {
    key: RsaKey<Sha256>,
    server: Server,
}

const DOMAIN: &str = "relay.example";
const LETTER: &[u8] =
    b"From: a@b.example\r\nSubject: hi\r\nDKIM-Signature: v=1; b=x\r\n\r\nHello\r\n";

impl House {
    async fn open() -> Self {
        let [rsa, _] = keys::make_pair().expect("keys");
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(rsa.private_key));
        let key = RsaKey::<Sha256>::from_key_der(der).expect("a key");
        let record = format!("v=DKIM1; k=rsa; p={}", BASE64.encode(&rsa.public_key));
        let server =
            Server::start(Zone::default().txt("s._domainkey.relay.example", &record)).await;
        Self { key, server }
    }

    /// The message with one set more, or none if there is to be none.
    fn sealed(&self, message: &[u8], validation: Validation) -> Option<Vec<u8>> {
        let (header, body) = cut(message);
        let sign = |input: &[u8]| Ok(self.key.sign(input).expect("a signature"));
        let sealer = Sealer { domain: DOMAIN, selector: "s", now_s: 1_700_000_000, sign: &sign };
        let statement =
            Statement { hostname: "mx.relay.example", results: ";\r\n\tspf=pass", validation };
        let mut whole = Body::default();
        whole.feed(body);
        let set = set(&sealer, &statement, header, &names(header), &whole.hash()).expect("a set");
        (!set.is_empty()).then(|| [set.as_bytes(), message].concat())
    }

    /// What another server, by the library, thinks of the chain, and how long that is.
    async fn verified(&self, message: &[u8]) -> (DkimResult, usize) {
        let library = MessageAuthenticator(self.server.resolver().hickory().clone());
        let read = AuthenticatedMessage::parse(message).expect("a message");
        let output = library.verify_arc(&read).await;
        (output.result().clone(), output.sets().len())
    }
}

#[tokio::test]
async fn another_server_finds_the_chain_whole() {
    let house = House::open().await;
    let mut message = house.sealed(LETTER, Validation::None).expect("a set");
    assert_eq!(house.verified(&message).await, (DkimResult::Pass, 1));
    for number in 2..=SETS_MAX as usize {
        message = house.sealed(&message, Validation::Pass).expect("a set");
        if number % 10 == 0 || number < 4 {
            assert_eq!(house.verified(&message).await, (DkimResult::Pass, number));
        }
    }
    assert_eq!(house.sealed(&message, Validation::Pass), None, "there are fifty");
}

#[tokio::test]
async fn a_change_breaks_the_chain() {
    let house = House::open().await;
    let message = house.sealed(LETTER, Validation::None).expect("a set");
    let text = String::from_utf8(message).expect("ASCII");
    let changes = [
        ("Hello", "Hullo"),
        ("Subject: hi", "Subject: ho"),
        ("v=1; b=x", "v=1; b=y"),
        ("spf=pass", "spf=fail"),
        ("\r\nFrom:", "\r\nTo: c@d.example\r\nFrom:"),
    ];
    for (old, new) in changes {
        let changed = text.replacen(old, new, 1);
        assert_ne!(changed, text);
        let (result, _) = house.verified(changed.as_bytes()).await;
        assert_ne!(result, DkimResult::Pass, "{new:?}");
    }
}

#[tokio::test]
async fn a_chain_that_fails_is_said_to_once() {
    let house = House::open().await;
    let first = house.sealed(LETTER, Validation::None).expect("a set");
    let broken = String::from_utf8(first).expect("ASCII").replace("Hello", "Hullo");
    let failed = house.sealed(broken.as_bytes(), Validation::Fail).expect("a set");
    let text = String::from_utf8(failed.clone()).expect("ASCII");
    assert!(text.starts_with("ARC-Seal: a=rsa-sha256;\r\n\tb="), "{text}");
    assert!(
        text.contains("\tcv=fail;") && text.contains("\r\nARC-Authentication-Results: i=2;"),
        "{text}"
    );
    let (result, _) = house.verified(&failed).await;
    assert_ne!(result, DkimResult::Pass);
    assert_eq!(house.sealed(&failed, Validation::Fail), None, "its end is marked");
}

#[test]
fn what_is_no_set_does_not_count() {
    let next = |block: &str, validation| {
        Chain::of(block.as_bytes(), validation).map(|chain| (chain.next, chain.fields.len()))
    };
    let whole = "ARC-Seal: i=1; cv=none\r\nARC-Message-Signature: i=1\r\n\
                 arc-authentication-results: I=2;x\r\nARC-Authentication-Results: i = 1 ; x\r\n";
    assert_eq!(next(whole, Validation::Pass), Some((2, 4)));
    assert_eq!(next(whole, Validation::Fail), Some((2, 0)));
    assert_eq!(next("Subject: i=7\r\n", Validation::None), Some((1, 0)));
    assert_eq!(next("ARC-Seal: cv=fail; i=3\r\n", Validation::Fail), None);
    assert_eq!(
        next("ARC-Seal: i=2;cv=fail\r\nARC-Seal: i=3; cv=pass\r\n", Validation::Fail),
        Some((4, 0))
    );
    assert_eq!(next("ARC-Seal: i=50; cv=pass\r\n", Validation::Pass), None);
    for odd in ["i=51; cv=pass", "i=0", "i=-1", "i=x", "nothing", "i=99999999999999"] {
        assert_eq!(next(&format!("ARC-Seal: {odd}\r\n"), Validation::Fail), Some((1, 0)), "{odd}");
    }
}
