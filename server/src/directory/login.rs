//! Whether a login is right.
//!
//! ```text
//!   password ─▶ right a moment ago? ─▶ application password? ─▶ Argon2id ─▶ Wrong
//!                     └─────────────────────┴──────────────────────┴─ yes ─▶ welcome
//!   welcome: a ticket, then once more: is the account there, and in use?  ─▶ Welcome
//! ```
//! Invariants: what is found wrong costs an Argon2id in every case; the ticket is there before the
//! rows are looked at for the last time, so that no change is missed.
//! Not here: who may try, and what a wrong password leads to ([`super::guest`]).

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use gracedb::view::View as _;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::password::{self, PASSWORD_BYTES_MAX};
use super::settings;
use super::tickets::{Means, Ticket};
use super::{Directory, Person, app_passwords};
use crate::store::accounts::Account;
use crate::store::failure::Failure;
use crate::store::logins::{AppPasswordRow, Scope};

/// How a login went.
#[derive(Debug)]
pub enum Login {
    /// It is this account, for as long as the ticket is good.
    Welcome(Person, Means, Ticket),
    /// No; why, for the log. Which of its reasons it was is nobody else's business.
    Wrong(&'static str),
    /// It could not be checked; the client may try again.
    Unavailable(String),
}

impl Login {
    /// Unknown login or wrong password: the log does not tell either, for a password typed in the
    /// place of the login must not stand out there.
    pub const WRONG: Self = Self::Wrong("wrong login or password");
}

impl Directory {
    /// Checks a password.
    pub async fn authenticate(
        &self,
        login: &str,
        password: &Zeroizing<Vec<u8>>,
        purpose: Scope,
    ) -> Login {
        let known = match self.account(login) {
            Ok(known) => known,
            Err(e) => return Login::Unavailable(e.to_string()),
        };
        if let Some(account) = &known {
            match self.quickly(account, password, purpose) {
                Ok(None) => {}
                Ok(Some(login)) => return login,
                Err(e) => return Login::Unavailable(e.to_string()),
            }
        }
        let Ok(_permit) = Arc::clone(&self.checks).acquire_owned().await else {
            return Login::Unavailable("the server stops".to_owned());
        };
        if password.len() > PASSWORD_BYTES_MAX {
            return Login::WRONG;
        }
        let (hash, tried) = (known.as_ref().map(|one| one.password_hash.clone()), password.clone());
        let check = move || password::fits(&tried, &hash.unwrap_or_else(decoy));
        match (spawn_blocking(check).await, known) {
            (Ok(true), Some(account)) => {
                self.cache.remember(Instant::now(), &account, password);
                self.catch_up(&account, password).await;
                self.welcome(&account, Means::Password)
            }
            (Ok(_), _) => Login::WRONG,
            (Err(e), _) => Login::Unavailable(e.to_string()),
        }
    }

    /// Lets in who showed a certificate for this address.
    pub fn certified(&self, login: &str) -> Login {
        match self.account(login) {
            Ok(Some(account)) => self.welcome(&account, Means::Certificate),
            Ok(None) => Login::Wrong("nobody has the address of the certificate"),
            Err(e) => Login::Unavailable(e.to_string()),
        }
    }

    /// What can be said without Argon2id; `None`: nothing.
    fn quickly(
        &self,
        account: &Account,
        password: &[u8],
        purpose: Scope,
    ) -> Result<Option<Login>, Failure> {
        if self.cache.knows(Instant::now(), account, password) {
            return Ok(Some(self.welcome(account, Means::Password)));
        }
        let found = app_passwords::find(&self.db.snapshot(), account.id, password)?;
        Ok(found.map(|row| match row.covers(purpose) {
            true => self.welcome(account, Means::App(row.name)),
            false => Login::Wrong("the application password is not for this"),
        }))
    }

    /// Lets somebody in who showed what they know, if the account still is what it was and may be
    /// used.
    pub(super) fn welcome(&self, account: &Account, means: Means) -> Login {
        let ticket = self.tickets.give(account.id, means.clone());
        match self.still_good(account, &means) {
            Ok(Ok(())) => {
                let person = Person { id: account.id, address: account.address.clone() };
                Login::Welcome(person, means, ticket)
            }
            Ok(Err(why)) => Login::Wrong(why),
            Err(e) => Login::Unavailable(e.to_string()),
        }
    }

    fn still_good(
        &self,
        account: &Account,
        means: &Means,
    ) -> Result<Result<(), &'static str>, Failure> {
        let snapshot = self.db.snapshot();
        let Some(row) = snapshot.get::<Account>(&account.id)? else {
            return Ok(Err("the account has just been deleted"));
        };
        let is_same = match means {
            Means::Password => row.password_hash == account.password_hash,
            // That it is good was seen in the handshake.
            Means::Certificate => true,
            Means::App(name) => {
                snapshot.contains::<AppPasswordRow>(&(account.id, name.as_str()))?
            }
        };
        if !is_same {
            return Ok(Err("the password has just been changed"));
        }
        settings::may_log_in(&snapshot, &row.address)
    }
}

/// A hash that fits no password, of the same cost as a real one.
fn decoy() -> String {
    static DECOY: OnceLock<String> = OnceLock::new();
    DECOY
        .get_or_init(|| {
            password::random().and_then(|random| password::hash(&random)).unwrap_or_default()
        })
        .clone()
}
