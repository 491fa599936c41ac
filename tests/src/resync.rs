//! An IMAP client that is cut off at any byte, comes back by QRESYNC, and then knows what a client
//! knows that asks for everything.
//!
//! ```text
//!   exchange ──so many bytes──▶ ✂     the other session changes the mailbox, before and after
//!   SELECT (QRESYNC (validity modseq)) ─▶ the same as of a client that knew nothing?
//! ```
//! What it keeps over the cut are the messages as it was told of them, and the mod-sequence of the
//! last command that came to its end: a HIGHESTMODSEQ told with it, or else the largest MODSEQ (RFC
//! 7162 3.2.1, and what its erratum says of EXPUNGEs that are held back).
//! Not here: many sessions at once ([`crate::stress`]).

use std::fmt;

use crate::house::{Account, House};
use crate::imap::client::{CUT, Client, Reply};
use crate::imap::picture::{ANY, Dialect, Moment, Picture};
use crate::imap::syntax::Response;
use crate::seed::Seed;

/// The mailbox that is kept.
const MAILBOX: &str = "INBOX";
/// Above so many messages some go, so that the exchange stays short.
const MAILS_MAX: usize = 12;
/// What a session by numbers hears while EXPUNGEs wait.
const HELD: Moment = Moment { expunges: false, news: false };

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// What chance began with.
    pub seed: u64,
    /// How often the client was cut off.
    pub cuts: usize,
    /// Bytes of the longest exchange.
    pub bytes: usize,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, cuts, bytes } = self;
        write!(
            f,
            "a QRESYNC client cut off {cuts} times within {bytes} bytes (seed {seed}) always came \
             back to what a full resynchronization gives"
        )
    }
}

/// What outlives a connection.
#[derive(Debug, Clone)]
struct Kept {
    picture: Picture,
    modseq: u64,
}

/// One connection of the client.
struct Visit<'a> {
    client: Client,
    kept: &'a mut Kept,
}

/// The session that changes the mailbox.
struct Other {
    client: Client,
    seed: Seed,
    made: u64,
}

/// Cuts a client off so often, at evenly spread places of its exchange: at each byte, if there are
/// as many cuts as bytes.
///
/// # Errors
/// It does not come back to the truth; with the seed and what was said.
pub fn run(seed: u64, cuts: usize) -> Result<Outcome, String> {
    let house = House::start_with("[limits]\nlogin_failure_delay_ms = 0\n");
    let account = house.account("ann");
    let mut client = Client::connect(house.port("Imap"))?;
    client.login(&account)?;
    client.ok(&format!("SELECT {MAILBOX}"))?;
    let mut other = Other { client, seed: Seed::new(seed), made: 0 };
    other.change(10)?;
    let dialect = Dialect { condstore: true, qresync: true, ..Dialect::default() };
    let mut kept = Kept { picture: Picture::new(dialect), modseq: 0 };
    let told = |cut: usize, why: String| format!("seed {seed}, cut at {cut}: {why}");
    // The whole exchange says how long one is.
    let whole = exchange(&house, &account, &mut kept, &mut other, None);
    let mut bytes = whole.map_err(|why| told(usize::MAX, why))?;
    for number in 0..cuts {
        let cut = number * bytes / cuts.max(1);
        match exchange(&house, &account, &mut kept, &mut other, Some(cut)) {
            Ok(read) => bytes = bytes.max(read),
            Err(why) if why == CUT => {}
            Err(why) => return Err(told(cut, why)),
        }
        other.change(2).map_err(|why| told(cut, why))?;
        compare(&house, &account, &mut kept).map_err(|why| told(cut, why))?;
    }
    Ok(Outcome { seed, cuts, bytes })
}

