//! Who may do what with which mailbox (RFC 4314), and under which name others find it.
//!
//! ```text
//!   INBOX                          one's own: every right, but for what one took from oneself
//!   Other Users/bob@x/Lists/rust   bob's: what he gave to me, to `anyone`, to `$staff@x`
//!   Public/News                    nobody's, of my domain: what an admin gave
//! ```
//! Invariants: a mailbox on which somebody has no right is not there for him, whatever he asks; an
//! owner always has `l` and `a`, so that he can give himself the others back.
//! Not here: which command needs which right (`imap`), rows that go with what they are about
//! (`store::shares`).

use std::collections::BTreeSet;

use gracedb::view::View;
use gracedb::watch::Watch;
use gracedb::write::WriteTx;

use grace_imap::name::{OTHER_USERS, PUBLIC};
use grace_imap::rights::{Rights, RightsChange};
use grace_ipc::event::TraceId;
use grace_mail::address::{Charset, Mailbox as Address};

use super::names::canonical;
use super::{Mailboxes, SEPARATOR};
use crate::store::accounts::{AccountByAddress, Alias};
use crate::store::failure::Failure;
use crate::store::forwards::AliasTargets;
use crate::store::groups;
use crate::store::messages::{MailboxByName, MailboxRow};
use crate::store::shares::{AclByIdentifier, AclRow, PublicRow, domain_of, owner_name};

/// Everybody of the owner's domain. RFC 4314 2 means all who can log in; those of another domain
/// are in another house.
pub const ANYONE: &str = "anyone";

/// Identifiers on one mailbox at most: each command reads those of one, and GETACL tells all.
const IDENTIFIERS_MAX: usize = 200;

/// What MYRIGHTS asks for (RFC 4314 4): with one of these, one knows that the mailbox is there.
const KNOWN_BY: &str = "lrikxa";

/// Who asks: an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// Its number.
    pub account: u64,
    /// Its address.
    pub address: String,
}

/// A mailbox somebody knows of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The mailbox.
    pub mailbox: MailboxRow,
    /// What he may do with it; one right at least.
    pub rights: Rights,
}

impl Known {
    /// The mailbox, if all these rights are there.
    ///
    /// # Errors
    /// One is missing.
    pub fn permit(self, needed: &str) -> Result<Self, Failure> {
        match needed.bytes().all(|right| self.rights.has(right)) {
            true => Ok(self),
            false => Err(Failure::NoPermission),
        }
    }
}

/// What an owner has whatever he takes from himself.
fn always() -> Rights {
    Rights::parse("la").unwrap_or_default()
}

impl Mailboxes {
    /// A mailbox by the name somebody has for it, and what he may do.
    ///
    /// # Errors
    /// There is none that he knows of, or the database failed.
    pub fn known(&self, who: &Who, name: &str) -> Result<Known, Failure> {
        known(&self.db.snapshot(), who, name)
    }

    /// The same, if he has all these rights.
    ///
    /// # Errors
    /// There is none that he knows of, a right is missing, or the database failed.
    pub fn permitted(&self, who: &Who, name: &str, needed: &str) -> Result<Known, Failure> {
        self.known(who, name)?.permit(needed)
    }

    /// What somebody may do with a mailbox, by its number.
    ///
    /// # Errors
    /// It is gone, or the database failed.
    pub fn rights(&self, who: &Who, mailbox: u64) -> Result<Rights, Failure> {
        let snapshot = self.db.snapshot();
        let row = snapshot.get::<MailboxRow>(&mailbox)?.ok_or(Failure::NoSuchMailbox)?;
        rights_on(&snapshot, who, &row)
    }

    /// Tells of every change of what somebody may do with a mailbox from now on: of its rights,
    /// and where it is another's, of who is in which group.
    #[must_use]
    pub fn watch_rights(&self, who: &Who, mailbox: &MailboxRow) -> Vec<Watch> {
        let mut watches = vec![self.db.watch::<AclRow>(&(mailbox.id,))];
        if mailbox.account != who.account {
            watches.push(self.db.watch_table::<Alias>());
            watches.push(self.db.watch_table::<AliasTargets>());
        }
        watches
    }

    /// Tells from now on of every change of rights, and of who is in which group: any of them may
    /// bring somebody mailboxes, or take some away. They are rare.
    #[must_use]
    pub fn watch_shares(&self) -> Vec<Watch> {
        let db = &self.db;
        vec![
            db.watch_table::<AclRow>(),
            db.watch_table::<Alias>(),
            db.watch_table::<AliasTargets>(),
        ]
    }

