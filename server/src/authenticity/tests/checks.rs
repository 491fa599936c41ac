//! Whole messages through all checks: what is found, what is told of it, and what follows.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use hickory_resolver::proto::rr::RecordType;
use mail_auth::common::headers::HeaderWriter as _;
use mail_auth::dkim::{Canonicalization, DkimSigner};

use super::super::results;
use super::super::verdict::{Consequence, Outcome, Policy, Verdict};
use super::support::{Domain, HOSTNAME, House, PEER, facts, with_crlf};
use crate::config::limits::Authenticity;
use crate::dns::testing::Zone;

fn letter(from: &str) -> Vec<u8> {
    with_crlf(&format!(
        "From: {from}\nTo: anna@grace.test\nSubject: offer\n\nHello  Anna,\n\nall the best \n\n"
    ))
}

/// The author's domain passes by neither.
fn strange(verdict: &Verdict) -> (Outcome, Policy) {
    (verdict.dmarc.found.outcome, verdict.dmarc.policy)
}

#[tokio::test]
async fn a_genuine_message_passes_everything() {
    let author = Domain::new("author.example");
    let zone = author
        .publish(Zone::default(), "v=spf1 ip4:192.0.2.25 -all", "v=DMARC1; p=reject")
        .txt("mail.author.example", "v=spf1 a -all")
        .a("mail.author.example", PEER)
        .ptr(PEER, "mail.author.example");
    let house = House::new(zone).await;
    for body in [Canonicalization::Simple, Canonicalization::Relaxed] {
        let message = author.signed(&letter("Carl <carl@author.example>"), body);
        let facts = facts("::ffff:192.0.2.25", "mail.author.example", "carl@author.example");
        let verdict = house.check(facts, &message).await;
        let start = &verdict.dkim[0].start;
        let expected = format!(
            "Authentication-Results: mx.grace.test;\r\n\
             \tiprev=pass\r\n\t  policy.iprev=192.0.2.25;\r\n\
             \tspf=pass\r\n\t  smtp.helo=mail.author.example;\r\n\
             \tspf=pass\r\n\t  smtp.mailfrom=author.example;\r\n\
             \tdkim=pass\r\n\t  header.d=author.example\r\n\t  header.s=s1\r\n\
             \t  header.b=\"{start}\";\r\n\
             \tarc=none;\r\n\
             \tdmarc=pass\r\n\t  header.from=author.example\r\n\t  policy.dmarc=reject\r\n"
        );
        let field = results::field(HOSTNAME, &verdict, &[]);
        assert_eq!(field.replace('"', ""), expected.replace('"', ""));
        assert_eq!(verdict.iprev.name.as_deref(), Some("mail.author.example"));
        assert_eq!(verdict.consequence, Consequence::Accept);
    }
}

#[tokio::test]
async fn a_forged_author_gets_what_its_domain_asks_for() {
    let (bank, liar) = (Domain::new("bank.example"), Domain::new("liar.example"));
    let zone = bank.publish(
        Zone::default(),
        "v=spf1 ip4:203.0.113.1 -all",
        "v=DMARC1; p=reject; sp=quarantine; np=none",
    );
    let zone = liar.publish(zone, "v=spf1 +all", "").a("branch.bank.example", "203.0.113.2");
    let house = House::new(zone).await;
    let signed = |from: &str| liar.signed(&letter(from), Canonicalization::Relaxed);
    let facts = || facts(PEER, "liar.example", "bounce@liar.example");

    let verdict = house.check(facts(), &signed("service@bank.example")).await;
    assert_eq!(verdict.mail_from.found.outcome, Outcome::Pass);
    assert_eq!(verdict.dkim[0].found.outcome, Outcome::Pass);
    assert_eq!(strange(&verdict), (Outcome::Fail, Policy::Reject));
    let Consequence::Reject(reply) = &verdict.consequence else { panic!("{verdict:?}") };
    assert_eq!(
        reply.to_string(),
        "550 5.7.1 bank.example does not allow this mail (DMARC): neither its SPF nor its DKIM \
         passed"
    );
    // `sp` for what is there below it, `np` for what is not.
    let verdict = house.check(facts(), &signed("a@branch.bank.example")).await;
    assert_eq!(strange(&verdict), (Outcome::Fail, Policy::Quarantine));
    assert_eq!(verdict.consequence, Consequence::Quarantine);
    let verdict = house.check(facts(), &signed("a@nowhere.bank.example")).await;
    assert_eq!(strange(&verdict), (Outcome::Fail, Policy::None));
    assert_eq!(verdict.consequence, Consequence::Accept);
    // Nobody asked for anything.
    let verdict = house.check(facts(), &signed("a@liar.example")).await;
    assert_eq!(strange(&verdict), (Outcome::None, Policy::None));
}

