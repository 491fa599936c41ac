//! What is set about domains and addresses: its names, what each may be, and what it does.
//!
//! ```text
//!   domain   disabled  subaddress-separator  message-bytes-max
//!   address  state  name  send-as  taken-from
//! ```
//! Invariants: a setting is read, written and shown by one row of a table here; where nothing is
//! set, all is as usual and there is no row.
//! Not here: accounts, aliases and domains themselves (`directory`), what a peer is told
//! (`inbound`).

use gracedb::view::View;

use grace_mail::address::{Charset, Domain as DomainName, Mailbox as Address};

use super::{Destination, Directory, POSTMASTER, Person, Refusal, key, without_detail};
use crate::store::accounts::{AccountByAddress, Alias, Domain, domain_name};
use crate::store::failure::Failure;
use crate::store::settings::{AddressSettings, DomainSettings, State, TakenFrom};

/// Addresses an account may send as beyond its own: more are an alias or a whole domain.
const SENDERS_MAX: usize = 100;

/// Longest name of whom an address belongs to, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// Smallest limit on messages, in bytes: RFC 5321 4.5.3.1.7 has it that all take 64 KiB.
const MESSAGE_BYTES_MIN: u64 = 65_536;

/// What may part an address from a detail: nothing that stands in the names of people.
const SEPARATORS: &str = "+-=_#~";

/// One setting, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its name.
    pub key: &'static str,
    /// What it is.
    pub value: String,
    /// What it is where nothing is set.
    pub usual: String,
    /// What it does, and what it may be.
    pub help: &'static str,
}

/// Whether an address takes a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It does.
    Yes,
    /// Not now: it is to come again.
    Later,
    /// Not from this sender.
    NotFromThere,
}

/// A setting: how it is read and written in a row.
struct Setting<T> {
    key: &'static str,
    help: &'static str,
    get: fn(&T) -> String,
    /// Says what would do, if the text will not.
    set: fn(&mut T, &str) -> Result<(), &'static str>,
}

const DOMAIN: &[Setting<DomainSettings>] = &[
    Setting {
        key: "disabled",
        help: "yes: nobody in it logs in, and its mail is answered 451; or no",
        get: |row| word(row.is_disabled, "yes", "no"),
        set: |row, text| {
            row.is_disabled = match text {
                "yes" => true,
                "no" => false,
                _ => return Err("yes or no"),
            };
            Ok(())
        },
    },
    Setting {
        key: "subaddress-separator",
        help: "what parts anna from shop in anna+shop: one of + - = _ # ~, or none",
        get: |row| word(row.separator.is_empty(), "none", &row.separator),
        set: |row, text| {
            row.separator = match text {
                "none" => String::new(),
                one if one.len() == 1 && SEPARATORS.contains(one) => one.to_owned(),
                _ => return Err("one of + - = _ # ~, or none"),
            };
            Ok(())
        },
    },
    Setting {
        key: "message-bytes-max",
        help: "largest message its addresses take, 65536 at least; 0: as limits.message_bytes_max",
        get: |row| row.message_bytes_max.to_string(),
        set: |row, text| {
            let bytes = text.parse().ok().filter(|bytes| matches!(bytes, 0 | MESSAGE_BYTES_MIN..));
            row.message_bytes_max = bytes.ok_or("0, or a number from 65536 on")?;
            Ok(())
        },
    },
];

const ADDRESS: &[Setting<AddressSettings>] = &[
    Setting {
        key: "state",
        help: "active; no-login: nobody logs in, mail is taken; disabled: mail is answered 450 too",
        get: |row| match State::from_row(row.state) {
            State::Active => "active".to_owned(),
            State::NoLogin => "no-login".to_owned(),
            State::Disabled => "disabled".to_owned(),
        },
        set: |row, text| {
            row.state = match text {
                "active" => State::Active,
                "no-login" => State::NoLogin,
                "disabled" => State::Disabled,
                _ => return Err("active, no-login or disabled"),
            } as u8;
            Ok(())
        },
    },
    Setting {
        key: "name",
        help: "what people call whom it belongs to",
        get: |row| row.name.clone(),
        set: |row, text| {
            if text.len() > NAME_BYTES_MAX || text.chars().any(char::is_control) {
                return Err("200 bytes at most, all to be seen");
            }
            text.clone_into(&mut row.name);
            Ok(())
        },
    },
    Setting {
        key: "send-as",
        help: "other addresses its account may send as, @example.org for all of one; or none",
        get: |row| word(row.senders.is_empty(), "none", &row.senders.join(" ")),
        set: |row, text| {
            let written = if text == "none" { "" } else { text };
            let senders = written.split([' ', ',']).filter(|text| !text.is_empty()).map(sender);
            let senders = senders.collect::<Option<Vec<_>>>();
            let senders = senders.filter(|senders| senders.len() <= SENDERS_MAX);
            row.senders = senders.ok_or("addresses, or @ and a domain, 100 at most; or none")?;
            Ok(())
        },
    },
    Setting {
        key: "taken-from",
        help: "whose mail it takes: anyone; local: who logged in here; members: whom it stands for",
        get: |row| match TakenFrom::from_row(row.taken_from) {
            TakenFrom::Anyone => "anyone".to_owned(),
            TakenFrom::Local => "local".to_owned(),
            TakenFrom::Members => "members".to_owned(),
        },
        set: |row, text| {
            row.taken_from = match text {
                "anyone" => TakenFrom::Anyone,
                "local" => TakenFrom::Local,
                "members" => TakenFrom::Members,
                _ => return Err("anyone, local or members"),
            } as u8;
            Ok(())
        },
    },
];

