//! What is set about a domain, an account or an alias: shown and set.

use grace_ipc::client::Client;
use grace_ipc::message::{RequestBody, Rows};
use grace_ipc::text::Plain;

use crate::ask;
use crate::print::{self, Form};

/// Shows the answer to a request for settings.
pub(crate) fn show(mut client: Client, form: Form, body: RequestBody) -> Result<(), String> {
    let rows = ask::rows(&mut client, body, |part| {
        if let Rows::Settings(rows) = part { Some(rows) } else { None }
    })?;
    if form == Form::Json {
        return print::json_line(&rows);
    }
    for row in &rows {
        let usual = if row.value == row.usual { "" } else { " (set)" };
        print::line(&format!("{} = {}{usual}", Plain(&row.key), Plain(&row.value)))?;
        print::line(&format!("    {}", Plain(&row.help)))?;
    }
    Ok(())
}

/// Sets something, and says what.
pub(crate) fn set(
    mut client: Client,
    form: Form,
    body: RequestBody,
    what: &str,
) -> Result<(), String> {
    client.order(body).map_err(|e| e.to_string())?;
    print::done(form, "set", what)
}