/// Everything the client says, with changes of the other session in between; returns the bytes that
/// were read.
fn exchange(
    house: &House,
    account: &Account,
    kept: &mut Kept,
    other: &mut Other,
    most: Option<usize>,
) -> Result<usize, String> {
    let mut visit = Visit::begin(house, account, kept, most)?;
    other.change(2)?;
    visit.run("NOOP", ANY)?;
    // What goes now is held back while numbers are in use, and what changes is told.
    other.expunge()?;
    other.flag()?;
    visit.run("FETCH 1:* (UID FLAGS MODSEQ)", HELD)?;
    other.flag()?;
    visit.run("STORE 1 +FLAGS (\\Flagged)", HELD)?;
    visit.run("NOOP", ANY)?;
    other.change(1)?;
    visit.run("UID STORE 1:* -FLAGS (\\Flagged)", ANY)?;
    visit.idle(other)?;
    other.mark()?;
    visit.run("EXPUNGE", ANY)?;
    other.change(1)?;
    visit.run("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)", ANY)?;
    other.expunge()?;
    visit.run("UID SEARCH UNSEEN", ANY)?;
    visit.learn()?;
    visit.client.ok("LOGOUT")?;
    Ok(visit.client.read_bytes())
}

/// Comes back by QRESYNC, and in another session as one who knows nothing.
fn compare(house: &House, account: &Account, kept: &mut Kept) -> Result<(), String> {
    let visit = Visit::begin(house, account, kept, None)?;
    let mut nothing = Kept { picture: Picture::new(visit.kept.picture.dialect), modseq: 0 };
    let fresh = Visit::begin(house, account, &mut nothing, None)?;
    let (known, is) = (&visit.kept.picture, &fresh.kept.picture);
    if known.mails == is.mails && known.validity == is.validity {
        return Ok(());
    }
    Err(visit.client.wrong(&format!("{:?}\nis\n{:?}", known.mails, is.mails)))
}

impl<'a> Visit<'a> {
    fn begin(
        house: &House,
        account: &Account,
        kept: &'a mut Kept,
        most: Option<usize>,
    ) -> Result<Self, String> {
        let mut client = Client::connect_for(house.port("Imap"), most)?;
        client.login(account)?;
        client.ok("ENABLE QRESYNC")?;
        let (validity, modseq) = (kept.picture.validity, kept.modseq);
        let command = match modseq {
            0 => format!("SELECT {MAILBOX}"),
            modseq => format!("SELECT {MAILBOX} (QRESYNC ({validity} {modseq}))"),
        };
        let reply = client.ok(&command)?;
        let resynced = kept.picture.resynced(&reply.untagged, &reply.status);
        kept.picture = resynced.map_err(|why| client.wrong(&why))?;
        let mut visit = Self { client, kept };
        visit.keep(&reply);
        visit.learn()?;
        Ok(visit)
    }

    /// Runs a command; what is told counts as soon as it is told, its mod-sequences when the
    /// command has ended.
    fn run(&mut self, command: &str, moment: Moment) -> Result<(), String> {
        // A FETCH says what it was asked for; UID and MODSEQ are not owed.
        let news = moment.news && !command.contains("FETCH");
        let tag = self.client.send(command)?;
        self.hear_until(&tag, Moment { news, ..moment })?;
        // A STORE or FETCH of what has just gone may be refused.
        Ok(())
    }

    fn hear_until(&mut self, tag: &str, moment: Moment) -> Result<(), String> {
        let mut untagged = Vec::new();
        loop {
            match self.client.response()? {
                Response::Tagged(status) if status.tag == tag && status.word == "OK" => {
                    self.kept.picture.status(&status)?;
                    self.keep(&Reply { untagged, status });
                    return Ok(());
                }
                Response::Tagged(_) => return Err(self.client.wrong("refused")),
                response => {
                    let heard = self.kept.picture.hear(&response, moment);
                    heard.map_err(|why| self.client.wrong(&why))?;
                    untagged.push(response);
                }
            }
        }
    }

