//! Application passwords: one for each program of an account, made here, taken back one by one.
//!
//! Invariants: the password is shown once, when it is made; it has 100 random bits, so that a fast
//! hash is enough and a login costs next to nothing; taking it back ends the sessions it opened.
//! With SCRAM it is typed as it was shown; elsewhere capitals, spaces and hyphens do not matter.
//! Not here: what a session does about that (`inbound`, `imap`).

use std::net::IpAddr;

use aws_lc_rs::hmac;
use gracedb::view::View;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use grace_smtp::scram;

use super::password::{self, ALPHABET, RANDOM_LETTERS};
use super::tickets::Means;
use super::{Directory, Refusal};
use crate::store::accounts::Account;
use crate::store::failure::Failure;
use crate::store::logins::{AppPasswordRow, Scope};
use crate::telemetry::bus::now_us;

/// Longest name, in bytes: a few words.
pub const NAME_BYTES_MAX: usize = 64;

/// Letters of a password that are shown together.
const GROUP_LETTERS: usize = 4;

/// Bytes of a salt.
const SALT_BYTES: usize = 16;

/// When a password was used is written down once in that time, in microseconds: a disk is not woken
/// for each login.
const USED_EVERY_US: u64 = 3_600 * 1_000_000;

impl AppPasswordRow {
    /// Whether it is good for this.
    pub(super) fn covers(&self, purpose: Scope) -> bool {
        Scope::from_row(self.scope).is_some_and(|scope| scope == Scope::Both || scope == purpose)
    }

    fn fits(&self, password: &[u8]) -> bool {
        hmac::verify(&hash_key(&self.salt), password, &self.hash).is_ok()
    }
}

impl Directory {
    /// The application passwords of an account, by name.
    ///
    /// # Errors
    /// There is no such account, or the database failed.
    pub fn app_passwords(&self, address: &str) -> Result<Vec<AppPasswordRow>, Refusal> {
        let account = self.require(address)?;
        let snapshot = self.db.snapshot();
        let rows = snapshot.prefix::<AppPasswordRow>(&(account.id,));
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Makes one, and gives it: this once.
    ///
    /// # Errors
    /// There is no such account, the name cannot be used or is taken, there are too many, or the
    /// database failed.
    pub async fn create_app_password(
        &self,
        address: &str,
        name: &str,
        scope: Scope,
        by: &str,
    ) -> Result<Zeroizing<String>, Refusal> {
        let account = self.require(address)?;
        let name = checked_name(name)?;
        let shown = groups(&password::random().map_err(Refusal::Invalid)?);
        let row = self.app_row(&account, name.clone(), scope, &shown).await?;
        let passwords_max = self.app_passwords_max;
        self.db
            .write(|tx| {
                if tx.get::<Account>(&account.id)?.is_none() {
                    return Err(Refusal::Missing(format!("account {address}")));
                }
                let mut count = 0;
                for other in tx.prefix::<AppPasswordRow>(&(account.id,)) {
                    count += 1;
                    if other?.name == name {
                        let what = format!("the application password {name:?}");
                        return Err(Refusal::Exists(what));
                    }
                }
                if count >= passwords_max {
                    let why = format!(
                        "an account has {passwords_max} application passwords at most \
                         (limits.app_passwords_max); remove one first"
                    );
                    return Err(Refusal::Invalid(why));
                }
                tx.insert(&row)?;
                Ok(())
            })?
            .await?;
        self.tell(format!("application password {name} of {}", account.address), "created", by);
        Ok(shown)
    }

    /// Takes one back: nobody logs in with it again, and who did is logged out.
    ///
    /// # Errors
    /// There is none, or the database failed.
    pub async fn delete_app_password(
        &self,
        address: &str,
        name: &str,
        by: &str,
    ) -> Result<(), Refusal> {
        let account = self.require(address)?;
        self.db
            .write(|tx| {
                if !tx.delete::<AppPasswordRow>(&(account.id, name))? {
                    let what = format!("application password {name:?} of {}", account.address);
                    return Err(Refusal::Missing(what));
                }
                Ok(())
            })?
            .await?;
        self.tickets.revoke(account.id, |means| *means == Means::App(name.to_owned()));
        self.tell(format!("application password {name} of {}", account.address), "deleted", by);
        Ok(())
    }

    async fn app_row(
        &self,
        account: &Account,
        name: String,
        scope: Scope,
        shown: &Zeroizing<String>,
    ) -> Result<AppPasswordRow, Refusal> {
        let mut salt = vec![0; SALT_BYTES];
        getrandom::fill(&mut salt)
            .map_err(|e| Refusal::Invalid(format!("the system gives no random bytes: {e}")))?;
        let typed = typed(shown.as_bytes()).unwrap_or_default();
        let hash = hmac::sign(&hash_key(&salt), &typed).as_ref().to_vec();
        let scram_salt = self.scram_salt(&account.address).await?;
        let (text, made_with) = (shown.clone(), scram_salt.clone());
        let pair = spawn_blocking(move || scram::derive(&text, &made_with, scram::ITERATIONS))
            .await
            .map_err(|e| Refusal::Invalid(e.to_string()))?
            .map_err(|e| Refusal::Invalid(e.to_string()))?;
        Ok(AppPasswordRow {
            account: account.id,
            name,
            scope: scope as u8,
            salt,
            hash,
            scram_salt,
            iterations: scram::ITERATIONS.get(),
            stored_key: pair.stored_key.to_vec(),
            server_key: pair.server_key.to_vec(),
            created_us: now_us(),
            used_us: 0,
            used_from: String::new(),
        })
    }

    /// Writes down that somebody logged in with this, if that was not done lately. Whether it could
    /// be written down changes nothing for who logged in.
    pub(super) async fn note_use(&self, account: u64, means: &Means, from: IpAddr) {
        let Means::App(name) = means else { return };
        let now = now_us();
        let is_due = |row: &AppPasswordRow| now.saturating_sub(row.used_us) >= USED_EVERY_US;
        let row = self.db.snapshot().get::<AppPasswordRow>(&(account, name.as_str()));
        if !matches!(row, Ok(Some(row)) if is_due(&row)) {
            return;
        }
        let written = self.db.write(|tx| {
            if let Some(row) = tx.get::<AppPasswordRow>(&(account, name.as_str()))?.filter(is_due) {
                tx.put(&AppPasswordRow { used_us: now, used_from: from.to_string(), ..row })?;
            }
            Ok::<_, Failure>(())
        });
        if let Ok(pending) = written {
            drop(pending.await);
        }
    }
}

/// The application password that this is, among those of an account.
pub(super) fn find(
    view: &impl View,
    account: u64,
    password: &[u8],
) -> Result<Option<AppPasswordRow>, Failure> {
    let Some(typed) = typed(password) else { return Ok(None) };
    let mut found = None;
    for row in view.prefix::<AppPasswordRow>(&(account,)) {
        let row = row?;
        if row.fits(&typed) {
            found = Some(row);
        }
    }
    Ok(found)
}

fn hash_key(salt: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, salt)
}

