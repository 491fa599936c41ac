//! `gracectl`: the admin protocol for command lines and scripts.
//!
//! Everything it can do to a running daemon is a message of the protocol, so it can do nothing that
//! the console or a program of yours could not. Only a database that no daemon has open it works on
//! itself ([`db`]). Exit codes: 0 done, 1 refused, failed (reason on standard error) or, by a
//! check, found not to be sound, 2 wrong usage. Passwords come from a file or standard input, never
//! from the command line, where every user of the machine could read them.
//! Not here: how answers are printed ([`mod@print`]), how the daemon is found ([`find`]).

mod acl;
mod alias;
mod app_password;
mod ask;
mod db;
mod dkim;
mod domain_dns;
mod find;
mod forward;
mod mailbox;
mod password;
mod print;
mod public;
mod queue;
mod quota;
mod route;
mod session;
mod settings;
mod test;
mod trace;
mod units;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use grace_ipc::client::Client;
use grace_ipc::message::RequestBody;
use grace_ipc::role::Role;

use crate::print::Form;

/// Administers a running graced, and the database of one that is stopped.
#[derive(Debug, Parser)]
#[command(name = "gracectl", version, about)]
struct Arguments {
    /// Admin socket [default: ./grace-data/admin.sock, then /run/grace/admin.sock]
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Print JSON: one document, or one object a line for events
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Domains whose mail is kept here
    #[command(subcommand)]
    Domain(Domain),
    /// Accounts: people and places with a mailbox
    #[command(subcommand)]
    Account(Account),
    /// Outgoing mail that waits
    #[command(subcommand)]
    Queue(queue::Queue),
    /// Ways mail goes out: smart hosts, addresses to send from
    #[command(subcommand)]
    Route(route::Route),
    /// Try things without doing them
    #[command(subcommand)]
    Test(test::Test),
    /// Keys that sign mail, and the records to publish for them
    #[command(subcommand)]
    Dkim(dkim::Dkim),
    /// Addresses that stand for others: other names, groups, people elsewhere, the rest of a domain
    #[command(subcommand)]
    Alias(alias::Alias),
    /// Mailboxes of a domain that are nobody's own
    #[command(subcommand)]
    Public(public::Public),
    /// Who may do what with a mailbox
    #[command(subcommand)]
    Acl(acl::Acl),
    /// How much accounts and domains keep and may keep
    #[command(subcommand)]
    Quota(quota::Quota),
    /// Messages of the past: which there were, and what became of one
    #[command(subcommand)]
    Trace(trace::Trace),
    /// Sessions that are open
    #[command(subcommand)]
    Session(session::Session),
    /// The mailboxes of an account
    #[command(subcommand)]
    Mailbox(mailbox::Mailbox),
    /// What happens, as it happens
    Events(watch::Events),
    /// Counters
    Stats,
    /// The daemon: version, doors, data folder
    Info,
    /// The database: figures, checks, backups, repair
    #[command(subcommand, after_help = db::WHO)]
    Db(db::Db),
}

#[derive(Debug, Subcommand)]
enum Domain {
    /// List all domains
    List,
    /// Make a domain
    Create {
        /// Its name, such as example.org
        name: String,
    },
    /// Remove a domain that has no accounts
    Delete {
        /// Its name
        name: String,
    },
    /// Show what is set about a domain, and what can be
    Show {
        /// Its name
        name: String,
    },
    /// Set something about a domain
    Set {
        /// Its name
        name: String,
        /// The setting; `show` lists them
        key: String,
        /// What it is to be
        value: String,
    },
    /// The records to publish in the DNS, and whether they are there
    Dns(domain_dns::Dns),
}

#[derive(Debug, Subcommand)]
enum Account {
    /// List accounts
    List {
        /// Only those of this domain
        #[arg(long)]
        domain: Option<String>,
    },
    /// Make an account; its password comes from standard input or a file
    Create {
        /// Its address, such as info@example.org
        address: String,
        #[command(flatten)]
        password: password::Source,
    },
    /// Remove an account and all its mail, for good
    Delete {
        /// Its address
        address: String,
    },
    /// Give an account a new password, from standard input or a file
    Password {
        /// Its address
        address: String,
        #[command(flatten)]
        password: password::Source,
    },
    /// Passwords for single programs
    #[command(subcommand)]
    AppPassword(app_password::AppPassword),
    /// Show what is set about an account, and what can be
    Show {
        /// Its address
        address: String,
    },
    /// Set something about an account
    Set {
        /// Its address
        address: String,
        /// The setting; `show` lists them
        key: String,
        /// What it is to be
        value: String,
    },
    /// Where an account's mail goes on to
    #[command(subcommand)]
    Forward(forward::Forward),
}

