//! `gracectl acl`: who may do what with a mailbox.

use clap::Subcommand;

use grace_ipc::client::Client;
use grace_ipc::message::{RequestBody, Rows};
use grace_ipc::role::Role;
use grace_ipc::text::Plain;

use crate::ask;
use crate::print::{self, Form};

/// What the letters mean.
pub(crate) const LETTERS: &str = "Rights (RFC 4314): l look up, r read, s keep seen, w set flags, \
    i put in, p post, k make mailboxes below, x remove the mailbox, t mark deleted, e expunge, \
    a administer";

#[derive(Debug, Subcommand)]
pub(crate) enum Acl {
    /// List who has rights: on one mailbox, or on all of an owner that are shared
    List {
        /// An account's address, or @example.org for the public mailboxes of a domain
        owner: String,
        /// Only this mailbox
        mailbox: Option<String>,
    },
    /// Change what somebody may do with a mailbox
    #[command(after_help = LETTERS)]
    Set {
        /// An account's address, or @example.org for the public mailboxes of a domain
        owner: String,
        /// The mailbox
        mailbox: String,
        /// An account's address, anyone of the domain, or $staff@example.org: a group, which is
        /// who an alias stands for; -ann@example.org: what is taken from her
        #[arg(allow_hyphen_values = true)]
        who: String,
        /// Letters such as lrs; +w or -w to change some; none to take all away
        #[arg(allow_hyphen_values = true)]
        rights: String,
    },
}

/// Does what the command says.
pub(crate) fn run(
    command: Acl,
    form: Form,
    connect: &dyn Fn(Role) -> Result<Client, String>,
) -> Result<(), String> {
    match command {
        Acl::List { owner, mailbox } => list(connect(Role::Viewer)?, form, owner, mailbox),
        Acl::Set { owner, mailbox, who, rights } => {
            let what = format!("rights of {who} on {mailbox} of {owner}");
            let rights = if rights == "none" { String::new() } else { rights };
            let body = RequestBody::RightsSet { owner, mailbox, who, rights };
            connect(Role::Operator)?.order(body).map_err(|e| e.to_string())?;
            print::done(form, "set", &what)
        }
    }
}

fn list(
    mut client: Client,
    form: Form,
    owner: String,
    mailbox: Option<String>,
) -> Result<(), String> {
    let rows = ask::rows(&mut client, RequestBody::RightsList { owner, mailbox }, |part| {
        if let Rows::Rights(rows) = part { Some(rows) } else { None }
    })?;
    if form == Form::Json {
        return print::json_line(&rows);
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| [&row.mailbox, &row.who, &row.rights].map(|cell| Plain(cell).to_string()).into())
        .collect();
    print::table(&["MAILBOX", "WHO", "RIGHTS"], &cells)
}
