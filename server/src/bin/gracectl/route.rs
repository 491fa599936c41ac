//! `gracectl route`: the ways mail goes out that differ from the usual one.
//!
//! Not here: how tables and JSON look (`print`), tests of a delivery (`test`).

use clap::{Args, Subcommand, ValueEnum};

use grace_ipc::client::Client;
use grace_ipc::message::{RequestBody, Rows};
use grace_ipc::role::Role;
use grace_ipc::route::{RouteOf, RouteRow, RouteTls, RouteTo};
use grace_ipc::text::Plain;

use crate::ask;
use crate::password;
use crate::print::{self, Form};

/// Port of submission (RFC 6409), and of submission over TLS (RFC 8314).
const PORT: u16 = 587;
const PORT_TLS: u16 = 465;

#[derive(Debug, Subcommand)]
pub(crate) enum Route {
    /// List routes; passwords are not shown
    List,
    /// Set where mail goes, or what it is sent from
    Set(Set),
    /// Remove a route: its mail goes the usual way
    Remove {
        #[command(flatten)]
        whose: Whose,
    },
}

/// Whose mail it is.
#[derive(Debug, Args)]
pub(crate) struct Whose {
    /// Mail to a domain, to all below it (.example.org), or to everybody (*)
    #[arg(value_name = "PATTERN")]
    pattern: String,
    /// The pattern is about who sends it
    #[arg(long)]
    sender: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Set {
    #[command(flatten)]
    whose: Whose,
    /// Through this server, as name or name:port [default port: 587, with --tls at-once 465]
    #[arg(long, value_name = "SERVER")]
    smart_host: Option<String>,
    /// To the servers that the recipient's domain names: an exception from another route
    #[arg(long, conflicts_with_all = ["smart_host", "login", "tls"])]
    direct: bool,
    /// How the server is spoken to [default: starttls with a login, else opportunistic]
    #[arg(long, value_enum, requires = "smart_host")]
    tls: Option<Tls>,
    /// Log in there; the password comes from a file or standard input
    #[arg(long, value_name = "LOGIN", requires = "smart_host")]
    login: Option<String>,
    /// The password of the login that is known already stays
    #[arg(long, requires = "login", conflicts_with = "password_file")]
    keep_password: bool,
    #[command(flatten)]
    password: password::Source,
    /// Send from this address of this machine, with =NAME behind it to say NAME in EHLO; may be
    /// given again
    #[arg(long, value_name = "ADDRESS")]
    source: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tls {
    /// TLS where it is offered, whatever the certificate
    Opportunistic,
    /// STARTTLS and a certificate that fits, or nothing is sent
    Starttls,
    /// TLS from the first byte and a certificate that fits
    AtOnce,
}

/// Does what the command says.
pub(crate) fn run(
    command: Route,
    form: Form,
    connect: &dyn Fn(Role) -> Result<Client, String>,
) -> Result<(), String> {
    match command {
        Route::List => list(connect(Role::Viewer)?, form),
        Route::Set(set) => {
            let client = connect(Role::Owner)?;
            let what = words(of(&set.whose), &set.whose.pattern);
            let body = request(set)?;
            order(client, body)?;
            print::done(form, "set", &what)
        }
        Route::Remove { whose } => {
            let (of, pattern) = (of(&whose), whose.pattern);
            let what = words(of, &pattern);
            order(connect(Role::Owner)?, RequestBody::RouteRemove { of, pattern })?;
            print::done(form, "removed", &what)
        }
    }
}

fn order(mut client: Client, body: RequestBody) -> Result<(), String> {
    client.order(body).map_err(|e| e.to_string())
}

fn of(whose: &Whose) -> RouteOf {
    if whose.sender { RouteOf::Sender } else { RouteOf::Recipient }
}

fn words(of: RouteOf, pattern: &str) -> String {
    match of {
        RouteOf::Recipient => format!("route to {pattern}"),
        RouteOf::Sender => format!("route of {pattern}"),
    }
}

fn request(set: Set) -> Result<RequestBody, String> {
    let of = of(&set.whose);
    let Set { whose, smart_host, direct, tls, login, keep_password, password, source } = set;
    if smart_host.is_none() && !direct && source.is_empty() {
        return Err("say where mail goes (--smart-host, --direct) or --source".to_owned());
    }
    let usual = if login.is_some() { Tls::Starttls } else { Tls::Opportunistic };
    let tls = tls.unwrap_or(usual);
    let password = match &login {
        Some(login) if !keep_password => Some(password.read(login)?),
        _ => None,
    };
    let to = match smart_host {
        Some(server) => {
            let (host, port) = server_of(&server, tls)?;
            let tls = match tls {
                Tls::Opportunistic => RouteTls::Opportunistic,
                Tls::Starttls => RouteTls::StartTls,
                Tls::AtOnce => RouteTls::Immediate,
            };
            Some(RouteTo::SmartHost { host, port, tls, login })
        }
        None => direct.then_some(RouteTo::Direct),
    };
    Ok(RequestBody::RouteSet { of, pattern: whose.pattern, to, password, sources: source })
}

/// `name`, `name:port`, `192.0.2.1:port`, `[2001:db8::1]:port`.
fn server_of(text: &str, tls: Tls) -> Result<(String, u16), String> {
    let usual = if tls == Tls::AtOnce { PORT_TLS } else { PORT };
    let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, "")) => (name, None),
        Some((name, rest)) => (name, rest.strip_prefix(':').or(Some(rest))),
        None => match text.rsplit_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        None => usual,
        Some(port) => port.parse().map_err(|_| format!("{text:?} has no port after its colon"))?,
    };
    Ok((name.to_owned(), port))
}

