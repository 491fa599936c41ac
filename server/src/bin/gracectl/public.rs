//! `gracectl public`: mailboxes of a domain that are nobody's own.

use clap::Subcommand;

use grace_ipc::client::Client;
use grace_ipc::message::{RequestBody, Rows};
use grace_ipc::role::Role;
use grace_ipc::text::Plain;

use crate::print::{self, Form};
use crate::{acl, ask, units};

#[derive(Debug, Subcommand)]
pub(crate) enum Public {
    /// List public mailboxes
    List {
        /// Only those of this domain
        domain: Option<String>,
    },
    /// Make a public mailbox; `acl set @DOMAIN NAME` gives single people more rights on it
    #[command(after_help = acl::LETTERS)]
    Create {
        /// The domain whose people see it
        domain: String,
        /// Its name, below Public/
        name: String,
        /// What anyone of the domain may do with it; none: nothing
        #[arg(long, default_value = "lr")]
        rights: String,
    },
    /// Remove a public mailbox with all that is in it, for good
    Delete {
        /// Its domain
        domain: String,
        /// Its name
        name: String,
    },
    /// Rename a public mailbox, and those below it
    Rename {
        /// Its domain
        domain: String,
        /// Its name
        name: String,
        /// Its new name
        to: String,
    },
}

/// Does what the command says.
pub(crate) fn run(
    command: Public,
    form: Form,
    connect: &dyn Fn(Role) -> Result<Client, String>,
) -> Result<(), String> {
    let order = |role, body| connect(role)?.order(body).map_err(|e| e.to_string());
    match command {
        Public::List { domain } => list(connect(Role::Viewer)?, form, domain),
        Public::Create { domain, name, rights } => {
            let what = format!("{name} of {domain}");
            let rights = if rights == "none" { String::new() } else { rights };
            order(Role::Operator, RequestBody::PublicCreate { domain, name, rights })?;
            print::done(form, "created", &what)
        }
        Public::Delete { domain, name } => {
            let what = format!("{name} of {domain}");
            order(Role::Owner, RequestBody::PublicDelete { domain, name })?;
            print::done(form, "deleted", &what)
        }
        Public::Rename { domain, name, to } => {
            let what = format!("{name} of {domain}");
            order(Role::Operator, RequestBody::PublicRename { domain, name, to })?;
            print::done(form, "renamed", &what)
        }
    }
}

fn list(mut client: Client, form: Form, domain: Option<String>) -> Result<(), String> {
    let rows = ask::rows(&mut client, RequestBody::PublicList { domain }, |part| {
        if let Rows::Public(rows) = part { Some(rows) } else { None }
    })?;
    if form == Form::Json {
        return print::json_line(&rows);
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let [domain, name] = [&row.domain, &row.name].map(|text| Plain(text).to_string());
            let messages = units::count(u64::from(row.messages));
            vec![domain, name, messages, units::bytes(row.stored_bytes)]
        })
        .collect();
    print::table(&["DOMAIN", "MAILBOX", "MESSAGES", "BYTES"], &cells)
}
