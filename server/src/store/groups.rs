//! Who is in a group: an alias, for whom rights may be given as for one person.
//!
//! ```text
//!   staff@example.org ─▶ ann, bob, team@example.org ─▶ eve      ann, bob and eve are in it
//! ```
//! Invariants: who is in a group is found out each time it is asked; what goes in circles ends.
//! Not here: how mail follows an alias (`directory::expansion`), what rights mean
//! (`mailbox::rights`).

use std::collections::BTreeSet;

use gracedb::error::Error;
use gracedb::view::View;

use super::accounts::Alias;
use super::forwards::AliasTargets;

/// What an identifier of a group begins with (RFC 4314 2 leaves that to the server).
pub(crate) const SIGN: char = '$';

/// Aliases that are looked at for one group: a company with all its teams.
const ALIASES_MAX: usize = 1_000;

/// Whether an account is in a group: the alias stands for it, itself or through other aliases.
pub(crate) fn is_member(view: &impl View, group: &str, account: u64) -> Result<bool, Error> {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut left = vec![group.to_owned()];
    while let Some(address) = left.pop() {
        let Some(alias) = view.get::<Alias>(address.as_str())? else { continue };
        if alias.accounts.contains(&account) {
            return Ok(true);
        }
        if seen.len() >= ALIASES_MAX || !seen.insert(address.clone()) {
            continue;
        }
        let more = view.get::<AliasTargets>(address.as_str())?;
        let targets = more.into_iter().flat_map(|more| more.targets);
        left.extend(targets.map(|target| target.to_lowercase()));
    }
    Ok(false)
}

/// The identifiers that are those of a group, and those of what is taken from one: each from, up
/// to.
pub(crate) fn identifiers() -> [(String, String); 2] {
    // What follows on the sign among all characters.
    let next = char::from_u32(u32::from(SIGN) + 1).unwrap_or(SIGN);
    [(SIGN.to_string(), next.to_string()), (format!("-{SIGN}"), format!("-{next}"))]
}
