//! `gracectl queue`: outgoing mail that waits, and what is done about it.
//!
//! Not here: how tables and JSON look (`print`).

use std::fmt::Write as _;

use clap::{Args, Subcommand};

use grace_ipc::client::Client;
use grace_ipc::message::{Answer, RequestBody, Rows};
use grace_ipc::queue::{QueueChange, QueueFilter, QueueRow};
use grace_ipc::role::Role;
use grace_ipc::text::Plain;

use crate::ask;
use crate::print::{self, Form};

#[derive(Debug, Subcommand)]
pub(crate) enum Queue {
    /// List recipients that wait
    List {
        #[command(flatten)]
        which: Which,
        /// Most recipients to list
        #[arg(long, value_name = "N", default_value_t = 1_000)]
        most: u32,
    },
    /// Try now
    Retry(Chosen),
    /// Hold back until released
    Hold(Chosen),
    /// Let go what was held
    Release(Chosen),
    /// Send to another destination
    Reroute {
        /// A domain, or a server in brackets, with ":port" behind if it is another
        #[arg(long, value_name = "DESTINATION")]
        to: String,
        #[command(flatten)]
        chosen: Chosen,
    },
    /// Give up, and tell the sender
    Bounce(Chosen),
    /// Give up, and tell nobody
    Delete(Chosen),
}

/// Which recipients; what is given must fit.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Of the message with this number
    #[arg(value_name = "QUEUE-ID")]
    queue_id: Option<String>,
    /// From this sender; "" are notifications
    #[arg(long, value_name = "ADDRESS")]
    sender: Option<String>,
    /// To this recipient
    #[arg(long, value_name = "ADDRESS")]
    recipient: Option<String>,
    /// On their way to this destination
    #[arg(long, value_name = "DOMAIN")]
    destination: Option<String>,
}

/// Which recipients a change is made to: all only if that is said.
#[derive(Debug, Args)]
pub(crate) struct Chosen {
    #[command(flatten)]
    which: Which,
    /// All that wait
    #[arg(long, conflicts_with_all = ["queue_id", "sender", "recipient", "destination"])]
    all: bool,
}

/// Does what the command says.
pub(crate) fn run(
    command: Queue,
    form: Form,
    connect: &dyn Fn(Role) -> Result<Client, String>,
) -> Result<(), String> {
    let (chosen, change) = match command {
        Queue::List { which, most } => return list(connect(Role::Viewer)?, form, which, most),
        Queue::Retry(chosen) => (chosen, QueueChange::Retry),
        Queue::Hold(chosen) => (chosen, QueueChange::Hold),
        Queue::Release(chosen) => (chosen, QueueChange::Release),
        Queue::Reroute { to, chosen } => (chosen, QueueChange::Reroute { to }),
        Queue::Bounce(chosen) => (chosen, QueueChange::Bounce),
        Queue::Delete(chosen) => (chosen, QueueChange::Delete),
    };
    let filter = filter(chosen.which);
    if filter == QueueFilter::default() && !chosen.all {
        return Err("say which: a queue id, --sender, --recipient, --destination, or --all".into());
    }
    let done = change.done();
    let body = RequestBody::QueueChange { filter, change };
    let answer = connect(Role::Operator)?.request(body).map_err(|e| e.to_string())?.answer;
    let (recipients, underway) = match answer {
        Answer::QueueOrdered { recipients, underway } => (recipients, underway),
        // What an older daemon says.
        Answer::QueueChanged { recipients } => (recipients, 0),
        _ => return Err(ask::unfit()),
    };
    match form {
        Form::Json => print::json_line(&serde_json::json!({
            "change": done, "recipients": recipients, "underway": underway
        })),
        Form::Text => {
            let what = if recipients == 1 { "recipient" } else { "recipients" };
            let when = match underway {
                0 => String::new(),
                some => format!(", {some} of them when their attempt ends"),
            };
            print::line(&format!("{recipients} {what} {done}{when}"))
        }
    }
}

fn filter(which: Which) -> QueueFilter {
    let Which { queue_id, sender, recipient, destination } = which;
    QueueFilter { queue_id, sender, recipient, destination }
}

fn list(mut client: Client, form: Form, which: Which, rows_max: u32) -> Result<(), String> {
    let body = RequestBody::QueueList { filter: filter(which), rows_max };
    let rows =
        ask::rows(
            &mut client,
            body,
            |part| if let Rows::Queue(rows) = part { Some(rows) } else { None },
        )?;
    if form == Form::Json {
        return print::json_line(&rows);
    }
    let cells: Vec<_> = rows.iter().map(cells).collect();
    let head = ["ID", "SINCE", "FROM", "TO", "BYTES", "TRIED", "NEXT"];
    print::table(&head, &cells)?;
    for row in rows.iter().filter(|row| !row.reason.is_empty()) {
        let mut line = format!("{} to {}: ", Plain(&row.queue_id), Plain(&row.recipient));
        if !row.remote.is_empty() {
            let _ = write!(line, "{} said ", Plain(&row.remote));
        }
        let _ = write!(line, "{}", Plain(&row.reason));
        print::line(&line)?;
    }
    Ok(())
}

fn cells(row: &QueueRow) -> Vec<String> {
    let sender = if row.sender.is_empty() { "<>" } else { &row.sender };
    let next = if row.held { "held".to_owned() } else { print::time(row.next_us) };
    vec![
        Plain(&row.queue_id).to_string(),
        print::time(row.created_us),
        Plain(sender).to_string(),
        Plain(&row.recipient).to_string(),
        row.size.to_string(),
        row.attempts.to_string(),
        next,
    ]
}
