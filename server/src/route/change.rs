//! Routes as admins see and set them.
//!
//! Invariants: what is set can be used; a password leaves this module to a smart host alone; a
//! login has one password at one smart host, whatever route goes there.
//! Not here: who may do this (`admin`), mail that waits already (`outbound`).

use std::net::IpAddr;

use gracedb::view::View as _;
use gracedb::write::WriteTx;
use zeroize::Zeroizing;

use grace_ipc::event::{EventKind, TraceId};
use grace_mail::address::{Charset, Domain};

use super::Router;
use super::rules::EVERYBODY;
use crate::config::names::Source;
use crate::store::failure::Failure;
use crate::store::refusal::Refusal;
use crate::store::routes::{Of, RouteRow, Tls, To};
use crate::telemetry::bus::now_us;

/// Routes there may be: they are held in memory, and a list of them is read by people.
pub const ROUTES_MAX: usize = 10_000;
/// Addresses one route may send from.
pub const SOURCES_MAX: usize = 16;
/// Longest login and password, in bytes: AUTH takes a line of 12288 (RFC 4954 4), and they travel
/// in base64.
const LOGIN_BYTES_MAX: usize = 1_024;

/// A route to be set.
#[derive(Debug)]
pub struct Change {
    /// Whose mail it is for.
    pub of: Of,
    /// A domain, `.domain`, or `*`.
    pub pattern: String,
    /// Where it goes.
    pub to: Target,
    /// Addresses it is sent from, as settings have them.
    pub sources: Vec<String>,
}

/// Where mail is to go.
#[derive(Debug)]
pub enum Target {
    /// Nothing is said about it.
    Unsaid,
    /// To the servers that the recipient's domain names.
    Direct,
    /// To a smart host.
    SmartHost {
        /// Its name or address.
        host: String,
        /// Its port.
        port: u16,
        /// How it is spoken to.
        tls: Tls,
        /// Who we are there.
        login: Option<String>,
        /// The password of that login; `None`: the one that is known.
        password: Option<Zeroizing<String>>,
    },
}

impl Router {
    /// All routes, by pattern, without what is secret.
    ///
    /// # Errors
    /// The database failed.
    pub fn routes(&self) -> Result<Vec<RouteRow>, Failure> {
        let mut rows = self.db.snapshot().scan::<RouteRow>().collect::<Result<Vec<_>, _>>()?;
        rows.iter_mut().for_each(|row| row.password.clear());
        rows.sort_by(|a, b| (&a.pattern, a.of).cmp(&(&b.pattern, b.of)));
        Ok(rows)
    }

    /// Sets a route, in the place of the one of its pattern; `by` is who asked, for the event.
    ///
    /// # Errors
    /// Something in it cannot be used (says what would do), or the database failed.
    pub async fn set_route(&self, change: Change, by: &str) -> Result<(), Refusal> {
        let row = self.row(change)?;
        let what = words(Of::from_row(row.of), &row.pattern);
        self.db.write(|tx| put(tx, row.clone()))?.await?;
        self.reload()?;
        self.tell(what, "set", by);
        Ok(())
    }

    /// Removes a route.
    ///
    /// # Errors
    /// There is none, or the database failed.
    pub async fn remove_route(&self, of: Of, pattern: &str, by: &str) -> Result<(), Refusal> {
        let pattern = parse(of, pattern)?;
        let what = words(of, &pattern);
        let key = (of as u8, pattern);
        self.db
            .write(|tx| {
                if tx.get::<RouteRow>(&key)?.is_none() {
                    return Err(Refusal::Missing(what.clone()));
                }
                tx.delete::<RouteRow>(&key)?;
                Ok(())
            })?
            .await?;
        self.reload()?;
        self.tell(what, "removed", by);
        Ok(())
    }

    fn tell(&self, what: String, change: &str, by: &str) {
        let (change, by) = (change.to_owned(), by.to_owned());
        self.bus.emit(TraceId(0), EventKind::DirectoryChanged { what, change, by });
    }

    /// What is set, checked.
    fn row(&self, change: Change) -> Result<RouteRow, Refusal> {
        let Change { of, pattern, to, sources } = change;
        let mut row = RouteRow {
            of: of as u8,
            pattern: parse(of, &pattern)?,
            to: To::Unsaid as u8,
            host: String::new(),
            port: 0,
            tls: Tls::Opportunistic as u8,
            login: String::new(),
            password: String::new(),
            sources: checked_sources(sources)?,
            changed_us: now_us(),
        };
        match to {
            Target::Unsaid if row.sources.is_empty() => {
                let why = "a route says where mail goes, or what it is sent from, or both";
                return Err(Refusal::Invalid(why.to_owned()));
            }
            Target::Unsaid => {}
            Target::Direct => row.to = To::Direct as u8,
            Target::SmartHost { host, port, tls, login, password } => {
                row.to = To::SmartHost as u8;
                row.host = self.checked_host(&host, port)?;
                (row.port, row.tls) = (port, tls as u8);
                row.login = checked_login(login)?;
                row.password = checked_password(password, &row.login)?;
            }
        }
        Ok(row)
    }

