//! Shared and public mailboxes and quota, in the words of the protocol.
//!
//! Not here: what they do (`mailbox`), every other request ([`super::desk`]).

use grace_ipc::event::{EventKind, TraceId};
use grace_ipc::message::{Failure, ROWS_PER_PART_MAX, RequestBody, Rows};
use grace_ipc::share::{PublicRow, QuotaRow, RightsRow};

use super::desk::{Outcome, list, refused};
use crate::mailbox::Mailboxes;
use crate::services::Services;
use crate::store::quota::Defaults;
use crate::store::refusal::Refusal;

/// Rights in one part: with names of 1,000 bytes each it stays below a frame's limit.
const RIGHTS_PER_PART_MAX: usize = 400;

/// What accounts and domains use and may use.
pub(super) fn quotas(mailboxes: &Mailboxes, of: Option<&str>) -> Result<Outcome, Failure> {
    let rows = mailboxes.quotas(of).map_err(|e| refused(&e))?;
    let rows = rows.into_iter().map(|row| QuotaRow {
        of: row.of,
        bytes: row.bytes,
        bytes_max: row.bytes_max,
        messages: row.messages,
        messages_max: row.messages_max,
    });
    Ok(list(rows.collect(), ROWS_PER_PART_MAX, Rows::Quotas))
}

/// What accounts, and domains as a whole, may use that have no limits of their own.
pub(super) fn quota_defaults(mailboxes: &Mailboxes) -> Outcome {
    let Defaults { account, domain } = mailboxes.quota_defaults();
    let rows = [("", account), ("@", domain)].map(|(of, (bytes_max, messages_max))| QuotaRow {
        of: of.to_owned(),
        bytes: 0,
        bytes_max,
        messages: 0,
        messages_max,
    });
    list(rows.to_vec(), ROWS_PER_PART_MAX, Rows::Quotas)
}

/// Who may do what with mailboxes of an owner.
pub(super) fn rights(
    mailboxes: &Mailboxes,
    owner: &str,
    mailbox: Option<&str>,
) -> Result<Outcome, Failure> {
    let mut rows = Vec::new();
    for shared in mailboxes.shares(owner, mailbox).map_err(|e| refused(&e))? {
        rows.extend(shared.acl.into_iter().map(|(who, rights)| RightsRow {
            owner: shared.owner.clone(),
            mailbox: shared.mailbox.clone(),
            who,
            rights: rights.to_string(),
        }));
    }
    Ok(list(rows, RIGHTS_PER_PART_MAX, Rows::Rights))
}

/// The public mailboxes of a domain, or of all.
pub(super) fn public(mailboxes: &Mailboxes, domain: Option<&str>) -> Result<Outcome, Failure> {
    let rows = mailboxes.public(domain).map_err(|e| refused(&e))?;
    let rows = rows.into_iter().map(|(domain, row)| PublicRow {
        domain,
        name: row.name,
        messages: row.messages,
        stored_bytes: row.bytes,
    });
    Ok(list(rows.collect(), RIGHTS_PER_PART_MAX, Rows::Public))
}

/// Every change of them; a request that is none is given back.
pub(super) async fn change(
    services: &Services,
    change: RequestBody,
    by: &str,
) -> Result<Result<(), Refusal>, RequestBody> {
    let mailboxes = &services.mailboxes;
    let (what, verb, done) = match change {
        RequestBody::QuotaSet { of, bytes_max, messages_max } => {
            // It tells of itself, with the limits that are there now.
            return Ok(mailboxes.set_quota(&of, (bytes_max, messages_max), by).await);
        }
        RequestBody::RightsSet { owner, mailbox, who, rights } => {
            let done = mailboxes.set_rights_as_admin(&owner, &mailbox, (&who, &rights)).await;
            (format!("{mailbox} of {owner}"), format!("rights of {who} set to {rights:?}"), done)
        }
        RequestBody::PublicCreate { domain, name, rights } => {
            let done = mailboxes.create_public(&domain, &name, &rights).await;
            (format!("public mailbox {name} of {domain}"), "created".to_owned(), done)
        }
        RequestBody::PublicDelete { domain, name } => {
            let done = mailboxes.delete_public(&domain, &name).await;
            (format!("public mailbox {name} of {domain}"), "deleted".to_owned(), done)
        }
        RequestBody::PublicRename { domain, name, to } => {
            let done = mailboxes.rename_public(&domain, &name, &to).await;
            (format!("public mailbox {name} of {domain}"), format!("renamed to {to}"), done)
        }
        other => return Err(other),
    };
    if done.is_ok() {
        let changed = EventKind::DirectoryChanged { what, change: verb, by: by.to_owned() };
        services.porter.bus.emit(TraceId(0), changed);
    }
    Ok(done)
}
