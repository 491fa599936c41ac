//! Signing URLs of messages, so that others may read them (URLAUTH, RFC 4467).
//!
//! Invariants: a key is random and never leaves the database; signatures are compared in a time
//! that tells nothing of them; a mailbox that is made anew has another key.
//! Not here: URLs (`grace-imap`), who may read what (`imap`).

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use aws_lc_rs::hmac;
use gracedb::view::View as _;
use gracedb::watch::Watch;

use super::Mailboxes;
use super::change::get_mailbox;
use crate::store::failure::Failure;
use crate::store::urls::UrlKeyRow;

/// Bytes of a key: as many as its hash has (RFC 2104 3). RFC 4467 2 wants 16 at least.
const KEY_BYTES: usize = 32;

impl Mailboxes {
    /// Signs a text with the key of a mailbox, which is made if there is none. Gives hexadecimal
    /// digits.
    ///
    /// # Errors
    /// The mailbox is gone, the system gives no random bytes, or the database failed.
    pub async fn sign(&self, account: u64, mailbox: u64, text: &str) -> Result<String, Failure> {
        let mut fresh = vec![0; KEY_BYTES];
        getrandom::fill(&mut fresh).map_err(|_| Failure::Limit("there are no random bytes"))?;
        let known = self.db.snapshot().get::<UrlKeyRow>(&(account, mailbox))?;
        let key = match known {
            Some(row) => row.key,
            None => {
                let pending = self.db.write(|tx| {
                    get_mailbox(tx, mailbox)?;
                    if let Some(row) = tx.get::<UrlKeyRow>(&(account, mailbox))? {
                        return Ok::<_, Failure>(row.key);
                    }
                    tx.put(&UrlKeyRow { account, mailbox, key: fresh.clone() })?;
                    Ok(fresh)
                })?;
                pending.await?
            }
        };
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), text.as_bytes());
        Ok(tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Whether a text was signed with the key of a mailbox.
    ///
    /// # Errors
    /// The database failed.
    pub fn is_signed(
        &self,
        account: u64,
        mailbox: u64,
        text: &str,
        token: &str,
    ) -> Result<bool, Failure> {
        let known = self.db.snapshot().get::<UrlKeyRow>(&(account, mailbox))?;
        let (Some(row), Some(tag)) = (known, bytes_of(token)) else { return Ok(false) };
        let key = hmac::Key::new(hmac::HMAC_SHA256, &row.key);
        Ok(hmac::verify(&key, text.as_bytes(), &tag).is_ok())
    }

    /// Tells of another key of a mailbox, or of none, from now on.
    #[must_use]
    pub fn watch_key(&self, account: u64, mailbox: u64) -> Watch {
        self.db.watch::<UrlKeyRow>(&(account, mailbox))
    }

    /// Something that differs where the key of a mailbox does; `None`: it has none.
    ///
    /// # Errors
    /// The database failed.
    pub fn key_mark(&self, account: u64, mailbox: u64) -> Result<Option<u64>, Failure> {
        let known = self.db.snapshot().get::<UrlKeyRow>(&(account, mailbox))?;
        let mark = |row: UrlKeyRow| {
            let mut hasher = DefaultHasher::new();
            row.key.hash(&mut hasher);
            hasher.finish()
        };
        Ok(known.map(mark))
    }

    /// Forgets the key of a mailbox, or those of all: what was signed is good no more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn forget_keys(&self, account: u64, mailbox: Option<u64>) -> Result<(), Failure> {
        let pending = self.db.write(|tx| {
            match mailbox {
                Some(mailbox) => drop(tx.delete::<UrlKeyRow>(&(account, mailbox))?),
                None => tx.delete_prefix::<UrlKeyRow, _>(&(account,))?,
            }
            Ok::<_, Failure>(())
        })?;
        Ok(pending.await?)
    }
}

/// Bytes of hexadecimal digits.
fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let pairs = digits.as_bytes().chunks(2).map(std::str::from_utf8);
    pairs.map(|pair| u8::from_str_radix(pair.ok()?, 16).ok()).collect()
}