impl Directory {
    /// What is set about a domain.
    ///
    /// # Errors
    /// There is no such domain, or the database failed.
    pub fn domain_settings(&self, name: &str) -> Result<Vec<Shown>, Refusal> {
        let name = domain_name(name)?;
        let snapshot = self.db.snapshot();
        if !snapshot.contains::<Domain>(&name)? {
            return Err(Refusal::Missing(format!("domain {name}")));
        }
        Ok(shown(DOMAIN, &of_domain(&snapshot, &name)?, &DomainSettings::usual(&name)))
    }

    /// Sets something about a domain.
    ///
    /// # Errors
    /// There is no such domain or setting, the value will not do, or the database failed.
    pub async fn set_domain(
        &self,
        name: &str,
        setting: &str,
        value: &str,
        by: &str,
    ) -> Result<(), Refusal> {
        let name = domain_name(name)?;
        let row = self
            .db
            .write(|tx| {
                if !tx.contains::<Domain>(&name)? {
                    return Err(Refusal::Missing(format!("domain {name}")));
                }
                let mut row = of_domain(tx, &name)?;
                set(DOMAIN, &mut row, setting, value)?;
                if row == DomainSettings::usual(&name) {
                    tx.delete::<DomainSettings>(&name)?;
                } else {
                    tx.put(&row)?;
                }
                Ok(row)
            })?
            .await?;
        if row.is_disabled {
            let ending = format!("@{name}");
            for account in self.accounts()?.iter().filter(|one| one.address.ends_with(&ending)) {
                self.tickets.revoke(account.id, |_| true);
            }
        }
        self.tell(format!("domain {name}"), &format!("{setting} set to {value}"), by);
        Ok(())
    }

    /// What is set about the address of an account or an alias.
    ///
    /// # Errors
    /// There is none, or the database failed.
    pub fn address_settings(&self, address: &str) -> Result<Vec<Shown>, Refusal> {
        let address = address_key(address)?;
        let snapshot = self.db.snapshot();
        if !is_ours(&snapshot, &address)? {
            return Err(Refusal::Missing(format!("account or alias {address}")));
        }
        let usual = usual_address(&address);
        Ok(shown(ADDRESS, &of_address(&snapshot, &address)?, &usual))
    }

    /// Sets something about the address of an account or an alias.
    ///
    /// # Errors
    /// There is no such address or setting, the value will not do, or the database failed.
    pub async fn set_address(
        &self,
        address: &str,
        setting: &str,
        value: &str,
        by: &str,
    ) -> Result<(), Refusal> {
        let address = address_key(address)?;
        let row = self
            .db
            .write(|tx| {
                if !is_ours(tx, &address)? {
                    return Err(Refusal::Missing(format!("account or alias {address}")));
                }
                let mut row = of_address(tx, &address)?;
                set(ADDRESS, &mut row, setting, value)?;
                let is_alias = tx.contains::<Alias>(&address)?;
                fits(&row, is_alias)?;
                if row == usual_address(&address) {
                    tx.delete::<AddressSettings>(&address)?;
                } else {
                    tx.put(&row)?;
                }
                Ok(row)
            })?
            .await?;
        if State::from_row(row.state) != State::Active
            && let Some(account) = self.account(&address)?
        {
            self.tickets.revoke(account.id, |_| true);
        }
        self.tell(address, &format!("{setting} set to {value}"), by);
        Ok(())
    }

