//! Which servers of a domain are tried, and in which order (RFC 5321 5.1, RFC 7505).
//!
//! Invariant: pure; chance comes in as a number.
//! Not here: asking the DNS (`route`).

use super::{CIRCLE, NoRoute};
use crate::dns::Mx;

/// The servers to try, the best first; those of one preference in an order that chance decides.
///
/// # Errors
/// The domain takes no mail, or it is this server that should.
pub(super) fn order(
    mut exchanges: Vec<Mx>,
    own_name: &str,
    chance: u64,
) -> Result<Vec<String>, NoRoute> {
    if exchanges.iter().all(|exchange| exchange.host.is_empty()) && !exchanges.is_empty() {
        return Err(NoRoute::never((5, 1, 10), "the domain takes no mail (null MX)"));
    }
    // RFC 7505 3: a null MX beside others is an error of the domain's, and they count.
    exchanges.retain(|exchange| !exchange.host.is_empty());
    // RFC 5321 5.1: if we are listed, only who is better than us; else mail would go in circles.
    let own = exchanges.iter().filter(|exchange| exchange.host.eq_ignore_ascii_case(own_name));
    if let Some(limit) = own.map(|exchange| exchange.preference).min() {
        exchanges.retain(|exchange| exchange.preference < limit);
        if exchanges.is_empty() {
            return Err(NoRoute::never((5, 4, 6), CIRCLE));
        }
    }
    exchanges.sort_by_key(|exchange| (exchange.preference, mixed(&exchange.host, chance)));
    exchanges.dedup_by(|a, b| a.host.eq_ignore_ascii_case(&b.host));
    Ok(exchanges.into_iter().map(|exchange| exchange.host).collect())
}

/// A number that looks like chance, another one for each name.
pub(super) fn mixed(name: &str, chance: u64) -> u64 {
    // FNV-1a, and the finish of SplitMix64, which spreads its last steps.
    let hash = name.bytes().fold(chance ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchanges(list: &[(u16, &str)]) -> Vec<Mx> {
        let exchange = |&(preference, host): &(u16, &str)| Mx { preference, host: host.to_owned() };
        list.iter().map(exchange).collect()
    }

    fn ordered(list: &[(u16, &str)], chance: u64) -> Result<Vec<String>, NoRoute> {
        order(exchanges(list), "mx.grace.test", chance)
    }

    #[test]
    fn the_best_comes_first() {
        let hosts = ordered(&[(20, "b"), (10, "a"), (30, "c")], 1).expect("a route");
        assert_eq!(hosts, ["a", "b", "c"]);
    }

    #[test]
    fn equals_take_turns() {
        let first = |chance| {
            let hosts = ordered(&[(10, "a"), (10, "b"), (10, "c")], chance).expect("a route");
            assert_eq!(hosts.len(), 3);
            hosts.into_iter().next().expect("one")
        };
        let mut counts = [0u32; 3];
        for chance in 0..3_000 {
            let at = ["a", "b", "c"].iter().position(|host| *host == first(chance));
            counts[at.expect("one of them")] += 1;
        }
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_null_mx_takes_no_mail() {
        let NoRoute::Never { status, .. } = ordered(&[(0, "")], 1).expect_err("no mail") else {
            panic!("for good");
        };
        assert_eq!(status, (5, 1, 10));
        assert_eq!(ordered(&[(0, ""), (10, "a")], 1).expect("a route"), ["a"]);
    }

    #[test]
    fn mail_does_not_go_in_circles() {
        let list = [(10, "a"), (20, "MX.grace.test"), (20, "b"), (30, "c")];
        assert_eq!(ordered(&list, 1).expect("a route"), ["a"]);
        let NoRoute::Never { status, .. } = ordered(&list[1..], 1).expect_err("a circle") else {
            panic!("for good");
        };
        assert_eq!(status, (5, 4, 6));
    }
}