    /// The mailboxes of one's own that one may not read, for one took that right from oneself.
    ///
    /// # Errors
    /// The database failed.
    pub fn closed(&self, who: &Who) -> Result<BTreeSet<u64>, Failure> {
        let snapshot = self.db.snapshot();
        let mut named = BTreeSet::new();
        for identifier in [format!("-{}", who.address), format!("-{ANYONE}")] {
            for row in snapshot.by_index::<AclByIdentifier>(identifier.as_str()) {
                named.insert(row?.mailbox);
            }
        }
        let [_, taken] = groups::identifiers();
        named.extend(named_by_groups(&snapshot, who, taken)?);
        let mut closed = BTreeSet::new();
        for mailbox in named {
            let Some(row) = snapshot.get::<MailboxRow>(&mailbox)? else { continue };
            if row.account == who.account && !rights_on(&snapshot, who, &row)?.has(b'r') {
                closed.insert(row.id);
            }
        }
        Ok(closed)
    }

    /// The mailboxes of others that somebody may look up, by the names he has for them, ascending.
    ///
    /// # Errors
    /// The database failed.
    pub fn shared(&self, who: &Who) -> Result<Vec<(String, Known)>, Failure> {
        let snapshot = self.db.snapshot();
        let mut found = Vec::new();
        for identifier in [who.address.as_str(), ANYONE] {
            for row in snapshot.by_index::<AclByIdentifier>(identifier) {
                found.push(row?.mailbox);
            }
        }
        let [given, _] = groups::identifiers();
        found.extend(named_by_groups(&snapshot, who, given)?);
        found.sort_unstable();
        found.dedup();
        let mut shared = Vec::new();
        for mailbox in found {
            let Some(row) = snapshot.get::<MailboxRow>(&mailbox)? else { continue };
            if row.account == who.account {
                continue;
            }
            let rights = rights_on(&snapshot, who, &row)?;
            let name = match rights.has(b'l') {
                true => name_for(&snapshot, who, &row)?,
                false => None,
            };
            let Some(name) = name else { continue };
            // A name of one's own comes first; see `place`.
            if find(&snapshot, who.account, &name)?.is_none() {
                shared.push((name, Known { mailbox: row, rights }));
            }
        }
        shared.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(shared)
    }

    /// Whose mailbox one of this name would be, and how its owner calls it. Whoever makes it needs
    /// `k` on the nearest mailbox above, or has to be the owner where there is none (RFC 4314 4).
    ///
    /// # Errors
    /// He may not make it, or the database failed.
    pub fn creatable(&self, who: &Who, name: &str) -> Result<(u64, String), Failure> {
        let snapshot = self.db.snapshot();
        let name = name.strip_suffix(SEPARATOR).unwrap_or(name);
        // Whether there is such an owner is not to be found out.
        let place = place(&snapshot, who, name)?.ok_or(Failure::NoPermission)?;
        let (owner, inner) = place;
        let above = nearest(&snapshot, owner, &inner)?;
        let may = match above {
            Some(above) => rights_on(&snapshot, who, &above)?.has(b'k'),
            None => owner == who.account,
        };
        if may { Ok((owner, inner)) } else { Err(Failure::NoPermission) }
    }

    /// Who may do what with a mailbox: identifiers and their rights, the owner first. It needs `a`.
    ///
    /// # Errors
    /// There is none that he knows of, the right is missing, or the database failed.
    pub fn acl(&self, who: &Who, name: &str) -> Result<Vec<(String, Rights)>, Failure> {
        let snapshot = self.db.snapshot();
        acl_of(&snapshot, &known(&snapshot, who, name)?.permit("a")?.mailbox)
    }

    /// The rights that somebody, by his identifier, cannot lose on a mailbox. It needs `a`.
    ///
    /// # Errors
    /// There is none that he knows of, the right is missing, or the database failed.
    pub fn lasting(&self, who: &Who, name: &str, identifier: &str) -> Result<Rights, Failure> {
        let snapshot = self.db.snapshot();
        let known = known(&snapshot, who, name)?.permit("a")?;
        let owner = owner_name(&snapshot, known.mailbox.account)?;
        let is_owner = owner.is_some_and(|owner| owner == identifier.to_lowercase());
        Ok(if is_owner { always() } else { Rights::default() })
    }

    /// Changes what somebody may do with a mailbox. It needs `a`.
    ///
    /// # Errors
    /// There is no such mailbox that he knows of, or no such account; the right is missing, there
    /// would be too many identifiers, or the database failed.
    pub async fn set_rights(
        &self,
        trace: TraceId,
        who: &Who,
        name: &str,
        (identifier, change): (&str, RightsChange),
    ) -> Result<(), Failure> {
        let pending = self.db.write(|tx| {
            let mailbox = known(tx, who, name)?.permit("a")?.mailbox;
            put_rights(tx, &mailbox, identifier, change)?;
            Ok::<_, Failure>(mailbox)
        })?;
        let mailbox = pending.await?;
        self.tell(trace, mailbox.account, &mailbox.name, "rights changed");
        Ok(())
    }
}

