//! `gracectl dkim`: keys that sign mail, and the records to publish for them.
//!
//! What is printed for people can be pasted into a zone file: the records, and all else as
//! comments.
//! Not here: how a record is written (`grace_ipc::dkim`).

use clap::Subcommand;

use grace_ipc::client::Client;
use grace_ipc::dkim::{DkimPublished, DkimRow};
use grace_ipc::message::{RequestBody, Rows};
use grace_ipc::role::Role;
use grace_ipc::text::Plain;

use crate::ask;
use crate::print::{self, Form};

#[derive(Debug, Subcommand)]
pub(crate) enum Dkim {
    /// List keys, with their records and whether the DNS has them
    List {
        /// Only those of this domain
        domain: Option<String>,
    },
    /// Make keys for a domain, and show the records to publish
    Create {
        /// The domain, such as example.org
        domain: String,
    },
    /// Sign with the keys that wait, once their records are published; retire those in use
    Activate {
        /// The domain
        domain: String,
        /// Even if the DNS does not have the records
        #[arg(long)]
        force: bool,
    },
    /// Remove a key, for good
    Delete {
        /// The domain
        domain: String,
        /// The key's name there, such as g20261130r
        selector: String,
    },
}

/// Does what the command says.
pub(crate) fn run(
    command: Dkim,
    form: Form,
    connect: &dyn Fn(Role) -> Result<Client, String>,
) -> Result<(), String> {
    match command {
        Dkim::List { domain } => show(form, &list(&mut connect(Role::Viewer)?, domain)?),
        Dkim::Create { domain } => {
            let mut client = connect(Role::Owner)?;
            order(&mut client, RequestBody::DkimCreate { domain: domain.clone() })?;
            show(form, &list(&mut client, Some(domain))?)
        }
        Dkim::Activate { domain, force } => {
            let body = RequestBody::DkimActivate { domain: domain.clone(), force };
            order(&mut connect(Role::Owner)?, body)?;
            print::done(form, "activated", &format!("dkim keys of {domain}"))
        }
        Dkim::Delete { domain, selector } => {
            let what = format!("dkim {selector} of {domain}");
            order(&mut connect(Role::Owner)?, RequestBody::DkimDelete { domain, selector })?;
            print::done(form, "deleted", &what)
        }
    }
}

fn order(client: &mut Client, body: RequestBody) -> Result<(), String> {
    client.order(body).map_err(|e| e.to_string())
}

fn list(client: &mut Client, domain: Option<String>) -> Result<Vec<DkimRow>, String> {
    let body = RequestBody::DkimList { domain };
    ask::rows(client, body, |part| if let Rows::Dkim(rows) = part { Some(rows) } else { None })
}

fn show(form: Form, rows: &[DkimRow]) -> Result<(), String> {
    if form == Form::Json {
        return print::json_line(&rows);
    }
    for row in rows {
        print::line(&comment(row))?;
        print::line(&Plain(&row.zone_line()).to_string())?;
    }
    Ok(())
}

/// What is known of a key beside its record.
fn comment(row: &DkimRow) -> String {
    let mut line = format!(
        "; {}, {} since {}, record {}",
        row.algorithm.name(),
        row.state.name(),
        print::second(row.changed_us),
        row.published.name()
    );
    if row.published != DkimPublished::Found {
        line.push_str(&format!(": {}", Plain(&row.published_why)));
    }
    line
}

#[cfg(test)]
mod tests {
    use grace_ipc::dkim::{DkimAlgorithm, DkimState};

    use super::*;

    #[test]
    fn what_is_not_a_record_is_a_comment() {
        let row = DkimRow {
            domain: "example.org".to_owned(),
            selector: "s".to_owned(),
            algorithm: DkimAlgorithm::Ed25519,
            state: DkimState::Waiting,
            created_us: 0,
            changed_us: 1_790_000_000_000_000,
            record_name: "s._domainkey.example.org".to_owned(),
            record_text: "v=DKIM1; k=ed25519; p=AA==".to_owned(),
            published: DkimPublished::Missing,
            published_why: "there is\nnone".to_owned(),
        };
        let line = comment(&row);
        let expected = "; Ed25519, waiting since 2026-09-21 14:13:20, record missing: there is";
        assert!(line.starts_with(expected), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
}
