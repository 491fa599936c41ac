//! The tables of what is shared, and of how much may be kept.
//!
//! ```text
//!   public (domain) ──▶ owner, a number as accounts have ──▶ mailboxes as those of an account
//!   acl (mailbox, identifier) ──▶ rights
//!   quota (address, or @domain) ──▶ what is used, what may be
//! ```
//! Invariants: an owner is an account or the public mailboxes of a domain, and no number is both;
//! rights go with their mailbox and with the account they name.
//! Not here: what rights mean (`mailbox::rights`), how usage is counted ([`super::quota`]).

use serde::{Deserialize, Serialize};

use gracedb::error::Error;
use gracedb::table::Table;
use gracedb::view::View;
use gracedb::write::WriteTx;

use super::accounts::Account;
use super::groups::SIGN;

/// What somebody may do with a mailbox (RFC 4314 2).
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 48, name = "acl")]
#[index(id = 1, name = AclByIdentifier, fields(identifier))]
pub struct AclRow {
    /// The mailbox.
    #[key]
    pub mailbox: u64,
    /// An account's address, `anyone`, or `$` and the address of a group; with `-` before it: what
    /// is taken from them.
    #[key]
    pub identifier: String,
    /// The rights, as bits in the order RFC 4314 2.1 lists them.
    pub rights: u16,
}

/// What an account, or a domain as a whole, uses and may use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 49, name = "quota")]
pub struct QuotaRow {
    /// The account's address, or `@domain`.
    #[key]
    pub of: String,
    /// Bytes of its messages, each counted in every mailbox it is in.
    pub bytes: u64,
    /// Its messages.
    pub messages: u64,
    /// Most bytes; 0: as many as by default, `ANY_NUMBER`: any number.
    pub bytes_max: u64,
    /// Most messages, likewise.
    pub messages_max: u64,
}

/// Who owns the public mailboxes of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Table, Serialize, Deserialize)]
#[table(id = 50, name = "public")]
#[index(id = 1, name = PublicByOwner, fields(owner), unique)]
pub struct PublicRow {
    /// The domain.
    #[key]
    pub domain: String,
    /// Their owner: a number that no account has.
    pub owner: u64,
}

/// What an owner of mailboxes is called: an account by its address, the public mailboxes of a
/// domain by `@domain`; `None`: it is lost.
pub(crate) fn owner_name(view: &impl View, owner: u64) -> Result<Option<String>, Error> {
    if let Some(account) = view.get::<Account>(&owner)? {
        return Ok(Some(account.address));
    }
    let public = view.find::<PublicByOwner>(&owner)?;
    Ok(public.map(|public| format!("@{}", public.domain)))
}

/// The domain of an owner by its name.
pub(crate) fn domain_of(name: &str) -> &str {
    name.rsplit_once('@').map_or(name, |(_, domain)| domain)
}

/// Forgets who may do what with a mailbox.
pub(super) fn forget_mailbox(tx: &mut WriteTx<'_>, mailbox: u64) -> Result<(), Error> {
    let rows: Vec<AclRow> = tx.prefix::<AclRow>(&(mailbox,)).collect::<Result<_, _>>()?;
    for AclRow { mailbox, identifier, .. } in rows {
        tx.delete::<AclRow>(&(mailbox, identifier))?;
    }
    Ok(())
}

/// Forgets what an account was allowed, or kept from, wherever that is: who gets its address later
/// is somebody else.
pub(crate) fn forget_account(tx: &mut WriteTx<'_>, address: &str) -> Result<(), Error> {
    forget_identifier(tx, address)?;
    tx.delete::<QuotaRow>(address)?;
    Ok(())
}

/// The same of a group, by the address of its alias.
pub(crate) fn forget_group(tx: &mut WriteTx<'_>, address: &str) -> Result<(), Error> {
    forget_identifier(tx, &format!("{SIGN}{address}"))
}

fn forget_identifier(tx: &mut WriteTx<'_>, identifier: &str) -> Result<(), Error> {
    for identifier in [identifier.to_owned(), format!("-{identifier}")] {
        let rows = tx.by_index::<AclByIdentifier>(&identifier);
        let rows: Vec<AclRow> = rows.collect::<Result<_, _>>()?;
        for AclRow { mailbox, identifier, .. } in rows {
            tx.delete::<AclRow>(&(mailbox, identifier))?;
        }
    }
    Ok(())
}