/// Whose mailbox a name means, and how its owner calls it; `None`: nobody's. What somebody called
/// so before there were names of others stays his.
fn place(view: &impl View, who: &Who, name: &str) -> Result<Option<(u64, String)>, Failure> {
    let own = (who.account, name.to_owned());
    let (top, rest) = name.split_once(SEPARATOR).unwrap_or((name, ""));
    if ![OTHER_USERS, PUBLIC].contains(&top) || find(view, who.account, name)?.is_some() {
        return Ok(Some(own));
    }
    if top == PUBLIC {
        let public = view.get::<PublicRow>(domain_of(&who.address))?;
        return Ok(public.map(|public| (public.owner, rest.to_owned())));
    }
    let (address, rest) = rest.split_once(SEPARATOR).unwrap_or((rest, ""));
    let other = view.find::<AccountByAddress>(address)?.filter(|other| other.id != who.account);
    Ok(other.map(|other| (other.id, rest.to_owned())))
}

/// The name somebody has for a mailbox of another owner; `None`: it cannot be named.
fn name_for(view: &impl View, who: &Who, row: &MailboxRow) -> Result<Option<String>, Failure> {
    let Some(owner) = owner_name(view, row.account)? else { return Ok(None) };
    if let Some(domain) = owner.strip_prefix('@') {
        let is_mine = domain == domain_of(&who.address);
        return Ok(is_mine.then(|| format!("{PUBLIC}{SEPARATOR}{}", row.name)));
    }
    // Such an address would be more than one level, or a pattern.
    if owner.contains([SEPARATOR, '*', '%']) {
        return Ok(None);
    }
    Ok(Some(format!("{OTHER_USERS}{SEPARATOR}{owner}{SEPARATOR}{}", row.name)))
}

fn find(view: &impl View, owner: u64, name: &str) -> Result<Option<MailboxRow>, Failure> {
    let Ok(name) = canonical(name) else { return Ok(None) };
    Ok(view.find::<MailboxByName>(&(owner, name))?)
}

fn known(view: &impl View, who: &Who, name: &str) -> Result<Known, Failure> {
    let (owner, name) = place(view, who, name)?.ok_or(Failure::NoSuchMailbox)?;
    let mailbox = find(view, owner, &name)?.ok_or(Failure::NoSuchMailbox)?;
    let rights = rights_on(view, who, &mailbox)?;
    match KNOWN_BY.bytes().any(|right| rights.has(right)) {
        true => Ok(Known { mailbox, rights }),
        false => Err(Failure::NoSuchMailbox),
    }
}

/// The nearest mailbox above a name that there is.
fn nearest(view: &impl View, owner: u64, name: &str) -> Result<Option<MailboxRow>, Failure> {
    for (at, _) in name.rmatch_indices(SEPARATOR) {
        let above = find(view, owner, name.get(..at).unwrap_or_default())?;
        if above.is_some() {
            return Ok(above);
        }
    }
    Ok(None)
}

/// Mailboxes that name groups in which somebody is, by identifiers of this range.
fn named_by_groups(
    view: &impl View,
    who: &Who,
    (from, to): (String, String),
) -> Result<Vec<u64>, Failure> {
    // Of one group all rows stand together.
    let (mut found, mut last) = (Vec::new(), (String::new(), false));
    for row in view.by_index_range::<AclByIdentifier>(from..to) {
        let AclRow { mailbox, identifier, .. } = row?;
        if last.0 != identifier {
            let is_member = groups::is_member(view, group_of(&identifier), who.account)?;
            last = (identifier, is_member);
        }
        if last.1 {
            found.push(mailbox);
        }
    }
    Ok(found)
}

/// What groups somebody is in have on a mailbox, and what is taken from them.
fn rights_of_groups(
    view: &impl View,
    who: &Who,
    mailbox: u64,
) -> Result<(Rights, Rights), Failure> {
    let [given, taken] = groups::identifiers().map(|(from, to)| {
        let mut all = Rights::default();
        for row in view.range::<AclRow>((mailbox, from)..(mailbox, to)) {
            let AclRow { identifier, rights, .. } = row?;
            if groups::is_member(view, group_of(&identifier), who.account)? {
                all = all.with(Rights::from_bits(rights));
            }
        }
        Ok::<_, Failure>(all)
    });
    Ok((given?, taken?))
}

/// The address of the group of an identifier.
fn group_of(identifier: &str) -> &str {
    identifier.trim_start_matches(['-', groups::SIGN])
}