    /// A command has ended: everything up to here is known.
    fn keep(&mut self, reply: &Reply) {
        let (mut said, mut seen) = (None, 0);
        let code = |status: &crate::imap::syntax::Status| match status.code.as_slice() {
            [name, modseq] if name == "HIGHESTMODSEQ" => modseq.parse::<u64>().ok(),
            _ => None,
        };
        for response in &reply.untagged {
            match response {
                Response::Status(status) => said = code(status).or(said),
                Response::Fetch(_, fetched) => seen = fetched.modseq.unwrap_or(0).max(seen),
                _ => {}
            }
        }
        said = code(&reply.status).or(said);
        self.kept.modseq = said.unwrap_or(seen).max(self.kept.modseq);
    }

    /// Asks for what it does not know yet.
    fn learn(&mut self) -> Result<(), String> {
        while let Some(first) = self.kept.picture.first_unknown() {
            self.run(&format!("FETCH {first}:* (UID FLAGS MODSEQ)"), HELD)?;
        }
        Ok(())
    }

    /// IDLE until something was told of what the other session does meanwhile.
    fn idle(&mut self, other: &mut Other) -> Result<(), String> {
        let tag = self.client.send("IDLE")?;
        if self.client.response()? != Response::Continue {
            return Err(self.client.wrong("IDLE did not begin"));
        }
        other.append()?;
        loop {
            let response = self.client.response()?;
            let heard = self.kept.picture.hear(&response, ANY);
            heard.map_err(|why| self.client.wrong(&why))?;
            if matches!(response, Response::Exists(_)) {
                break;
            }
        }
        self.client.write("DONE\r\n")?;
        self.hear_until(&tag, ANY)
    }
}

impl Other {
    /// Makes so many changes, by chance.
    fn change(&mut self, count: usize) -> Result<(), String> {
        for _ in 0..count {
            match self.seed.between(0, 3) {
                0 | 1 => self.append()?,
                2 => self.flag()?,
                _ => self.expunge()?,
            }
        }
        Ok(())
    }

    fn append(&mut self) -> Result<(), String> {
        self.made += 1;
        let message = format!("Subject: {}\r\n\r\nbody\r\n", self.made);
        self.client.ok(&format!("APPEND {MAILBOX} {{{}+}}\r\n{message}", message.len()))?;
        while self.uids()?.len() > MAILS_MAX {
            self.expunge()?;
        }
        Ok(())
    }

    fn uids(&mut self) -> Result<Vec<u32>, String> {
        let reply = self.client.ok("UID SEARCH ALL")?;
        let found = reply.untagged.into_iter().find_map(|response| match response {
            Response::Search(uids) => Some(uids),
            _ => None,
        });
        Ok(found.unwrap_or_default())
    }

    /// One of the messages, by chance.
    fn one(&mut self) -> Result<Option<u32>, String> {
        let uids = self.uids()?;
        let last = (uids.len() as u64).saturating_sub(1);
        let place = usize::try_from(self.seed.between(0, last)).unwrap_or_default();
        Ok(uids.get(place).copied())
    }

    fn flag(&mut self) -> Result<(), String> {
        let Some(uid) = self.one()? else { return Ok(()) };
        let sign = if self.seed.between(0, 1) == 0 { '+' } else { '-' };
        self.client.ok(&format!("UID STORE {uid} {sign}FLAGS (\\Seen $One)")).map(drop)
    }

    fn mark(&mut self) -> Result<Option<u32>, String> {
        let Some(uid) = self.one()? else { return Ok(None) };
        self.client.ok(&format!("UID STORE {uid} +FLAGS (\\Deleted)"))?;
        Ok(Some(uid))
    }

    fn expunge(&mut self) -> Result<(), String> {
        // The exchange names message 1.
        if self.uids()?.len() < 3 {
            return self.append();
        }
        let Some(uid) = self.mark()? else { return Ok(()) };
        self.client.ok(&format!("UID EXPUNGE {uid}")).map(drop)
    }
}
