//! The page that describes every setting, made from the settings themselves.
//!
//! Invariant: `docs/configuration.md` is exactly what [`page`] returns; a test holds it.

use std::fmt::Write as _;

use super::limits::{
    AUTHENTICITY, DNS, DOOR, LIMITS, QUEUE, QUOTA, SEARCH, STORE, Setting, TRANSPORT, Values,
};

/// What stands before the tables.
const HEAD: &str = "\
# Configuration

`graced` reads one TOML file: the one named by `--config`, else `/etc/grace/graced.toml`, else none
at all, and then it runs in try mode (data in `./grace-data`, ports 2525, 2587, 2465, 2143 and 2993
on loopback, the domain `grace.test`). `graced check` reads the file, says what is wrong with it and
ends. Unknown settings are errors. What changes while the server runs (domains, accounts) is not in
this file: use `gracectl` or the console.

| setting | default | what it is |
|---|---|---|
| `hostname` | the machine's own name | name the server greets with and writes into `Received` |
| `data` | `/var/lib/grace` | folder of everything the daemon keeps; made if it is not there |
| `listen.smtp` | `[\"0.0.0.0:25\", \"[::]:25\"]` | mail from other servers (RFC 5321) |
| `listen.submission` | port 587 likewise | mail from users, STARTTLS (RFC 6409) |
| `listen.submissions` | port 465 likewise | mail from users, TLS at once (RFC 8314) |
| `listen.imap` | port 143 likewise | mail to users, STARTTLS (RFC 9051) |
| `listen.imaps` | port 993 likewise | mail to users, TLS at once (RFC 8314) |
| `listen.proxy_networks` | none | proxies in front of us, each a network such as \
`192.0.2.0/24` or one address: their connections to the doors above must begin with a header of \
the PROXY protocol, version 2; the address in it is the peer's from then on |
| `listen.admin` | `/run/grace/admin.sock` | Unix socket or named pipe of the admin protocol |
| `admin.group` | none | system group whose members may use the socket as operators |
| `tls.certificate` | self-signed, made in `data` | PEM file: certificate chain, leaf first |
| `tls.key` | likewise | PEM file: private key; both are read again on SIGHUP |
| `tls.client_authorities` | none | PEM file: authorities whose client certificates \
people may log in with (EXTERNAL), by IMAP and submission; the account is the one of the mail \
address in the certificate (rfc822Name). It is read again on SIGHUP |

An empty list closes a door: `smtp = []`. A port of 0 takes a free one, which the log then names.
";

/// The whole page, Markdown.
#[must_use]
pub fn page() -> String {
    let mut page = String::from(HEAD);
    let sections = [
        ("limits", LIMITS),
        ("door", DOOR),
        ("quota", QUOTA),
        ("store", STORE),
        ("search", SEARCH),
        ("dns", DNS),
        ("authenticity", AUTHENTICITY),
        ("queue", QUEUE),
        ("transport", TRANSPORT),
    ];
    for (section, settings) in sections {
        let written = table(&mut page, section, settings);
        debug_assert!(written.is_ok(), "a String takes any text");
    }
    page
}

fn table(page: &mut String, section: &str, settings: &[Setting]) -> std::fmt::Result {
    writeln!(page, "\n## `[{section}]`\n")?;
    writeln!(page, "| setting | default | bounds | unit | what it is |\n|---|---|---|---|---|")?;
    for Setting { name, values, help } in settings {
        match values {
            Values::Number { default, min, max, unit } => {
                writeln!(page, "| `{name}` | {default} | {min}..={max} | {unit} | {help} |")?;
            }
            Values::Word { default, choices } => {
                let choices = choices.iter().map(|choice| format!("`{choice}`"));
                let choices = choices.collect::<Vec<_>>().join(", ");
                writeln!(page, "| `{name}` | `{default}` | {choices} | | {help} |")?;
            }
            Values::List { default, form } => {
                writeln!(page, "| `{name}` | `{default:?}` | each {form} | | {help} |")?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// `GRACE_BLESS=1 cargo test -p graced reference` writes the page anew.
    #[test]
    fn the_page_is_current() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
        if std::env::var_os("GRACE_BLESS").is_some() {
            fs::write(&file, page()).expect("the docs folder is writable");
        }
        let found = fs::read_to_string(&file).unwrap_or_default();
        assert!(found == page(), "docs/configuration.md is stale: GRACE_BLESS=1 writes it anew");
    }
}
