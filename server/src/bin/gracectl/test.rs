//! `gracectl test`: tries things without doing them.
//!
//! Exit codes: 0 a message would be taken, 1 it would not.
//! Not here: how tables and JSON look (`print`).

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;

use grace_ipc::client::Client;
use grace_ipc::message::{Answer, RequestBody, Rows};
use grace_ipc::role::Role;
use grace_ipc::route::{DeliveryStep, DeliveryVerdict, StepResult};
use grace_ipc::text::Plain;
use serde_json::json;

use crate::ask;
use crate::print::{self, Form};
use crate::units;

#[derive(Debug, Subcommand)]
pub(crate) enum Test {
    /// Go the way of a message to somebody up to RCPT, and tell each step; nothing is sent
    Delivery {
        /// Whom to reach, such as someone@example.org
        to: String,
        /// From whom [default: nobody, as notifications are]
        #[arg(long, value_name = "ADDRESS")]
        from: Option<String>,
    },
}

/// Does what the command says.
pub(crate) fn run(
    command: Test,
    form: Form,
    connect: &dyn Fn(Role) -> Result<Client, String>,
) -> Result<ExitCode, String> {
    let Test::Delivery { to, from } = command;
    let mut client = connect(Role::Operator)?;
    let (mut steps, mut shown) = (Vec::new(), Ok(()));
    let body = RequestBody::DeliveryTest { to, from };
    let done = client.work(body, &mut |rows| {
        // How far it is, the steps themselves say.
        let Rows::DeliverySteps(rows) = rows else { return true };
        for step in rows {
            match form {
                Form::Text if shown.is_ok() => shown = print::line(&line(&step)),
                Form::Text => {}
                Form::Json => steps.push(step),
            }
        }
        shown.is_ok()
    });
    shown?;
    let Answer::DeliveryTested { verdict, text } = done.map_err(|e| e.to_string())? else {
        return Err(ask::unfit());
    };
    match form {
        Form::Text => print::line(&format!("{}: {}", name(verdict), Plain(&text)))?,
        Form::Json => {
            print::json_line(&json!({ "verdict": verdict, "text": text, "steps": steps }))?;
        }
    }
    let is_good = matches!(verdict, DeliveryVerdict::Accepted | DeliveryVerdict::Local);
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn name(verdict: DeliveryVerdict) -> &'static str {
    match verdict {
        DeliveryVerdict::Accepted => "accepted",
        DeliveryVerdict::Local => "local",
        DeliveryVerdict::Later => "not now",
        DeliveryVerdict::Never => "no",
    }
}

/// `  12 ms  ok    rcpt         mx.example.org: RCPT TO:<a@example.org> → 250 2.1.5 fine`
fn line(step: &DeliveryStep) -> String {
    let DeliveryStep { took_us, kind, result, host, text, .. } = step;
    let took = units::span(Duration::from_micros(*took_us));
    let result = match result {
        StepResult::Good => "ok",
        StepResult::Caution => "look",
        StepResult::Failed => "no",
    };
    let host = if host.is_empty() { String::new() } else { format!("{}: ", Plain(host)) };
    format!("{took:>8}  {result:<4}  {:<11}  {host}{}", kind.name(), Plain(text))
}
