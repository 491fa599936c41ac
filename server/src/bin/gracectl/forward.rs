//! `gracectl account forward`: accounts whose mail goes on.

use clap::Subcommand;

use grace_ipc::client::Client;
use grace_ipc::message::{RequestBody, Rows};
use grace_ipc::role::Role;
use grace_ipc::text::Plain;

use crate::ask;
use crate::print::{self, Form};

#[derive(Debug, Subcommand)]
pub(crate) enum Forward {
    /// Show where mail goes on to, of one account or of all
    Show {
        /// The account's address
        account: Option<String>,
    },
    /// Let the mail of an account go on to others
    Set {
        /// The account's address
        account: String,
        /// Where to, here or elsewhere; these replace what was set before
        #[arg(required = true)]
        targets: Vec<String>,
        /// A copy stays in the account
        #[arg(long)]
        keep: bool,
    },
    /// Let the mail of an account stay in it
    Remove {
        /// The account's address
        account: String,
    },
}

/// Does what the command says.
pub(crate) fn run(
    command: Forward,
    form: Form,
    connect: &dyn Fn(Role) -> Result<Client, String>,
) -> Result<(), String> {
    let order = |body| connect(Role::Operator)?.order(body).map_err(|e| e.to_string());
    match command {
        Forward::Show { account } => show(connect(Role::Viewer)?, form, account),
        Forward::Set { account, targets, keep } => {
            order(RequestBody::ForwardSet { account: account.clone(), targets, keeps: keep })?;
            print::done(form, "forwarded", &account)
        }
        Forward::Remove { account } => {
            order(RequestBody::ForwardDelete { account: account.clone() })?;
            print::done(form, "not forwarded any more", &account)
        }
    }
}

fn show(mut client: Client, form: Form, account: Option<String>) -> Result<(), String> {
    let body = RequestBody::ForwardList { account };
    let rows = ask::rows(&mut client, body, |part| {
        if let Rows::Forwards(rows) = part { Some(rows) } else { None }
    })?;
    if form == Form::Json {
        return print::json_line(&rows);
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let copy = if row.keeps { "kept" } else { "-" };
            let targets = row.targets.join(" ");
            let [account, targets] = [&row.account, &targets].map(|text| Plain(text).to_string());
            vec![account, copy.to_owned(), targets]
        })
        .collect();
    print::table(&["ACCOUNT", "COPY", "GOES ON TO"], &cells)
}
