//! Whose word is taken that a message was genuine before it was changed on its way (RFC 8617 7.2).
//!
//! ```text
//!   instance:  1 ── 2 ── 3 ── 4      the newest sealers that stand on the list, without a gap;
//!   trusted:             ✓    ✓      the earliest of those (3) says what it saw: dmarc=pass?
//! ```
//! Invariant: nothing is believed that was written before the message came to somebody trusted.

use mail_auth::AuthenticatedMessage;

use super::lookup::Sets;
use super::verdict::{Arc, Outcome};
use crate::config::names::Domain;

/// The chain as it is told, with who is trusted in it.
pub(super) fn of(sets: &Sets, message: &AuthenticatedMessage<'_>, trusted: &[Domain]) -> Arc {
    let Sets { found, sealers } = sets;
    let is_trusted = |sealer: &&String| trusted.iter().any(|domain| domain.covers(sealer));
    let newest_trusted = sealers.iter().rev().take_while(is_trusted).count();
    let earliest = sealers.len() - newest_trusted;
    let vouched = sealers
        .get(earliest)
        .zip(message.aar_headers.get(earliest))
        .filter(|(_, results)| says_dmarc_passed(results.value))
        .map(|(sealer, _)| sealer.clone());
    let passes = found.outcome == Outcome::Pass;
    Arc { found: found.clone(), sealers: sealers.clone(), trusted: vouched.filter(|_| passes) }
}

/// Whether results say that DMARC passed (RFC 8601 2.2). Comments say nothing.
fn says_dmarc_passed(results: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&without_comments(results)).to_ascii_lowercase();
    text.split(';').any(|result| {
        let Some((method, rest)) = result.split_once('=') else { return false };
        // The method may name its version: "dmarc/1".
        let method = method.trim().split('/').next().unwrap_or_default().trim_end();
        let outcome = rest.split_whitespace().next();
        method == "dmarc" && outcome == Some("pass")
    })
}

/// What stands outside of comments and quotes (RFC 5322 3.2.2).
pub(super) fn without_comments(value: &[u8]) -> Vec<u8> {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    let mut out = Vec::with_capacity(value.len());
    for &byte in value {
        let was_escaped = std::mem::take(&mut escaped);
        match byte {
            b'\\' if !was_escaped && (quoted || depth > 0) => escaped = true,
            b'"' if !was_escaped && depth == 0 => quoted = !quoted,
            b'(' if !was_escaped && !quoted => depth += 1,
            b')' if !was_escaped && !quoted && depth > 0 => {
                depth -= 1;
                out.push(b' ');
            }
            byte if depth == 0 && !quoted => out.push(byte),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_forwarder_saw() {
        let yes = [
            "i=1; mx.example; dmarc=pass header.from=x.example",
            " i=1; mx.example;\r\n\tspf=fail; DMARC = PASS (p=none) header.from=x.example\r\n",
            "i=2; mx.example 1; dkim=pass; dmarc/1=pass",
        ];
        let no = [
            "i=1; mx.example; dmarc=fail header.from=x.example",
            "i=1; mx.example; dkim=pass (dmarc=pass) header.d=x.example",
            "i=1; mx.example; dkim=pass reason=\"; dmarc=pass\"",
            "i=1; mx.example; xdmarc=pass",
            "i=1; mx.example; dmarc=passed",
            "i=1; mx.example; none",
        ];
        for text in yes {
            assert!(says_dmarc_passed(text.as_bytes()), "{text}");
        }
        for text in no {
            assert!(!says_dmarc_passed(text.as_bytes()), "{text}");
        }
    }
}