/// The letters of an application password, however they were typed; `None`: it cannot be one.
fn typed(password: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut letters = Zeroizing::new(Vec::with_capacity(RANDOM_LETTERS));
    for byte in password.iter().filter(|byte| !matches!(byte, b' ' | b'-')) {
        let letter = byte.to_ascii_lowercase();
        if letters.len() == RANDOM_LETTERS || !ALPHABET.contains(&letter) {
            return None;
        }
        letters.push(letter);
    }
    (letters.len() == RANDOM_LETTERS).then_some(letters)
}

/// `abcd-efgh-…`: people can read it to each other.
fn groups(letters: &str) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(2 * letters.len()));
    for (at, letter) in letters.chars().enumerate() {
        if at > 0 && at % GROUP_LETTERS == 0 {
            text.push('-');
        }
        text.push(letter);
    }
    text
}

fn checked_name(name: &str) -> Result<String, Refusal> {
    let name = name.trim();
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        let why = format!("{name:?}: a name has 1 to {NAME_BYTES_MAX} bytes, all to be seen");
        return Err(Refusal::Invalid(why));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_however_it_is_typed() {
        let shown = groups("abcdefghijkmnpqrst23");
        assert_eq!(*shown, "abcd-efgh-ijkm-npqr-st23");
        let letters = Some(Zeroizing::new(b"abcdefghijkmnpqrst23".to_vec()));
        for text in [shown.as_str(), "ABCDEFGHIJKMNPQRST23", " abcd efgh ijkm npqr st23 "] {
            assert_eq!(typed(text.as_bytes()), letters, "{text}");
        }
        for text in ["", "abcd", "abcdefghijkmnpqrst2", "abcdefghijkmnpqrst234", "correct horse"] {
            assert_eq!(typed(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn names() {
        assert_eq!(checked_name(" Anna's phone ").expect("a name"), "Anna's phone");
        for name in ["", "  ", "a\nb", &"x".repeat(NAME_BYTES_MAX + 1)] {
            assert!(matches!(checked_name(name), Err(Refusal::Invalid(_))), "{name:?}");
        }
    }
}
