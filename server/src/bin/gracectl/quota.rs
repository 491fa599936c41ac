//! `gracectl quota`: how much accounts and domains keep and may keep.

use clap::Subcommand;
use serde::Serialize;

use grace_ipc::client::Client;
use grace_ipc::message::{RequestBody, Rows};
use grace_ipc::role::Role;
use grace_ipc::share::{ANY_NUMBER, QuotaRow};
use grace_ipc::text::Plain;

use crate::print::{self, Form};
use crate::{ask, units};

#[derive(Debug, Subcommand)]
pub(crate) enum Quota {
    /// Show what is used and what may be, of one or of all; what holds by default is marked
    Show {
        /// An account's address, or @example.org for a domain as a whole
        of: Option<String>,
    },
    /// Set what an account, or a domain as a whole, may keep; what is there stays
    Set {
        /// An account's address, or @example.org for a domain as a whole
        of: String,
        /// Most bytes, such as 500M or 10G; none for any number, default for what the settings say
        #[arg(long, value_parser = bytes)]
        bytes: Option<u64>,
        /// Most messages; none or default likewise
        #[arg(long, value_parser = count)]
        messages: Option<u64>,
    },
}

/// Does what the command says.
pub(crate) fn run(
    command: Quota,
    form: Form,
    connect: &dyn Fn(Role) -> Result<Client, String>,
) -> Result<(), String> {
    match command {
        Quota::Show { of } => show(connect(Role::Viewer)?, form, of),
        Quota::Set { bytes: None, messages: None, .. } => {
            Err("say what may be kept: --bytes, --messages or both".to_owned())
        }
        Quota::Set { of, bytes, messages } => {
            let what = format!("quota of {of}");
            let body = RequestBody::QuotaSet { of, bytes_max: bytes, messages_max: messages };
            connect(Role::Operator)?.order(body).map_err(|e| e.to_string())?;
            print::done(form, "set", &what)
        }
    }
}

fn show(mut client: Client, form: Form, of: Option<String>) -> Result<(), String> {
    let rows = ask::rows(&mut client, RequestBody::QuotaList { of }, |part| {
        if let Rows::Quotas(rows) = part { Some(rows) } else { None }
    })?;
    let defaults = ask::rows(&mut client, RequestBody::QuotaDefaults, |part| {
        if let Rows::Quotas(rows) = part { Some(rows) } else { None }
    })?;
    let shown: Vec<Shown> = rows.into_iter().map(|row| Shown::of(row, &defaults)).collect();
    if form == Form::Json {
        return print::json_line(&shown);
    }
    let cells: Vec<Vec<String>> = shown.iter().map(cells).collect();
    print::table(&["OF", "BYTES", "OF AT MOST", "USED", "MESSAGES", "OF AT MOST"], &cells)
}

/// What is used, and the limits that hold; 0: none.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    row: QuotaRow,
    /// The limits are those that hold where nobody set any.
    bytes_default: bool,
    messages_default: bool,
}

impl Shown {
    fn of(row: QuotaRow, defaults: &[QuotaRow]) -> Self {
        let kind = if row.of.starts_with('@') { "@" } else { "" };
        let default = defaults.iter().find(|default| default.of == kind);
        let (bytes, messages) = default.map_or((0, 0), |d| (d.bytes_max, d.messages_max));
        let holds = |own: u64, default: u64| match own {
            0 => (default, true),
            ANY_NUMBER => (0, false),
            own => (own, false),
        };
        let (bytes_max, bytes_default) = holds(row.bytes_max, bytes);
        let (messages_max, messages_default) = holds(row.messages_max, messages);
        let row = QuotaRow { bytes_max, messages_max, ..row };
        Self { row, bytes_default, messages_default }
    }
}

fn cells(shown: &Shown) -> Vec<String> {
    let Shown { row, bytes_default, messages_default } = shown;
    let limit = |max: u64, is_default: bool, shown: fn(u64) -> String| match (max, is_default) {
        (0, _) => "-".to_owned(),
        (max, false) => shown(max),
        (max, true) => format!("{} (default)", shown(max)),
    };
    let used = match row.bytes_max {
        0 => "-".to_owned(),
        max => units::percent(row.bytes, max),
    };
    vec![
        Plain(&row.of).to_string(),
        units::bytes(row.bytes),
        limit(row.bytes_max, *bytes_default, units::bytes),
        used,
        units::count(row.messages),
        limit(row.messages_max, *messages_default, units::count),
    ]
}

/// `500M`, `10G`, plain bytes, `none` or `default`.
fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size such as 500M or 10G, and not none or default");
    let shift = match text.chars().last() {
        Some('K') => 10,
        Some('M') => 20,
        Some('G') => 30,
        Some('T') => 40,
        _ => return count(text),
    };
    let number = text.get(..text.len() - 1).and_then(|number| number.parse::<u64>().ok());
    number.filter(|number| *number > 0).and_then(|n| n.checked_mul(1 << shift)).ok_or_else(wrong)
}

/// A number, `none` or `default`.
fn count(text: &str) -> Result<u64, String> {
    match text {
        "none" => return Ok(ANY_NUMBER),
        "default" => return Ok(0),
        _ => {}
    }
    let number = text.parse::<u64>().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("{text:?} is no number from 1 on, and not none or default"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!(bytes("10G"), Ok(10 << 30));
        assert_eq!((bytes("1K"), bytes("7"), bytes("none")), (Ok(1_024), Ok(7), Ok(ANY_NUMBER)));
        assert_eq!(bytes("default"), Ok(0));
        for wrong in ["", "G", "0", "0M", "-1", "1.5G", "10g", "99999999999T", "ü"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
