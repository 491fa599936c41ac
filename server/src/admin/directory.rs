//! Application passwords and settings, in the words of the protocol.
//!
//! Not here: what they do (`directory`), every other request ([`super::desk`]).

use grace_ipc::directory::{AppPasswordRow, AppScope, SettingRow};
use grace_ipc::message::{Answer, Failure, ROWS_PER_PART_MAX, Rows, Secret};

use super::desk::{Outcome, list, refused};
use crate::directory::Directory;
use crate::directory::settings::Shown;
use crate::store::logins::{self, Scope};
use crate::store::refusal::Refusal;

/// The application passwords of an account.
pub(super) fn app_passwords(directory: &Directory, account: &str) -> Result<Outcome, Failure> {
    let rows = directory.app_passwords(account).map_err(|e| refused(&e))?;
    let rows = rows.into_iter().filter_map(shown_password).collect();
    Ok(list(rows, ROWS_PER_PART_MAX, Rows::AppPasswords))
}

/// Makes one, and tells it.
pub(super) async fn create_app_password(
    directory: &Directory,
    (account, name): (&str, &str),
    scope: AppScope,
    by: &str,
) -> Result<Outcome, Failure> {
    let scope = match scope {
        AppScope::Both => Scope::Both,
        AppScope::Smtp => Scope::Smtp,
        AppScope::Imap => Scope::Imap,
    };
    let made = directory.create_app_password(account, name, scope, by).await;
    let password = Secret(made.map_err(|e| refused(&e))?.to_string());
    Ok(Outcome::Answer(Answer::AppPassword { password }))
}

/// What is set about something.
pub(super) fn settings(shown: Result<Vec<Shown>, Refusal>) -> Result<Outcome, Failure> {
    let rows = shown.map_err(|e| refused(&e))?.into_iter().map(|one| SettingRow {
        key: one.key.to_owned(),
        value: one.value,
        usual: one.usual,
        help: one.help.to_owned(),
    });
    Ok(list(rows.collect(), ROWS_PER_PART_MAX, Rows::Settings))
}

/// `None`: it was made by a later program, and is good for nothing here.
fn shown_password(row: logins::AppPasswordRow) -> Option<AppPasswordRow> {
    let scope = match Scope::from_row(row.scope)? {
        Scope::Both => AppScope::Both,
        Scope::Smtp => AppScope::Smtp,
        Scope::Imap => AppScope::Imap,
    };
    let logins::AppPasswordRow { name, created_us, used_us, used_from, .. } = row;
    Some(AppPasswordRow { name, scope, created_us, used_us, used_from })
}