    fn checked_host(&self, host: &str, port: u16) -> Result<String, Refusal> {
        let invalid = |why: String| Err(Refusal::Invalid(why));
        if port == 0 {
            return invalid("a smart host has a port from 1 to 65535".to_owned());
        }
        let host = match (host.parse::<IpAddr>(), Domain::parse(host, Charset::Utf8)) {
            (Ok(address), _) => address.to_string(),
            (_, Ok(name)) => name.as_str().to_owned(),
            _ => {
                return invalid(format!("{host:?} is neither the name of a server nor an address"));
            }
        };
        // RFC 5321 6.3: mail that comes back goes in circles.
        if self.has_door(port) && host.eq_ignore_ascii_case(&self.own_name) {
            return invalid(format!("{host}:{port} is this server itself"));
        }
        Ok(host)
    }
}

/// Puts a route in its place, and its password wherever its login is used.
fn put(tx: &mut WriteTx<'_>, mut row: RouteRow) -> Result<(), Refusal> {
    let others = tx.scan::<RouteRow>().collect::<Result<Vec<_>, _>>()?;
    let key = |row: &RouteRow| (row.of, row.pattern.clone());
    if others.len() >= ROUTES_MAX && !others.iter().any(|other| key(other) == key(&row)) {
        return Err(Refusal::Invalid(format!("there are {ROUTES_MAX} routes already")));
    }
    let same_login = |other: &&RouteRow| {
        (&other.host, other.port, &other.login) == (&row.host, row.port, &row.login)
    };
    if !row.login.is_empty() {
        let mut same = others.iter().filter(same_login);
        if row.password.is_empty() {
            let known = same.find(|other| !other.password.is_empty());
            let missing = || {
                let (login, host) = (&row.login, &row.host);
                Refusal::Invalid(format!("the password of {login} at {host} is not known yet"))
            };
            row.password = known.ok_or_else(missing)?.password.clone();
        } else {
            for other in same {
                let mut other = other.clone();
                other.password.clone_from(&row.password);
                tx.put(&other)?;
            }
        }
    }
    tx.put(&row)?;
    Ok(())
}

/// A pattern as it is kept.
fn parse(of: Of, pattern: &str) -> Result<String, Refusal> {
    if of == Of::Recipient && pattern == EVERYBODY {
        return Ok(pattern.to_owned());
    }
    let (dot, name) = match pattern.strip_prefix('.') {
        Some(name) => (".", name),
        None => ("", pattern),
    };
    let name = Domain::parse(name, Charset::Utf8).map_err(|e| {
        let all = if of == Of::Recipient { ", or \"*\" for everybody" } else { "" };
        Refusal::Invalid(format!(
            "{pattern:?} is no domain, nor one with a dot before it for all below it{all}: {e}"
        ))
    })?;
    Ok(format!("{dot}{}", name.as_str()))
}

fn words(of: Of, pattern: &str) -> String {
    match of {
        Of::Recipient => format!("route to {pattern}"),
        Of::Sender => format!("route of {pattern}"),
    }
}

fn checked_sources(sources: Vec<String>) -> Result<Vec<String>, Refusal> {
    if sources.len() > SOURCES_MAX {
        return Err(Refusal::Invalid(format!("a route has {SOURCES_MAX} sources at most")));
    }
    let check = |text: String| match text.parse::<Source>() {
        Ok(source) => Ok(source.to_string()),
        Err(_) => Err(Refusal::Invalid(format!(
            "{text:?} is no address to send from such as \"192.0.2.1\" or \
             \"192.0.2.1=out.example.org\""
        ))),
    };
    sources.into_iter().map(check).collect()
}

fn checked_login(login: Option<String>) -> Result<String, Refusal> {
    let Some(login) = login else { return Ok(String::new()) };
    let is_sound = !login.is_empty() && !login.chars().any(char::is_control);
    if is_sound && login.len() <= LOGIN_BYTES_MAX {
        return Ok(login);
    }
    Err(Refusal::Invalid(format!("a login has 1 to {LOGIN_BYTES_MAX} bytes that can be seen")))
}

fn checked_password(password: Option<Zeroizing<String>>, login: &str) -> Result<String, Refusal> {
    let Some(password) = password else { return Ok(String::new()) };
    // RFC 4616 2: NUL parts the login from the password.
    let is_sound = !password.is_empty() && !password.contains('\0');
    match is_sound && password.len() <= LOGIN_BYTES_MAX {
        _ if login.is_empty() => {
            Err(Refusal::Invalid("a password is that of a login; say which".to_owned()))
        }
        true => Ok(password.to_string()),
        false => Err(Refusal::Invalid(format!("a password has 1 to {LOGIN_BYTES_MAX} bytes"))),
    }
}
