//! `gracectl mailbox`: the mailboxes of an account.
//!
//! Not here: how tables and JSON look (`print`).

use clap::Subcommand;

use grace_ipc::client::Client;
use grace_ipc::live::MailboxRow;
use grace_ipc::message::{RequestBody, Rows};
use grace_ipc::role::Role;
use grace_ipc::text::Plain;

use crate::ask;
use crate::print::{self, Form};

#[derive(Debug, Subcommand)]
pub(crate) enum Mailbox {
    /// List the mailboxes of an account
    List {
        /// Its address
        account: String,
    },
}

/// Does what the command says.
pub(crate) fn run(
    command: Mailbox,
    form: Form,
    connect: &dyn Fn(Role) -> Result<Client, String>,
) -> Result<(), String> {
    let Mailbox::List { account } = command;
    let of = |part| if let Rows::Mailboxes(rows) = part { Some(rows) } else { None };
    let rows = ask::rows(&mut connect(Role::Viewer)?, RequestBody::MailboxList { account }, of)?;
    if form == Form::Json {
        return print::json_line(&rows);
    }
    let cells: Vec<_> = rows.iter().map(cells).collect();
    print::table(&["MAILBOX", "MESSAGES", "UNSEEN", "BYTES"], &cells)
}

fn cells(row: &MailboxRow) -> Vec<String> {
    vec![
        Plain(&row.name).to_string(),
        row.messages.to_string(),
        row.unseen.to_string(),
        row.stored_bytes.to_string(),
    ]
}