#[tokio::test]
async fn what_was_changed_on_the_way_fails() {
    let author = Domain::new("author.example");
    let zone = author.publish(Zone::default(), "v=spf1 -all", "v=DMARC1; p=quarantine");
    let house = House::new(zone).await;
    let message = author.signed(&letter("carl@author.example"), Canonicalization::Simple);
    let text = String::from_utf8(message).expect("ASCII");
    let facts = || facts(PEER, "x.example", "list@x.example");
    let verdict = house.check(facts(), text.as_bytes()).await;
    assert_eq!(verdict.dmarc.found.outcome, Outcome::Pass, "{verdict:?}");
    for (from, to, why) in [
        ("Hello", "Hallo", "the body was changed"),
        ("offer", "Offer", "the signature does not fit"),
    ] {
        let changed = text.replace(from, to);
        let verdict = house.check(facts(), changed.as_bytes()).await;
        let found = &verdict.dkim[0].found;
        assert_eq!((found.outcome, found.reason.as_str()), (Outcome::Fail, why));
        assert_eq!(verdict.consequence, Consequence::Quarantine);
    }
}

#[tokio::test]
async fn signatures_have_to_cover_what_they_speak_for() {
    let author = Domain::new("author.example");
    let zone = author.publish(Zone::default(), "v=spf1 -all", "v=DMARC1; p=reject");
    let house = House::new(zone).await;
    let whole = letter("carl@author.example");
    let signer = |headers: &[&str]| {
        DkimSigner::from_key(author.key())
            .domain("author.example")
            .selector("s1")
            .headers(headers.iter().copied())
    };
    let check = async |message: Vec<u8>| {
        let verdict = house.check(facts(PEER, "x.example", ""), &message).await;
        let found = verdict.dkim[0].found.clone();
        (found.outcome, found.reason)
    };
    let bytes = |field: String, message: &[u8]| [field.as_bytes(), message].concat();
    let length = |message: &[u8]| {
        let signer = signer(&["From"]).body_length(true);
        signer.sign(message).expect("a signature").to_header()
    };
    // `l=` over the whole body is as good as none; over a part of it, it proves nothing.
    let simple = with_crlf("From: carl@author.example\n\nall of it\n");
    assert_eq!(check(bytes(length(&simple), &simple)).await.0, Outcome::Pass);
    let appended = [&simple[..], b"and an advertisement\r\n"].concat();
    let found = check(bytes(length(&simple), &appended)).await;
    assert_eq!(found, (Outcome::Policy, "it signs a part of the body only".to_owned()));
    // Without `From:` under it a signature says nothing about the author.
    let field = signer(&["Subject"]).sign(&whole).expect("a signature").to_header();
    let found = check(bytes(field, &whole)).await;
    assert_eq!(found, (Outcome::PermError, "it does not sign the From field".to_owned()));
    let field = signer(&["From"]).sign(&whole).expect("a signature").to_header();
    let found = check(bytes(field.replace("ed25519-sha256", "rsa-sha1"), &whole)).await;
    assert_eq!(found, (Outcome::Policy, "rsa-sha1 is not safe".to_owned()));
    let many = vec!["From"; 300].join(":");
    let found = check(bytes(field.replace("h=From", &format!("h={many}")), &whole)).await;
    assert_eq!(found, (Outcome::Policy, "it signs too many fields".to_owned()));
}

#[tokio::test]
async fn a_flood_of_signatures_is_looked_at_in_part() {
    let house = House::new(Zone::default()).await;
    let mut block = String::new();
    for number in 0..1_000 {
        write!(
            block,
            "DKIM-Signature: v=1; a=rsa-sha256; c=simple/relaxed; l={number}; d=x{number}.example;\
             \r\n s=s; h=From; bh=AAAA; b=AAAA\r\n"
        )
        .expect("a String takes it");
    }
    let message = format!("{block}From: a@x.example\r\n\r\nhi\r\n");
    let verdict = house.check(facts(PEER, "x", ""), message.as_bytes()).await;
    let of = |outcome| verdict.dkim.iter().filter(|one| one.found.outcome == outcome).count();
    assert_eq!((verdict.dkim.len(), of(Outcome::Fail)), (11, 7));
    assert_eq!(of(Outcome::Policy), 4, "three sign a part, one stands for all that are too many");
    assert!(results::field(HOSTNAME, &verdict, &[]).len() < 4_000);
}

