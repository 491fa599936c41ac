//! `gracectl domain dns`: the records of a domain, and whether they are there.
//!
//! Not here: which they are, and how they are judged (the daemon's `domain_dns`).

use std::process::ExitCode;

use clap::Args;

use grace_ipc::client::Client;
use grace_ipc::domain_dns::{DnsImportance, DnsVerdict, DomainDnsRow};
use grace_ipc::message::{RequestBody, Rows};
use grace_ipc::role::Role;
use grace_ipc::text::Plain;

use crate::ask;
use crate::print::{self, Form};

/// Ends with 1 if a required record is missing or wrong.
#[derive(Debug, Args)]
pub(crate) struct Dns {
    /// The domain, such as example.org
    name: String,
    /// Print lines for a zone file, and ask nobody whether they are there
    #[arg(long)]
    zone: bool,
}

/// Does what the command says.
pub(crate) fn run(
    command: Dns,
    form: Form,
    connect: &dyn Fn(Role) -> Result<Client, String>,
) -> Result<ExitCode, String> {
    let Dns { name, zone } = command;
    let body = RequestBody::DomainDns { domain: name, check: !zone };
    let of = |part| if let Rows::DomainDns(rows) = part { Some(rows) } else { None };
    let rows = ask::rows(&mut connect(Role::Viewer)?, body, of)?;
    let printed = match form {
        Form::Json => print::json_line(&rows),
        Form::Text if zone => rows.iter().map(zone_lines).try_for_each(|text| print::line(&text)),
        Form::Text => lines(&rows).iter().try_for_each(|line| print::line(line)),
    };
    printed?;
    Ok(if rows.iter().any(is_fault) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn is_fault(row: &DomainDnsRow) -> bool {
    row.importance == DnsImportance::Required
        && matches!(row.verdict, DnsVerdict::Missing | DnsVerdict::Wrong)
}

/// What comes from the daemon is its own words; but a value may be long, and has lines.
fn zone_lines(row: &DomainDnsRow) -> String {
    let lines = row.zone_line();
    lines.lines().map(|line| Plain(line).to_string()).collect::<Vec<_>>().join("\n")
}

/// A table; below what is not found: what it should say, what is there, why it matters, what to do.
fn lines(rows: &[DomainDnsRow]) -> Vec<String> {
    let mut lines = Vec::new();
    for row in rows {
        let DomainDnsRow { purpose, importance, verdict, name, record_type, .. } = row;
        lines.push(format!(
            "{:<9}  {:<11}  {:<10}  {record_type:<5}  {}",
            verdict.name(),
            importance.name(),
            purpose.name(),
            Plain(name)
        ));
        let mut more = |what: &str, text: &str| {
            if !text.is_empty() {
                lines.push(format!("{:11}{what}: {}", "", Plain(text)));
            }
        };
        if *verdict == DnsVerdict::Found {
            more("note", &row.advice);
            continue;
        }
        row.value.lines().for_each(|line| more("publish", line));
        row.found.iter().for_each(|found| more("there is", found));
        more("why", &row.why);
        more(if *verdict == DnsVerdict::Unknown { "not known" } else { "do" }, &row.advice);
    }
    lines
}

#[cfg(test)]
mod tests {
    use grace_ipc::domain_dns::DnsPurpose;

    use super::*;

    fn row(verdict: DnsVerdict, advice: &str) -> DomainDnsRow {
        DomainDnsRow {
            purpose: DnsPurpose::Mx,
            record_type: "MX".to_owned(),
            name: "example.org".to_owned(),
            value: "10 mail.example.org.".to_owned(),
            ttl_s: 3_600,
            importance: DnsImportance::Required,
            why: "Mail comes by it".to_owned(),
            verdict,
            found: vec!["20 mx.exa\u{1b}mple.net.".to_owned()],
            advice: advice.to_owned(),
        }
    }

    #[test]
    fn what_is_not_found_says_what_to_do() {
        let rows = [
            row(DnsVerdict::Found, ""),
            row(DnsVerdict::Wrong, "publish it"),
            row(DnsVerdict::Unknown, "nobody answered"),
        ];
        let expected = [
            "found      required     MX          MX     example.org",
            "wrong      required     MX          MX     example.org",
            "           publish: 10 mail.example.org.",
            "           there is: 20 mx.exa\\u{1b}mple.net.",
            "           why: Mail comes by it",
            "           do: publish it",
            "unknown    required     MX          MX     example.org",
            "           publish: 10 mail.example.org.",
            "           there is: 20 mx.exa\\u{1b}mple.net.",
            "           why: Mail comes by it",
            "           not known: nobody answered",
        ];
        assert_eq!(lines(&rows), expected);
        assert_eq!(rows.each_ref().map(is_fault), [false, true, false]);
    }

    #[test]
    fn a_file_is_comments_in_a_zone() {
        let mut row = row(DnsVerdict::Unchecked, "");
        assert_eq!(zone_lines(&row), "example.org. 3600 IN MX 10 mail.example.org.");
        (row.record_type, row.value) = ("file".to_owned(), "a: b\nc: d\n".to_owned());
        assert_eq!(zone_lines(&row), "; a file at example.org:\n;   a: b\n;   c: d");
    }
}
