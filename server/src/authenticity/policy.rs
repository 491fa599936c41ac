//! What follows from the results.
//!
//! Invariant: without an author's domain that asks for it nothing is refused, but for a message
//! with more than one `From:` field, which has no author.

use grace_smtp::reply::Reply;

use super::message::Authors;
use super::verdict::{Arc, Consequence, Dmarc, Outcome, Policy};
use crate::config::limits::Authenticity;

/// Decides. The first row that fits counts.
pub(super) fn consequence(
    settings: &Authenticity,
    authors: &Authors,
    dmarc: &Dmarc,
    arc: &Arc,
) -> Consequence {
    let exempt = settings.dmarc_exempt.iter().any(|domain| domain.covers(&dmarc.domain));
    if settings.dmarc != "obey" || exempt {
        return Consequence::Accept;
    }
    // RFC 5322 3.6: there is one. Programs show the first or the last of two: whichever is checked,
    // the other one lies.
    if authors.fields > 1 {
        return Consequence::Reject(Reply::new(550, (5, 7, 1), "more than one From field"));
    }
    match (dmarc.found.outcome, dmarc.policy) {
        (Outcome::TempError, _) if settings.dns_failure == "later" => {
            Consequence::Later(later(dmarc))
        }
        (Outcome::Fail, Policy::Reject | Policy::Quarantine) if arc.trusted.is_some() => {
            Consequence::Accept
        }
        (Outcome::Fail, Policy::Reject) => Consequence::Reject(refusal(dmarc)),
        (Outcome::Fail, Policy::Quarantine) => Consequence::Quarantine,
        _ => Consequence::Accept,
    }
}

/// RFC 9989 8: the sender's people will read this, and look for the domain in it.
fn refusal(dmarc: &Dmarc) -> Reply {
    let words = format!(
        "{} does not allow this mail (DMARC): neither its SPF nor its DKIM passed",
        dmarc.domain
    );
    Reply::new(550, (5, 7, 1), &words)
}

fn later(dmarc: &Dmarc) -> Reply {
    let words = format!("cannot check {} now, please try again later", dmarc.domain);
    Reply::new(451, (4, 7, 5), &words)
}

#[cfg(test)]
mod tests {
    use super::super::verdict::Found;
    use super::*;

    fn word(consequence: &Consequence) -> String {
        match consequence {
            Consequence::Reject(reply) | Consequence::Later(reply) => reply.code().to_string(),
            Consequence::Accept => "accepted".to_owned(),
            Consequence::Quarantine => "aside".to_owned(),
        }
    }

    #[test]
    fn every_row() {
        const OBEY: (&str, &str) = ("obey", "later");
        #[rustfmt::skip]
        let rows = [
            // settings             From  found               policy              arc    then
            (OBEY,                   1, Outcome::Pass,      Policy::Reject,     false, "accepted"),
            (OBEY,                   1, Outcome::None,      Policy::None,       false, "accepted"),
            (OBEY,                   1, Outcome::PermError, Policy::None,       false, "accepted"),
            (OBEY,                   1, Outcome::Fail,      Policy::None,       false, "accepted"),
            (OBEY,                   1, Outcome::Fail,      Policy::Quarantine, false, "aside"),
            (OBEY,                   1, Outcome::Fail,      Policy::Reject,     false, "550"),
            (OBEY,                   1, Outcome::Fail,      Policy::Reject,     true,  "accepted"),
            (OBEY,                   1, Outcome::Fail,      Policy::Quarantine, true,  "accepted"),
            (OBEY,                   1, Outcome::TempError, Policy::Reject,     false, "451"),
            (OBEY,                   1, Outcome::TempError, Policy::None,       true,  "451"),
            (OBEY,                   2, Outcome::Pass,      Policy::None,       false, "550"),
            (OBEY,                   0, Outcome::None,      Policy::None,       false, "accepted"),
            (("obey", "accept"),     1, Outcome::TempError, Policy::Reject,     false, "accepted"),
            (("report", "later"),    1, Outcome::Fail,      Policy::Reject,     false, "accepted"),
            (("report", "later"),    1, Outcome::TempError, Policy::Reject,     false, "accepted"),
            (("report", "later"),    2, Outcome::Pass,      Policy::None,       false, "accepted"),
        ];
        for ((dmarc, dns_failure), fields, outcome, policy, trusted, then) in rows {
            let settings = Authenticity {
                dmarc: dmarc.to_owned(),
                dns_failure: dns_failure.to_owned(),
                dmarc_exempt: vec!["friend.example".parse().expect("a domain")],
                ..Authenticity::default()
            };
            let mut found =
                Dmarc { found: Found::bare(outcome), domain: "author.example".to_owned(), policy };
            let trusted = trusted.then(|| "lists.example".to_owned());
            let arc = Arc { found: Found::bare(Outcome::Pass), sealers: Vec::new(), trusted };
            let authors = Authors { fields, addresses: Vec::new() };
            let row = format!("{dmarc} {dns_failure} {fields} {outcome} {policy:?}");
            let decided = consequence(&settings, &authors, &found, &arc);
            assert_eq!(word(&decided), then, "{row}");
            found.domain = "sub.friend.example".to_owned();
            let decided = consequence(&settings, &authors, &found, &arc);
            assert_eq!(decided, Consequence::Accept, "{row}, from a friend");
        }
    }
}