fn rights_on(view: &impl View, who: &Who, row: &MailboxRow) -> Result<Rights, Failure> {
    let listed = |identifier: &str| -> Result<Option<Rights>, Failure> {
        let found = view.get::<AclRow>(&(row.id, identifier.to_owned()))?;
        Ok(found.map(|found| Rights::from_bits(found.rights)))
    };
    let mine = listed(&who.address)?;
    let taken = listed(&format!("-{}", who.address))?.unwrap_or_default();
    if row.account == who.account {
        return Ok(mine.unwrap_or(Rights::ALL).without(taken).with(always()));
    }
    let (given, kept) = rights_of_groups(view, who, row.id)?;
    let mut rights = mine.unwrap_or_default().with(given);
    let mut without = taken.with(kept);
    let owner = owner_name(view, row.account)?;
    if owner.is_some_and(|owner| domain_of(&owner) == domain_of(&who.address)) {
        rights = rights.with(listed(ANYONE)?.unwrap_or_default());
        without = without.with(listed(&format!("-{ANYONE}"))?.unwrap_or_default());
    }
    Ok(rights.without(without))
}

pub(super) fn acl_of(
    view: &impl View,
    mailbox: &MailboxRow,
) -> Result<Vec<(String, Rights)>, Failure> {
    let owner = owner_name(view, mailbox.account)?.filter(|owner| !owner.starts_with('@'));
    let mut acl: Vec<(String, Rights)> =
        owner.iter().map(|owner| (owner.clone(), Rights::ALL)).collect();
    for row in view.prefix::<AclRow>(&(mailbox.id,)) {
        let AclRow { identifier, rights, .. } = row?;
        let rights = Rights::from_bits(rights);
        match acl.first_mut().filter(|_| owner.as_ref() == Some(&identifier)) {
            Some(first) => first.1 = rights.with(always()),
            None => acl.push((identifier, rights)),
        }
    }
    Ok(acl)
}

/// Changes what an identifier has, within a transaction.
pub(super) fn put_rights(
    tx: &mut WriteTx<'_>,
    mailbox: &MailboxRow,
    identifier: &str,
    change: RightsChange,
) -> Result<(), Failure> {
    let identifier = spelled(identifier)?;
    let owner = owner_name(tx, mailbox.account)?;
    let is_owner = owner.as_ref() == Some(&identifier);
    let key = (mailbox.id, identifier.clone());
    let before = tx.get::<AclRow>(&key)?.map(|row| Rights::from_bits(row.rights));
    let usual = if is_owner { Rights::ALL } else { Rights::default() };
    let rights = change.apply(before.unwrap_or(usual));
    let rights = if is_owner { rights.with(always()) } else { rights };
    if rights == usual {
        tx.delete::<AclRow>(&key)?;
        return Ok(());
    }
    let name = identifier.strip_prefix('-').unwrap_or(&identifier);
    match name.strip_prefix(groups::SIGN) {
        Some(group) => {
            let is_ours = owner.is_some_and(|owner| domain_of(&owner) == domain_of(group));
            if !is_ours || tx.get::<Alias>(group)?.is_none() {
                return Err(Failure::NotAllowed("there is no such group in the owner's domain"));
            }
        }
        None if name != ANYONE && tx.find::<AccountByAddress>(name)?.is_none() => {
            return Err(Failure::NotAllowed("there is no such account"));
        }
        None => {}
    }
    let count = tx.prefix::<AclRow>(&(mailbox.id,)).count();
    if before.is_none() && count >= IDENTIFIERS_MAX {
        return Err(Failure::Limit("a mailbox may have 200 identifiers"));
    }
    tx.put(&AclRow { mailbox: mailbox.id, identifier, rights: rights.bits() })?;
    Ok(())
}

/// The one spelling of an identifier: addresses are kept in lower case.
fn spelled(identifier: &str) -> Result<String, Failure> {
    let (sign, name) = match identifier.strip_prefix('-') {
        Some(name) => ("-", name),
        None => ("", identifier),
    };
    if name == ANYONE {
        return Ok(identifier.to_owned());
    }
    let (mark, address) = match name.strip_prefix(groups::SIGN) {
        Some(group) => ("$", group),
        None => ("", name),
    };
    match Address::parse(address, Charset::Utf8) {
        Ok(address) => Ok(format!("{sign}{mark}{}", address.to_string().to_lowercase())),
        Err(_) => Err(Failure::NotAllowed(
            "an identifier is an account's address, anyone, or a group as $name@domain",
        )),
    }
}

/// Gives a new mailbox the rights that are on the one above it (RFC 4314 4, CREATE).
pub(super) fn inherit(tx: &mut WriteTx<'_>, mailbox: &MailboxRow) -> Result<(), Failure> {
    let Some(above) = nearest(tx, mailbox.account, &mailbox.name)? else { return Ok(()) };
    let rows = tx.prefix::<AclRow>(&(above.id,));
    let rows: Vec<AclRow> = rows.collect::<Result<_, _>>()?;
    for row in rows {
        tx.put(&AclRow { mailbox: mailbox.id, ..row })?;
    }
    Ok(())
}
