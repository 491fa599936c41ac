//! The running daemon does the work.
//!
//! Invariant: an interrupt cancels the work and waits for its end, so that what is said last is
//! true.
//! Not here: what the daemon does (`graced::admin`).

use grace_ipc::client::Client;
use grace_ipc::database::{
    DbCompacted, DbCopied, DbKeyChanged, DbMoment, DbProblem, DbSegment, DbStats, DbVerified,
};
use grace_ipc::message::{Answer, RequestBody, Rows};

use super::meter::Meter;

/// The daemon answered another question.
const UNEXPECTED: &str = "the daemon gave an answer that fits no question";

pub(super) fn stats(mut client: Client) -> Result<(DbStats, Vec<DbSegment>), String> {
    let complete = client.request(RequestBody::DbStats).map_err(|e| e.to_string())?;
    let mut all = Vec::new();
    for part in complete.parts {
        let Rows::DbSegments(rows) = part else { return Err(UNEXPECTED.to_owned()) };
        all.extend(rows);
    }
    let Answer::DbStats(stats) = complete.answer else { return Err(UNEXPECTED.to_owned()) };
    Ok((*stats, all))
}

/// Asks for long work and follows it.
fn work(
    mut client: Client,
    body: RequestBody,
    meter: &mut Meter,
    problems: &mut Vec<DbProblem>,
) -> Result<Answer, String> {
    let done = client.work(body, &mut |rows| match rows {
        Rows::DbProgress(progress) => meter.hear(&progress),
        Rows::DbProblems(rows) => {
            problems.extend(rows);
            true
        }
        _ => true,
    });
    meter.clear();
    done.map_err(|e| e.to_string())
}

pub(super) fn verify(
    client: Client,
    meter: &mut Meter,
) -> Result<(DbVerified, Vec<DbProblem>), String> {
    let mut problems = Vec::new();
    match work(client, RequestBody::DbVerify, meter, &mut problems)? {
        Answer::DbVerified(verified) => Ok((verified, problems)),
        _ => Err(UNEXPECTED.to_owned()),
    }
}

pub(super) fn backup(client: Client, to: &str, meter: &mut Meter) -> Result<DbCopied, String> {
    copied(work(client, RequestBody::DbBackup { to: to.to_owned() }, meter, &mut Vec::new())?)
}

pub(super) fn restore(
    client: Client,
    to: &str,
    moment: DbMoment,
    meter: &mut Meter,
) -> Result<DbCopied, String> {
    let body = RequestBody::DbRestore { to: to.to_owned(), moment };
    copied(work(client, body, meter, &mut Vec::new())?)
}

fn copied(answer: Answer) -> Result<DbCopied, String> {
    match answer {
        Answer::DbCopied(copied) => Ok(copied),
        _ => Err(UNEXPECTED.to_owned()),
    }
}

pub(super) fn compact(client: Client, meter: &mut Meter) -> Result<DbCompacted, String> {
    match work(client, RequestBody::DbCompact, meter, &mut Vec::new())? {
        Answer::DbCompacted(compacted) => Ok(compacted),
        _ => Err(UNEXPECTED.to_owned()),
    }
}

pub(super) fn change_key(
    client: Client,
    new_key_file: bool,
    meter: &mut Meter,
) -> Result<DbKeyChanged, String> {
    let body = RequestBody::DbChangeKey { new_key_file };
    match work(client, body, meter, &mut Vec::new())? {
        Answer::DbKeyChanged(changed) => Ok(changed),
        _ => Err(UNEXPECTED.to_owned()),
    }
}
