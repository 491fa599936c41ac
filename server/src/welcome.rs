//! The first start in try mode: a domain, two accounts, and what to type next.
//!
//! Invariant: the passwords are shown once, on standard output, and kept nowhere but as hashes.

use std::io::{self, Write};

use zeroize::Zeroizing;

use grace_ipc::event::Service;

use crate::config::{Config, TRY_DOMAIN};
use crate::directory::password;
use crate::services::Services;

/// Local parts of the accounts that try mode starts with. Every domain needs a postmaster
/// (RFC 5321 4.5.1); the other one is to write to.
const ACCOUNTS: [&str; 2] = ["postmaster", "hello"];

/// Who is named in the events of this.
const BY: &str = "first start";

/// In try mode, with nobody living here yet, makes the domain and the accounts and shows them.
///
/// # Errors
/// The store or standard output failed.
pub async fn first_start(services: &Services) -> Result<(), String> {
    let fail = |e: &dyn std::fmt::Display| format!("the first accounts could not be made: {e}");
    if !services.config.try_mode {
        return Ok(());
    }
    let directory = &services.directory;
    if !directory.accounts().map_err(|e| fail(&e))?.is_empty() {
        return Ok(());
    }
    if directory.domains().map_err(|e| fail(&e))?.is_empty() {
        directory.create_domain(TRY_DOMAIN, BY).await.map_err(|e| fail(&e))?;
    }
    let mut shown = Vec::new();
    for local in ACCOUNTS {
        let address = format!("{local}@{TRY_DOMAIN}");
        let password = password::random().map_err(|e| fail(&e))?;
        let made = directory.create_account(&address, password.clone(), BY).await;
        made.map_err(|e| fail(&e))?;
        shown.push((address, password));
    }
    show(&services.config, &shown).map_err(|e| fail(&e))
}

/// Writes the accounts and the next steps.
fn show(config: &Config, accounts: &[(String, Zeroizing<String>)]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "\nGrace runs in try mode: no configuration was found, so it listens on loopback"
    )?;
    writeln!(out, "only, keeps its data in {}, and made these accounts", config.data.display())?;
    writeln!(out, "(their passwords are shown this once):\n")?;
    for (address, password) in accounts {
        writeln!(out, "    {address:<24} {}", password.as_str())?;
    }
    let port = |wanted| {
        let door = config.listen.iter().find(|door| door.service == wanted);
        door.map_or(0, |door| door.address.port())
    };
    let (smtp, imap) = (port(Service::Smtp), port(Service::Imaps));
    let hello = format!("hello@{TRY_DOMAIN}");
    writeln!(out, "\nSend a message and read it:\n")?;
    writeln!(
        out,
        "    printf 'Subject: First light\\r\\n\\r\\nIt works.\\r\\n' | curl --upload-file - \\\n        \
         --mail-from you@example.org --mail-rcpt {hello} smtp://127.0.0.1:{smtp}"
    )?;
    writeln!(
        out,
        "    curl --insecure --user {hello} 'imaps://127.0.0.1:{imap}/INBOX;MAILINDEX=1'"
    )?;
    writeln!(out, "\nWatch what happens, and look around:\n")?;
    writeln!(out, "    cargo run --release --bin gracectl -- events --follow")?;
    writeln!(out, "    cargo run --release -p grace-console\n")?;
    out.flush()
}