    /// Whether an address takes a message of this sender; `from`: who logged in to send it.
    ///
    /// # Errors
    /// The database failed.
    pub fn takes(&self, address: &Address, from: Option<&Person>) -> Result<Taken, Failure> {
        let snapshot = self.db.snapshot();
        let Some(domain) = address.domain() else { return Ok(Taken::Yes) };
        let of_its_domain = of_domain(&snapshot, domain.as_str())?;
        if of_its_domain.is_disabled {
            return Ok(Taken::Later);
        }
        let key = key(address);
        // RFC 5321 4.5.1: mail for the postmaster is taken from all.
        if key.split('@').next() == Some(POSTMASTER) {
            return Ok(Taken::Yes);
        }
        let plain = without_detail(&key, &of_its_domain.separator);
        let rest = format!("@{}", domain.as_str());
        for address in [Some(key), plain, Some(rest)].into_iter().flatten() {
            if is_ours(&snapshot, &address)? {
                return taken(&snapshot, &of_address(&snapshot, &address)?, from);
            }
        }
        Ok(Taken::Yes)
    }

    /// The largest message that the addresses of a domain take, in bytes; `None`: as this server.
    ///
    /// # Errors
    /// The database failed.
    pub fn message_bytes_max(&self, domain: &DomainName) -> Result<Option<u64>, Failure> {
        let bytes = of_domain(&self.db.snapshot(), domain.as_str())?.message_bytes_max;
        Ok((bytes > 0).then_some(bytes))
    }

    /// Whether somebody may send as this address: their own, one that stands for them, or one that
    /// was allowed to them.
    ///
    /// # Errors
    /// The database failed.
    pub fn may_send_as(&self, person: &Person, address: &Address) -> Result<bool, Failure> {
        match self.resolve(address)? {
            Destination::Account(owner) if owner.id == person.id => return Ok(true),
            Destination::Alias(people) if people.contains(person) => return Ok(true),
            _ => {}
        }
        let allowed = of_address(&self.db.snapshot(), &person.address)?.senders;
        let key = key(address);
        let fits = |one: &String| *one == key || (one.starts_with('@') && key.ends_with(one));
        Ok(allowed.iter().any(fits))
    }
}

/// What is set about a domain.
pub(super) fn of_domain(view: &impl View, domain: &str) -> Result<DomainSettings, Failure> {
    let row = view.get::<DomainSettings>(domain)?;
    Ok(row.unwrap_or_else(|| DomainSettings::usual(domain)))
}

fn of_address(view: &impl View, address: &str) -> Result<AddressSettings, Failure> {
    Ok(view.get::<AddressSettings>(address)?.unwrap_or_else(|| usual_address(address)))
}

fn usual_address(address: &str) -> AddressSettings {
    AddressSettings { address: address.to_owned(), ..AddressSettings::default() }
}

/// Whether the account of an address may be used, and why not.
pub(super) fn may_log_in(
    view: &impl View,
    address: &str,
) -> Result<Result<(), &'static str>, Failure> {
    if State::from_row(of_address(view, address)?.state) != State::Active {
        return Ok(Err("the account is disabled"));
    }
    let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
    match of_domain(view, domain)?.is_disabled {
        true => Ok(Err("the account's domain is disabled")),
        false => Ok(Ok(())),
    }
}

/// What the settings of an address say about a message of this sender.
fn taken(
    view: &impl View,
    settings: &AddressSettings,
    from: Option<&Person>,
) -> Result<Taken, Failure> {
    if State::from_row(settings.state) == State::Disabled {
        return Ok(Taken::Later);
    }
    let is_welcome = match (TakenFrom::from_row(settings.taken_from), from) {
        (TakenFrom::Anyone, _) | (TakenFrom::Local, Some(_)) => true,
        (TakenFrom::Local | TakenFrom::Members, None) => false,
        (TakenFrom::Members, Some(person)) => {
            let alias = view.get::<Alias>(settings.address.as_str())?;
            alias.is_some_and(|alias| alias.accounts.contains(&person.id))
        }
    };
    Ok(if is_welcome { Taken::Yes } else { Taken::NotFromThere })
}

/// Whether an account or an alias has this address.
fn is_ours(view: &impl View, address: &str) -> Result<bool, Failure> {
    Ok(view.find::<AccountByAddress>(address)?.is_some() || view.contains::<Alias>(address)?)
}

/// Some settings mean something for accounts alone, or for aliases alone.
fn fits(row: &AddressSettings, is_alias: bool) -> Result<(), Refusal> {
    let has_members = TakenFrom::from_row(row.taken_from) == TakenFrom::Members;
    let why = match is_alias {
        true if !row.senders.is_empty() => "send-as is for accounts: an alias sends nothing",
        true if State::from_row(row.state) == State::NoLogin => "nobody logs in as an alias anyway",
        false if has_members => "members are those of an alias; for an account there is local",
        _ => return Ok(()),
    };
    Err(Refusal::Invalid(why.to_owned()))
}

