//! `gracectl account app-password`: passwords for single programs of an account.
//!
//! Invariant: a password is printed once, when it is made.

use clap::{Subcommand, ValueEnum};
use serde_json::json;

use grace_ipc::client::Client;
use grace_ipc::directory::AppScope;
use grace_ipc::message::{Answer, RequestBody, Rows};
use grace_ipc::role::Role;
use grace_ipc::text::Plain;

use crate::ask;
use crate::print::{self, Form};

#[derive(Debug, Subcommand)]
pub(crate) enum AppPassword {
    /// List an account's application passwords, and when they were used
    List {
        /// The account's address
        account: String,
    },
    /// Make one; it is shown this once
    Add {
        /// The account's address
        account: String,
        /// What to call it, such as phone
        name: String,
        /// What it is good for
        #[arg(long = "for", value_enum, default_value = "both")]
        scope: Scope,
    },
    /// Take one back; sessions it opened end
    Remove {
        /// The account's address
        account: String,
        /// What it is called
        name: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Scope {
    /// To send mail and to read it
    Both,
    /// To send mail
    Smtp,
    /// To read mail
    Imap,
}

/// Does what the command says.
pub(crate) fn run(
    command: AppPassword,
    form: Form,
    connect: &dyn Fn(Role) -> Result<Client, String>,
) -> Result<(), String> {
    match command {
        AppPassword::List { account } => list(connect(Role::Viewer)?, form, account),
        AppPassword::Add { account, name, scope } => {
            add(connect(Role::Operator)?, form, account, name, scope)
        }
        AppPassword::Remove { account, name } => {
            let body = RequestBody::AppPasswordDelete { account, name: name.clone() };
            connect(Role::Operator)?.order(body).map_err(|e| e.to_string())?;
            print::done(form, "removed", &name)
        }
    }
}

fn add(
    mut client: Client,
    form: Form,
    account: String,
    name: String,
    scope: Scope,
) -> Result<(), String> {
    let scope = match scope {
        Scope::Both => AppScope::Both,
        Scope::Smtp => AppScope::Smtp,
        Scope::Imap => AppScope::Imap,
    };
    let body = RequestBody::AppPasswordCreate { account, name, scope };
    let complete = client.request(body).map_err(|e| e.to_string())?;
    let Answer::AppPassword { password } = complete.answer else {
        return Err(ask::unfit());
    };
    match form {
        Form::Text => print::line(&password.0),
        Form::Json => print::json_line(&json!({ "password": password.0 })),
    }
}

fn list(mut client: Client, form: Form, account: String) -> Result<(), String> {
    let body = RequestBody::AppPasswordList { account };
    let rows = ask::rows(&mut client, body, |part| {
        if let Rows::AppPasswords(rows) = part { Some(rows) } else { None }
    })?;
    if form == Form::Json {
        return print::json_line(&rows);
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let used = match row.used_us {
                0 => "never".to_owned(),
                used_us => print::second(used_us),
            };
            vec![
                Plain(&row.name).to_string(),
                row.scope.name().to_owned(),
                print::second(row.created_us),
                used,
                Plain(&row.used_from).to_string(),
            ]
        })
        .collect();
    print::table(&["NAME", "FOR", "MADE", "USED", "FROM"], &cells)
}