fn main() -> ExitCode {
    // clap ends with 2 on wrong usage, as the exit codes promise.
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(code) => code,
        Err(why) => {
            complain(&why);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "standard error is where a program says why it failed")]
fn complain(why: &str) {
    eprintln!("gracectl: {why}");
}

/// Does what the command says; an error is the sentence to print.
fn run(arguments: Arguments) -> Result<ExitCode, String> {
    let Arguments { socket, json, command } = arguments;
    let form = if json { Form::Json } else { Form::Text };
    // The least role that will do: a mistake in a script that only looks cannot break anything.
    let connect = |role| find::connect(socket.as_deref(), role);
    let done = match command {
        Command::Db(command) => return db::run(command, form, &connect),
        Command::Test(command) => return test::run(command, form, &connect),
        Command::Domain(command) => return domain(command, form, &connect),
        Command::Account(command) => account(command, form, &connect),
        Command::Queue(command) => queue::run(command, form, &connect),
        Command::Route(command) => route::run(command, form, &connect),
        Command::Trace(command) => trace::run(command, form, &connect),
        Command::Alias(command) => alias::run(command, form, &connect),
        Command::Public(command) => public::run(command, form, &connect),
        Command::Acl(command) => acl::run(command, form, &connect),
        Command::Quota(command) => quota::run(command, form, &connect),
        Command::Dkim(command) => dkim::run(command, form, &connect),
        Command::Session(command) => session::run(command, form, &connect),
        Command::Mailbox(command) => mailbox::run(command, form, &connect),
        Command::Events(events) => watch::events(connect(Role::Viewer)?, form, &events),
        Command::Stats => {
            let stats = connect(Role::Viewer)?.stats().map_err(|e| e.to_string())?;
            print::stats(form, &stats)
        }
        Command::Info => {
            let info = connect(Role::Viewer)?.server_info().map_err(|e| e.to_string())?;
            print::info(form, &info)
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}

fn domain(
    command: Domain,
    form: Form,
    connect: &dyn Fn(Role) -> Result<Client, String>,
) -> Result<ExitCode, String> {
    let done = match command {
        // Its exit code says more than yes or no.
        Domain::Dns(dns) => return domain_dns::run(dns, form, connect),
        Domain::List => {
            let rows = connect(Role::Viewer)?.domains().map_err(|e| e.to_string())?;
            print::domains(form, &rows)
        }
        Domain::Create { name } => {
            let body = RequestBody::DomainCreate { name: name.clone() };
            order(connect(Role::Owner)?, body)?;
            print::done(form, "created", &name)
        }
        Domain::Delete { name } => {
            let body = RequestBody::DomainDelete { name: name.clone() };
            order(connect(Role::Owner)?, body)?;
            print::done(form, "deleted", &name)
        }
        Domain::Show { name } => {
            settings::show(connect(Role::Viewer)?, form, RequestBody::DomainSettings { name })
        }
        Domain::Set { name, key, value } => {
            let what = format!("{key} of {name}");
            let body = RequestBody::DomainSet { name, key, value };
            settings::set(connect(Role::Operator)?, form, body, &what)
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}

fn account(
    command: Account,
    form: Form,
    connect: &dyn Fn(Role) -> Result<Client, String>,
) -> Result<(), String> {
    match command {
        Account::List { domain } => {
            let rows = connect(Role::Viewer)?.accounts(domain.as_deref());
            print::accounts(form, &rows.map_err(|e| e.to_string())?)
        }
        Account::Create { address, password } => {
            // Connected first: nobody types a password for a daemon that is not there.
            let client = connect(Role::Operator)?;
            let password = password.read(&address)?;
            order(client, RequestBody::AccountCreate { address: address.clone(), password })?;
            print::done(form, "created", &address)
        }
        Account::Delete { address } => {
            let body = RequestBody::AccountDelete { address: address.clone() };
            order(connect(Role::Owner)?, body)?;
            print::done(form, "deleted", &address)
        }
        Account::Password { address, password } => {
            let client = connect(Role::Operator)?;
            let password = password.read(&address)?;
            order(client, RequestBody::AccountSetPassword { address: address.clone(), password })?;
            print::done(form, "password changed", &address)
        }
        Account::AppPassword(command) => app_password::run(command, form, connect),
        Account::Forward(command) => forward::run(command, form, connect),
        Account::Show { address } => {
            settings::show(connect(Role::Viewer)?, form, RequestBody::AddressSettings { address })
        }
        Account::Set { address, key, value } => {
            let what = format!("{key} of {address}");
            let body = RequestBody::AddressSet { address, key, value };
            settings::set(connect(Role::Operator)?, form, body, &what)
        }
    }
}

fn order(mut client: Client, body: RequestBody) -> Result<(), String> {
    client.order(body).map_err(|e| e.to_string())
}