fn set<T>(settings: &[Setting<T>], row: &mut T, key: &str, value: &str) -> Result<(), Refusal> {
    let Some(setting) = settings.iter().find(|setting| setting.key == key) else {
        let names: Vec<&str> = settings.iter().map(|setting| setting.key).collect();
        let why = format!("there is no setting {key:?}; there are {}", names.join(", "));
        return Err(Refusal::Invalid(why));
    };
    (setting.set)(row, value.trim())
        .map_err(|would_do| Refusal::Invalid(format!("{key}: {value:?} is not {would_do}")))
}

fn shown<T>(settings: &[Setting<T>], row: &T, usual: &T) -> Vec<Shown> {
    let one = |setting: &Setting<T>| Shown {
        key: setting.key,
        value: (setting.get)(row),
        usual: (setting.get)(usual),
        help: setting.help,
    };
    settings.iter().map(one).collect()
}

/// One address that may be sent as, in the form it is compared in; `None`: it is none.
fn sender(text: &str) -> Option<String> {
    if let Some(domain) = text.strip_prefix('@') {
        let domain = DomainName::parse(domain, Charset::Utf8).ok()?;
        return Some(format!("@{}", domain.as_str()));
    }
    Address::parse(text, Charset::Utf8).ok().map(|address| key(&address))
}

/// An address as its row has it, also that of an alias for the rest of a domain.
fn address_key(text: &str) -> Result<String, Refusal> {
    sender(text).ok_or_else(|| Refusal::Invalid(format!("{text:?} is not an address")))
}

fn word(is_so: bool, yes: &str, no: &str) -> String {
    if is_so { yes } else { no }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(key: &str, value: &str) -> Result<String, String> {
        let mut row = DomainSettings::usual("x.example");
        set(DOMAIN, &mut row, key, value).map_err(|e| e.to_string())?;
        let shown = shown(DOMAIN, &row, &DomainSettings::usual("x.example"));
        Ok(shown.into_iter().find(|one| one.key == key).expect("it is shown").value)
    }

    fn address(key: &str, value: &str) -> Result<String, String> {
        let mut row = usual_address("a@x.example");
        set(ADDRESS, &mut row, key, value).map_err(|e| e.to_string())?;
        let shown = shown(ADDRESS, &row, &usual_address("a@x.example"));
        Ok(shown.into_iter().find(|one| one.key == key).expect("it is shown").value)
    }

    #[test]
    fn what_is_set_is_shown() {
        for value in ["yes", "no"] {
            assert_eq!(domain("disabled", value).as_deref(), Ok(value));
        }
        for value in ["+", "-", "none", "~"] {
            assert_eq!(domain("subaddress-separator", value).as_deref(), Ok(value));
        }
        for value in ["0", "65536", "1000000"] {
            assert_eq!(domain("message-bytes-max", value).as_deref(), Ok(value));
        }
        for value in ["active", "no-login", "disabled"] {
            assert_eq!(address("state", value).as_deref(), Ok(value));
        }
        for value in ["anyone", "local", "members"] {
            assert_eq!(address("taken-from", value).as_deref(), Ok(value));
        }
        assert_eq!(address("name", " Anna Smith ").as_deref(), Ok("Anna Smith"));
        let senders = address("send-as", "Info@X.example, @Other.example none@x.example");
        assert_eq!(senders.as_deref(), Ok("info@x.example @other.example none@x.example"));
        assert_eq!(address("send-as", "none").as_deref(), Ok("none"));
    }

    #[test]
    fn what_will_not_do_is_refused() {
        for (key, value) in [
            ("disabled", "maybe"),
            ("subaddress-separator", "++"),
            ("subaddress-separator", "a"),
            ("subaddress-separator", ""),
            ("message-bytes-max", "65535"),
            ("message-bytes-max", "-1"),
            ("colour", "blue"),
        ] {
            assert!(domain(key, value).is_err(), "{key} {value}");
        }
        for (key, value) in [
            ("state", "asleep"),
            ("taken-from", "nobody"),
            ("name", "a\nb"),
            ("send-as", "anna@"),
            ("send-as", "@"),
            ("name", &"x".repeat(NAME_BYTES_MAX + 1)),
            ("send-as", &"a@x.example ".repeat(SENDERS_MAX + 1)),
        ] {
            assert!(address(key, value).is_err(), "{key} {value}");
        }
        assert_eq!(
            domain("colour", "blue").expect_err("unknown"),
            "there is no setting \"colour\"; there are disabled, subaddress-separator, \
             message-bytes-max"
        );
    }

    #[test]
    fn the_usual_has_no_row() {
        let usual = shown(DOMAIN, &DomainSettings::usual("x"), &DomainSettings::usual("x"));
        assert!(usual.iter().all(|one| one.value == one.usual));
        let mut row = usual_address("a@x.example");
        set(ADDRESS, &mut row, "state", "disabled").expect("set");
        set(ADDRESS, &mut row, "state", "active").expect("set");
        assert_eq!(row, usual_address("a@x.example"));
    }
}
