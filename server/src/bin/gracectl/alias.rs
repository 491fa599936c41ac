//! `gracectl alias`: addresses that stand for accounts, for other aliases and for people elsewhere.

use clap::Subcommand;

use grace_ipc::client::Client;
use grace_ipc::message::{RequestBody, Rows};
use grace_ipc::role::Role;
use grace_ipc::text::Plain;

use crate::ask;
use crate::print::{self, Form};
use crate::settings;

#[derive(Debug, Subcommand)]
pub(crate) enum Alias {
    /// List aliases, and whom they stand for
    List {
        /// Only those of this domain
        #[arg(long)]
        domain: Option<String>,
    },
    /// Have an address stand for others: another name, a group, somebody elsewhere
    Set {
        /// The address, such as sales@example.org; @example.org for whatever else comes
        address: String,
        /// Accounts, other aliases, addresses elsewhere; they replace those it stood for
        #[arg(required = true)]
        targets: Vec<String>,
    },
    /// Remove an alias
    Delete {
        /// Its address
        address: String,
    },
    /// Show what is set about an alias, and what can be
    Show {
        /// Its address
        address: String,
    },
    /// Set something about an alias, such as who may send to it
    Option {
        /// Its address
        address: String,
        /// The setting; `show` lists them
        key: String,
        /// What it is to be
        value: String,
    },
}

/// Does what the command says.
pub(crate) fn run(
    command: Alias,
    form: Form,
    connect: &dyn Fn(Role) -> Result<Client, String>,
) -> Result<(), String> {
    let order = |body| connect(Role::Operator)?.order(body).map_err(|e| e.to_string());
    match command {
        Alias::List { domain } => list(connect(Role::Viewer)?, form, domain),
        Alias::Set { address, targets } => {
            order(RequestBody::AliasTargetsSet { address: address.clone(), targets })?;
            print::done(form, "set", &address)
        }
        Alias::Delete { address } => {
            order(RequestBody::AliasDelete { address: address.clone() })?;
            print::done(form, "deleted", &address)
        }
        Alias::Show { address } => {
            settings::show(connect(Role::Viewer)?, form, RequestBody::AddressSettings { address })
        }
        Alias::Option { address, key, value } => {
            let what = format!("{key} of {address}");
            let body = RequestBody::AddressSet { address, key, value };
            settings::set(connect(Role::Operator)?, form, body, &what)
        }
    }
}

fn list(mut client: Client, form: Form, domain: Option<String>) -> Result<(), String> {
    let body = RequestBody::AliasTargetsList { domain };
    let rows = ask::rows(&mut client, body, |part| {
        if let Rows::AliasTargets(rows) = part { Some(rows) } else { None }
    })?;
    if form == Form::Json {
        return print::json_line(&rows);
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let targets = row.targets.join(" ");
            vec![Plain(&row.address).to_string(), Plain(&targets).to_string()]
        })
        .collect();
    print::table(&["ALIAS", "STANDS FOR"], &cells)
}