fn list(mut client: Client, form: Form) -> Result<(), String> {
    let of = |part| if let Rows::Routes(rows) = part { Some(rows) } else { None };
    let rows = ask::rows(&mut client, RequestBody::RouteList, of)?;
    if form == Form::Json {
        return print::json_line(&rows);
    }
    let cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
    print::table(&["MAIL", "GOES", "TLS", "AS", "FROM"], &cells)
}

fn cells(row: &RouteRow) -> Vec<String> {
    let whose = match row.of {
        RouteOf::Recipient => format!("to {}", Plain(&row.pattern)),
        RouteOf::Sender => format!("of {}", Plain(&row.pattern)),
    };
    let none = || "-".to_owned();
    let (goes, tls, login) = match &row.to {
        None => (none(), none(), none()),
        Some(RouteTo::Direct) => ("direct".to_owned(), none(), none()),
        Some(RouteTo::SmartHost { host, port, tls, login }) => {
            let tls = match tls {
                RouteTls::Opportunistic => "opportunistic",
                RouteTls::StartTls => "starttls",
                RouteTls::Immediate => "at-once",
            };
            let login = login.as_ref().map_or_else(none, |login| Plain(login).to_string());
            (format!("{}:{port}", Plain(host)), tls.to_owned(), login)
        }
    };
    let from = if row.sources.is_empty() { none() } else { row.sources.join(" ") };
    vec![whose, goes, tls, login, Plain(&from).to_string()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read() {
        let read = |text, tls| server_of(text, tls).map(|(name, port)| format!("{name} {port}"));
        for (text, tls, expected) in [
            ("relay.test", Tls::Starttls, "relay.test 587"),
            ("relay.test", Tls::AtOnce, "relay.test 465"),
            ("relay.test:25", Tls::AtOnce, "relay.test 25"),
            ("192.0.2.1:26", Tls::Starttls, "192.0.2.1 26"),
            ("[2001:db8::1]:26", Tls::Starttls, "2001:db8::1 26"),
            ("[2001:db8::1]", Tls::Starttls, "2001:db8::1 587"),
        ] {
            assert_eq!(read(text, tls).as_deref(), Ok(expected));
        }
        for text in ["relay.test:", "relay.test:x", "[::1]x", "relay.test:70000"] {
            assert!(read(text, Tls::Starttls).is_err(), "{text}");
        }
    }
}
