//! `gracectl events`: what happened and what happens.

use clap::{Args, ValueEnum};

use grace_ipc::client::Client;
use grace_ipc::event::{Event, Topic, TraceId};
use grace_ipc::message::{EventFilter, PushBody, RequestBody};

use crate::print::{self, Form};

/// Events shown from the past where nothing else is said: a screen full.
const BACKLOG_DEFAULT: u32 = 20;

/// Without --follow and --count: prints events of the past and ends.
#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Go on until interrupted
    #[arg(long, short)]
    follow: bool,
    /// End after so many events, past ones and new ones
    #[arg(long, short = 'n', value_name = "N")]
    count: Option<u64>,
    /// Begin with so many events of the past [default: 20; with --count: 0]
    #[arg(long, value_name = "N")]
    backlog: Option<u32>,
    /// Only events with a greater number
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    after: u64,
    /// Only events about this; can be given several times
    #[arg(long, value_enum)]
    topic: Vec<About>,
    /// Only what belongs to this connection or message
    #[arg(long, value_name = "NUMBER")]
    trace: Option<u64>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum About {
    Server,
    Connection,
    Login,
    Message,
    Mailbox,
    Directory,
    Store,
}

impl About {
    fn topic(self) -> Topic {
        match self {
            Self::Server => Topic::Server,
            Self::Connection => Topic::Connection,
            Self::Login => Topic::Login,
            Self::Message => Topic::Message,
            Self::Mailbox => Topic::Mailbox,
            Self::Directory => Topic::Directory,
            Self::Store => Topic::Store,
        }
    }
}

/// Prints events until the count is reached, the past is over, or the daemon ends.
pub(crate) fn events(mut client: Client, form: Form, wanted: &Events) -> Result<(), String> {
    let waits = wanted.follow || wanted.count.is_some();
    let backlog_default = if wanted.count.is_some() { 0 } else { BACKLOG_DEFAULT };
    let filter = EventFilter {
        topics: wanted.topic.iter().map(|about| about.topic()).collect(),
        trace: wanted.trace.map(TraceId),
    };
    let backlog = wanted.backlog.unwrap_or(backlog_default);
    client.subscribe_events(filter, backlog, wanted.after).map_err(|e| e.to_string())?;
    let mut left = wanted.count.unwrap_or(u64::MAX);
    if !waits {
        // The past comes before the answer to anything that is asked later.
        client.order(RequestBody::Ping).map_err(|e| e.to_string())?;
    }
    while left > 0 {
        let push = if waits {
            // Who follows wants to know why it is over.
            client.next_push(None).map_err(|e| e.to_string())?
        } else {
            let Some(push) = client.kept_push() else { break };
            push
        };
        let PushBody::Events { lost, events } = push.body else { continue };
        if lost > 0 {
            print::lost(form, lost)?;
        }
        left = show(form, &events, left)?;
    }
    Ok(())
}

fn show(form: Form, events: &[Event], left: u64) -> Result<u64, String> {
    let mut left = left;
    for event in events {
        if left == 0 {
            break;
        }
        print::event(form, event)?;
        left -= 1;
    }
    Ok(left)
}