#[tokio::test]
async fn a_message_has_one_author() {
    let bank = Domain::new("bank.example");
    let zone = bank.publish(Zone::default(), "v=spf1 -all", "v=DMARC1; p=reject");
    let house = House::new(zone).await;
    let check = async |message: &str| {
        house.check(facts(PEER, "x.example", "a@x.example"), &with_crlf(message)).await
    };
    let verdict = check("From: a@x.example\nFrom: b@bank.example\n\nhi\n").await;
    let Consequence::Reject(reply) = &verdict.consequence else { panic!("{verdict:?}") };
    assert_eq!(reply.to_string(), "550 5.7.1 more than one From field");
    // Likewise where a line that is no field stands between them.
    let verdict = check("From: a@x.example\nno field\nFrom: b@bank.example\n\nhi\n").await;
    assert!(matches!(verdict.consequence, Consequence::Reject(_)), "{verdict:?}");
    let verdict = check("From: a@x.example, b@bank.example\n\nhi\n").await;
    assert_eq!(verdict.dmarc.found.reason, "its authors have more than one domain");
    let verdict = check("Subject: hi\n\nhi\n").await;
    assert_eq!(verdict.dmarc.found.reason, "the message has no author");
    let verdict = check("From: \"x@x.example\" <b@bank.example>\n\nhi\n").await;
    assert!(matches!(verdict.consequence, Consequence::Reject(_)), "{verdict:?}");
}

#[tokio::test]
async fn a_broken_dns_puts_mail_off_and_loses_none() {
    let author = Domain::new("author.example");
    let zone = author
        .publish(Zone::default(), "v=spf1 -all", "")
        .broken("_dmarc.author.example", RecordType::TXT);
    let later = House::new(zone.clone()).await;
    let message = author.signed(&letter("carl@author.example"), Canonicalization::Relaxed);
    let facts = || facts(PEER, "x.example", "a@x.example");
    let verdict = later.check(facts(), &message).await;
    assert_eq!(verdict.dmarc.found.outcome, Outcome::TempError);
    let Consequence::Later(reply) = &verdict.consequence else { panic!("{verdict:?}") };
    let expected = "451 4.7.5 cannot check author.example now, please try again later";
    assert_eq!(reply.to_string(), expected);
    let accept = Authenticity { dns_failure: "accept".to_owned(), ..Authenticity::default() };
    let verdict = House::with(zone, accept).await.check(facts(), &message).await;
    assert_eq!(verdict.consequence, Consequence::Accept);
    assert!(results::field(HOSTNAME, &verdict, &[]).contains("\tdmarc=temperror"));
}

#[tokio::test]
async fn a_silent_dns_ends_in_time() {
    let author = Domain::new("author.example");
    let mut zone = Zone::default();
    for name in ["author.example", "s1._domainkey.author.example", "_dmarc.author.example"] {
        zone = zone.silent(name, RecordType::TXT);
    }
    let zone = zone.silent("25.2.0.192.in-addr.arpa", RecordType::PTR);
    let settings = Authenticity { time_max_s: 1, ..Authenticity::default() };
    let house = House::with(zone, settings).await;
    let message = author.signed(&letter("carl@author.example"), Canonicalization::Relaxed);
    let began = Instant::now();
    let verdict = house.check(facts(PEER, "author.example", "c@author.example"), &message).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let found = [
        &verdict.iprev.found,
        &verdict.helo.found,
        &verdict.mail_from.found,
        &verdict.dkim[0].found,
        &verdict.dmarc.found,
    ];
    assert!(found.iter().all(|found| found.outcome == Outcome::TempError), "{verdict:?}");
    assert!(matches!(verdict.consequence, Consequence::Later(_)), "{verdict:?}");
}

#[tokio::test]
async fn nobody_asks_for_those_who_have_no_name() {
    let house = House::new(Zone::default()).await;
    let message = letter("a@x.example");
    for helo in ["", "[192.0.2.1]", "-", "a b", "\u{fffd}", &"x".repeat(70)] {
        let verdict = house.check(facts(PEER, helo, ""), &message).await;
        assert_eq!(verdict.helo.found.outcome, Outcome::None, "{helo:?}");
        assert_eq!(verdict.mail_from.found.outcome, Outcome::None, "{helo:?}");
        let field = results::field(HOSTNAME, &verdict, &[]);
        assert!(field.lines().skip(1).all(|line| line.starts_with('\t')), "{field}");
    }
}

#[tokio::test]
async fn only_networks_of_others_are_checked() {
    let house = House::new(Zone::default()).await;
    let concerns = |peer: &str| house.authenticity.concerns(peer.parse().expect("an address"));
    assert!(concerns(PEER) && concerns("2001:db8::1"));
    assert!(!concerns("127.0.0.1") && !concerns("::1") && !concerns("::ffff:127.0.0.1"));
}
