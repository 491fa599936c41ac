//! What logins by SCRAM need: the salts, the keys of accounts, and those that are made up for
//! logins that nobody has.
//!
//! ```text
//!   secret ─▶ salt of a login, whoever has it ─▶ keys of the account's password, and of its
//!        └──▶ keys of a login that nobody has     application passwords: one salt for all of them
//! ```
//! Invariants: nobody can tell from salts and iterations whether an account is there; the keys of a
//! password are written in the transaction that writes its hash.
//! Not here: the messages (`grace_smtp::scram`), what follows from a proof ([`super::guest`]).

use std::num::NonZeroU32;

use gracedb::view::View;
use gracedb::write::WriteTx;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use grace_mail::address::{Charset, Mailbox as Address};
use grace_smtp::scram::{self, ITERATIONS, KEY_BYTES, KeyPair, StoredKeys};

use super::tickets::Means;
use super::{Directory, key};
use crate::store::accounts::Account;
use crate::store::failure::Failure;
use crate::store::logins::{AppPasswordRow, NOBODY, Scope, ScramKeyRow};

/// What was given to a login by SCRAM, until its proof comes.
#[derive(Debug)]
pub(super) struct Given {
    /// Whose keys they are; `None`: made up.
    pub(super) account: Option<Account>,
    /// What each pair of keys stands for, in their order.
    pub(super) means: Vec<Means>,
}

impl Directory {
    /// The keys to give to a login.
    pub(super) async fn scram_keys(
        &self,
        login: &str,
        purpose: Scope,
    ) -> Result<(StoredKeys, Given), Failure> {
        let secret = self.scram_secret().await?;
        let account = self.account(login)?;
        let name = account.as_ref().map_or_else(|| login_name(login), |one| one.address.clone());
        // Made in any case: it must take the same time.
        let mut keys = scram::made_up(&secret, &name, ITERATIONS);
        let mut means = Vec::new();
        if let Some(account) = &account {
            let known = known(&self.db.snapshot(), account.id, purpose)?;
            if let Some(first) = known.first() {
                (keys.salt, keys.iterations) = (first.salt.clone(), first.iterations);
                keys.pairs.clear();
            }
            // One challenge serves all: those made for another one have to wait for PLAIN.
            for one in known {
                if one.salt == keys.salt && one.iterations == keys.iterations {
                    keys.pairs.push(one.pair);
                    means.push(one.means);
                }
            }
        }
        Ok((keys, Given { account, means }))
    }

    /// The salt for keys of an address.
    pub(super) async fn scram_salt(&self, address: &str) -> Result<Vec<u8>, Failure> {
        Ok(scram::salt(&self.scram_secret().await?, address))
    }

    /// Makes the keys of an account from before there were any, now that its password is known.
    pub(super) async fn catch_up(&self, account: &Account, password: &Zeroizing<Vec<u8>>) {
        let has_keys = self.db.snapshot().contains::<ScramKeyRow>(&account.id);
        let text = String::from_utf8(password.to_vec()).map(Zeroizing::new);
        let (Ok(false), Ok(text)) = (has_keys, text) else { return };
        let Ok(salt) = self.scram_salt(&account.address).await else { return };
        let made_with = salt.clone();
        let made = spawn_blocking(move || scram::derive(&text, &made_with, ITERATIONS)).await;
        let Ok(Ok(pair)) = made else { return };
        let written = self.db.write(|tx| {
            let is_same = |row: Account| row.password_hash == account.password_hash;
            if tx.get::<Account>(&account.id)?.is_some_and(is_same) {
                put_keys(tx, account.id, &salt, Some(&pair))?;
            }
            Ok::<_, Failure>(())
        });
        // The login is good without; the next one tries again.
        if let Ok(pending) = written {
            drop(pending.await);
        }
    }

    /// What salts and made-up keys are made of; made when it is first needed.
    async fn scram_secret(&self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        if let Some(row) = self.db.snapshot().get::<ScramKeyRow>(&NOBODY)? {
            return Ok(Zeroizing::new(row.stored_key));
        }
        let mut fresh = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(fresh.as_mut_slice())
            .map_err(|_| Failure::NotAllowed("the system gives no random bytes"))?;
        self.db
            .write(|tx| {
                // Two may have seen that there is none.
                if let Some(row) = tx.get::<ScramKeyRow>(&NOBODY)? {
                    return Ok(Zeroizing::new(row.stored_key));
                }
                tx.put(&ScramKeyRow {
                    account: NOBODY,
                    salt: Vec::new(),
                    iterations: 0,
                    stored_key: fresh.to_vec(),
                    server_key: Vec::new(),
                })?;
                Ok::<_, Failure>(Zeroizing::new(fresh.to_vec()))
            })?
            .await
            .map_err(Failure::from)
    }
}

/// Writes the keys of an account's password; `None`: it has no keys.
pub(super) fn put_keys(
    tx: &mut WriteTx<'_>,
    account: u64,
    salt: &[u8],
    pair: Option<&KeyPair>,
) -> Result<(), Failure> {
    match pair {
        None => drop(tx.delete::<ScramKeyRow>(&account)?),
        Some(pair) => tx.put(&ScramKeyRow {
            account,
            salt: salt.to_vec(),
            iterations: ITERATIONS.get(),
            stored_key: pair.stored_key.to_vec(),
            server_key: pair.server_key.to_vec(),
        })?,
    }
    Ok(())
}

/// Keys that are kept, and what they stand for.
struct Known {
    salt: Vec<u8>,
    iterations: NonZeroU32,
    pair: KeyPair,
    means: Means,
}

impl Known {
    /// `None`: the row is no use.
    fn new(kept: (Vec<u8>, u32, &[u8], &[u8]), means: Means) -> Option<Self> {
        let (salt, iterations, stored_key, server_key) = kept;
        let iterations = NonZeroU32::new(iterations)?;
        let stored_key = Zeroizing::new(stored_key.try_into().ok()?);
        let server_key = Zeroizing::new(server_key.try_into().ok()?);
        Some(Self { salt, iterations, pair: KeyPair { stored_key, server_key }, means })
    }
}

/// The keys of an account's passwords that are good for this.
fn known(view: &impl View, account: u64, purpose: Scope) -> Result<Vec<Known>, Failure> {
    let mut found = Vec::new();
    if let Some(row) = view.get::<ScramKeyRow>(&account)? {
        let kept = (row.salt, row.iterations, row.stored_key.as_slice(), row.server_key.as_slice());
        found.extend(Known::new(kept, Means::Password));
    }
    for row in view.prefix::<AppPasswordRow>(&(account,)) {
        let row = row?;
        if row.covers(purpose) {
            let keys = (row.stored_key.as_slice(), row.server_key.as_slice());
            let kept = (row.scram_salt, row.iterations, keys.0, keys.1);
            found.extend(Known::new(kept, Means::App(row.name)));
        }
    }
    Ok(found)
}

/// A login in the form that accounts are compared in.
fn login_name(login: &str) -> String {
    Address::parse(login, Charset::Utf8)
        .map_or_else(|_| login.to_lowercase(), |address| key(&address))
}
