//! Mail that was changed by those who passed it on, and whose word is taken for it.

use mail_auth::arc::ArcSealer;
use mail_auth::common::headers::HeaderWriter as _;
use mail_auth::dkim::Canonicalization;
use mail_auth::{
    AuthenticatedMessage, AuthenticationResults, DmarcOutput, DmarcResult, Error,
    MessageAuthenticator,
};

use super::super::verdict::{Consequence, Outcome, Verdict};
use super::support::{Domain, House, PEER, facts, with_crlf};
use crate::config::limits::Authenticity;
use crate::dns::testing::{Server, Zone};

const AUTHOR: &str = "author.example";

/// Seals a message, saying what was seen of its author.
async fn sealed(server: &Server, sealer: &Domain, dmarc: DmarcResult, message: &[u8]) -> Vec<u8> {
    let library = MessageAuthenticator(server.resolver().hickory().clone());
    let read = AuthenticatedMessage::parse(message).expect("a message");
    let seen = DmarcOutput::default().with_domain(AUTHOR).with_dkim_result(dmarc);
    let results = AuthenticationResults::new(sealer.name).with_dmarc_result(&seen);
    let chain = library.verify_arc(&read).await;
    let set = ArcSealer::from_key(sealer.key())
        .domain(sealer.name)
        .selector("s1")
        .headers(["From", "Subject"])
        .seal(&read, &results, &chain)
        .expect("a seal");
    [set.to_header().as_bytes(), message].concat()
}

/// The author's letter, changed and sealed by each of these in turn.
async fn passed_on(hops: &[(&'static str, bool)], trusted: &[&str]) -> Verdict {
    let author = Domain::new(AUTHOR);
    let sealers: Vec<Domain> = hops.iter().map(|(name, _)| Domain::new(name)).collect();
    let mut zone = author.publish(Zone::default(), "v=spf1 -all", "v=DMARC1; p=reject");
    for sealer in &sealers {
        zone = sealer.publish(zone, "v=spf1 -all", "");
    }
    let server = Server::start(zone.clone()).await;
    let letter = with_crlf(&format!("From: carl@{AUTHOR}\nSubject: hi\n\nHello\n"));
    let letter = author.signed(&letter, Canonicalization::Relaxed);
    let mut message = [&letter[..], b"-- \r\nsent to you by a list\r\n"].concat();
    for ((_, saw_it_pass), sealer) in hops.iter().zip(&sealers) {
        let saw =
            if *saw_it_pass { DmarcResult::Pass } else { DmarcResult::Fail(Error::NotAligned) };
        message = sealed(&server, sealer, saw, &message).await;
    }
    let arc_trusted = trusted.iter().map(|name| name.parse().expect("a domain")).collect();
    let settings = Authenticity { arc_trusted, ..Authenticity::default() };
    let house = House::with(zone, settings).await;
    house.check(facts(PEER, "lists.example", "bounce@lists.example"), &message).await
}

#[tokio::test]
async fn the_word_of_those_who_are_trusted_counts() {
    let (list, other) = ("lists.example", "other.example");
    let rows = [
        // Who sealed and saw it pass, the first first; who is trusted; is it taken?
        (vec![(list, true)], vec![list], true),
        (vec![(list, true)], vec!["example"], true),
        (vec![(list, true)], vec![], false),
        (vec![(list, true)], vec![other], false),
        // A trusted one says that it did not pass there.
        (vec![(list, false)], vec![list], false),
        // What came before the trusted one is hearsay.
        (vec![(other, true), (list, false)], vec![list], false),
        (vec![(other, false), (list, true)], vec![list], true),
        // What came after it may have changed everything.
        (vec![(list, true), (other, true)], vec![list], false),
        // Of several the first one saw the original.
        (vec![(list, true), (other, false)], vec![list, other], true),
        (vec![(list, false), (other, true)], vec![list, other], false),
    ];
    for (hops, trusted, taken) in rows {
        let row = format!("{hops:?} trusting {trusted:?}");
        let verdict = passed_on(&hops, &trusted).await;
        assert_eq!(verdict.dmarc.found.outcome, Outcome::Fail, "{row}");
        assert_eq!(verdict.arc.found.outcome, Outcome::Pass, "{row}: {:?}", verdict.arc);
        assert_eq!(verdict.arc.sealers.len(), hops.len(), "{row}");
        assert_eq!(verdict.arc.trusted.is_some(), taken, "{row}: {:?}", verdict.arc);
        assert_eq!(verdict.consequence == Consequence::Accept, taken, "{row}");
    }
}
