//! `gracectl session`: sessions that are open, what is spoken there, and their end.
//!
//! Not here: how tables and JSON look (`print`), what is hidden of a session (the daemon).

use std::net::IpAddr;
use std::time::Duration;

use clap::{Args, Subcommand};

use grace_ipc::client::{Client, ClientError};
use grace_ipc::live::{SessionChoice, SessionFilter, SessionLine, SessionRow, SessionSide};
use grace_ipc::message::{Answer, Code, RequestBody, Rows};
use grace_ipc::role::Role;
use grace_ipc::text::Plain;

use crate::ask;
use crate::print::{self, Form};
use crate::units;

#[derive(Debug, Subcommand)]
pub(crate) enum Session {
    /// List sessions that are open; what is given must fit
    List {
        /// Of this account
        #[arg(long, value_name = "ADDRESS")]
        account: Option<String>,
        /// From this IP address
        #[arg(long, value_name = "IP")]
        from: Option<IpAddr>,
    },
    /// End one, and tell the other end so
    Disconnect {
        /// Its number, as `list` shows it
        id: u64,
    },
    /// Show what is spoken in one, as it is spoken, without its secrets
    Watch(Watch),
}

#[derive(Debug, Args)]
pub(crate) struct Watch {
    #[command(flatten)]
    which: Which,
    /// Show messages, too, and not only how long they are
    #[arg(long)]
    bodies: bool,
    /// End after so many lines [default: with the session]
    #[arg(long, short = 'n', value_name = "N")]
    count: Option<u64>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Its number, as `list` shows it
    id: Option<u64>,
    /// The next one from this IP address
    #[arg(long, value_name = "IP")]
    next_from: Option<IpAddr>,
    /// The next one in which this account logs in
    #[arg(long, value_name = "ADDRESS")]
    next_of: Option<String>,
}

/// Does what the command says.
pub(crate) fn run(
    command: Session,
    form: Form,
    connect: &dyn Fn(Role) -> Result<Client, String>,
) -> Result<(), String> {
    match command {
        Session::List { account, from } => {
            list(connect(Role::Viewer)?, form, SessionFilter { account, peer: from })
        }
        Session::Disconnect { id } => {
            let body = RequestBody::SessionDisconnect { session: id };
            connect(Role::Operator)?.order(body).map_err(|e| e.to_string())?;
            print::done(form, "disconnected", &id.to_string())
        }
        Session::Watch(watch) => follow(connect(Role::Owner)?, form, watch),
    }
}

fn list(mut client: Client, form: Form, filter: SessionFilter) -> Result<(), String> {
    let of = |part| if let Rows::Sessions(rows) = part { Some(rows) } else { None };
    let rows = ask::rows(&mut client, RequestBody::SessionList { filter }, of)?;
    if form == Form::Json {
        return print::json_line(&rows);
    }
    let newest_us = rows.iter().map(|row| row.heard_us).max().unwrap_or(0);
    let cells: Vec<_> = rows.iter().map(|row| cells(row, newest_us)).collect();
    let head = [
        "ID", "DOOR", "FROM", "TLS", "ACCOUNT", "CLIENT", "MAILBOX", "COMMAND", "IN", "OUT",
        "SINCE", "SILENT",
    ];
    print::table(&head, &cells)
}

/// `newest_us`: when any of them was last heard, from which silence is counted.
fn cells(row: &SessionRow, newest_us: u64) -> Vec<String> {
    let said = |text: &str| if text.is_empty() { "-".to_owned() } else { Plain(text).to_string() };
    let tls = row.tls.split(' ').next().unwrap_or_default();
    let silent = Duration::from_micros(newest_us.saturating_sub(row.heard_us));
    vec![
        row.id.to_string(),
        row.service.name().to_owned(),
        row.peer.to_string(),
        said(tls),
        said(&row.account),
        said(&row.client),
        said(&row.mailbox),
        said(&row.command),
        row.bytes_in.to_string(),
        row.bytes_out.to_string(),
        print::second(row.began_us),
        units::span(silent),
    ]
}

fn follow(mut client: Client, form: Form, watch: Watch) -> Result<(), String> {
    let Watch { which: Which { id, next_from, next_of }, bodies, count } = watch;
    let which = match (id, next_from, next_of) {
        (Some(id), ..) => SessionChoice::Session(id),
        (_, Some(address), _) => SessionChoice::NextFrom(address),
        (.., Some(account)) => SessionChoice::NextOf(account),
        _ => return Err("say which: a number, --next-from, or --next-of".to_owned()),
    };
    let (mut left, mut shown) = (count.unwrap_or(u64::MAX), Ok(()));
    let done = client.work(RequestBody::SessionTranscript { which, bodies }, &mut |rows| {
        // How many there were so far, the lines themselves show.
        let Rows::SessionLines(lines) = rows else { return true };
        for line in lines {
            if left > 0 && shown.is_ok() {
                left -= 1;
                shown = show(form, &line);
            }
        }
        left > 0 && shown.is_ok()
    });
    shown?;
    match done {
        Ok(Answer::SessionEnded { .. }) => Ok(()),
        // As many lines as were asked for.
        Err(ClientError::Failed(failure)) if failure.code == Code::Cancelled => Ok(()),
        Ok(_) => Err(ask::unfit()),
        Err(e) => Err(e.to_string()),
    }
}

fn show(form: Form, line: &SessionLine) -> Result<(), String> {
    if form == Form::Json {
        return print::json_line(line);
    }
    if line.lost > 0 {
        let lost = units::some(line.lost, "line is", "lines are");
        print::line(&format!("… {lost} missing here: this reader was too slow"))?;
    }
    let side = match line.side {
        SessionSide::Client => "C:",
        SessionSide::Server => "S:",
        SessionSide::Note => "--",
    };
    print::line(&format!("{} {side} {}", print::time(line.at_us), Plain(&line.text)))
}
