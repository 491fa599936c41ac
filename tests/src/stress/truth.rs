//! What is known to be true of one account's mailboxes: a log of what was asked for, with the time
//! it was asked and the time it was acknowledged.
//!
//! ```text
//!   begin ──ticket──▶ (a session asks the server) ──▶ end: acknowledged, or refused
//!   look  ──stamp───▶ (a session asks for the news) ──▶ check: is its picture possible?
//! ```
//! Each flag of a message is a register, each message's life a birth and a death. What was
//! acknowledged before a look must be seen, unless something came after it; what was not may be
//! seen or not; what was refused, or never asked for, must not.
//! Not here: the sessions (`session`), and how they agree when all are quiet (`quiet`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::FLAGS;
use crate::imap::picture::Picture;

/// A register with more writes than this is looked through for those that mean nothing any more.
const WRITES_KEPT: usize = 4;

/// A change that is asked for.
#[derive(Debug, Clone)]
pub(super) enum Act {
    /// The message of this content comes into a mailbox.
    Append { mailbox: &'static str, content: u64, flags: Vec<&'static str> },
    /// Flags are set (true) or taken away.
    Store { mailbox: &'static str, uids: Vec<u32>, flags: Vec<(&'static str, bool)> },
    /// What has `\Deleted` goes, among these UIDs or all.
    Expunge { mailbox: &'static str, among: Option<Vec<u32>> },
    /// Copies, or moves.
    Transfer { from: &'static str, uids: Vec<u32>, to: &'static str, moves: bool },
}

/// What came of it.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// Nothing, and nothing may be seen of it.
    Refused,
    /// All of it.
    Done,
    /// Of a STORE, all but these.
    DoneBut(Vec<u32>),
    /// The new message's UID.
    Appended(u32),
    /// UIDs there of UIDs here.
    Transferred(Vec<(u32, u32)>),
}

/// An act under way.
#[derive(Debug)]
pub(super) struct Ticket {
    number: u64,
    act: Act,
}

/// A time. Each call of the log has its own.
type Stamp = u64;

/// A value that was asked for.
#[derive(Debug, Clone, Copy)]
struct Write {
    value: bool,
    start: Stamp,
    end: Option<Stamp>,
}

/// Something that may have been the end of a message.
#[derive(Debug, Clone, Copy)]
struct Doom {
    start: Stamp,
    end: Option<Stamp>,
}

#[derive(Debug, Clone, Default)]
struct Mail {
    /// When it was acknowledged to be there.
    born: Option<Stamp>,
    content: Option<u64>,
    flags: BTreeMap<&'static str, Vec<Write>>,
    dooms: Vec<Doom>,
    dead: Option<Stamp>,
}

#[derive(Debug, Default)]
struct Mailbox {
    mails: BTreeMap<u32, Mail>,
    /// Messages that may have come and are not acknowledged.
    births: BTreeSet<Stamp>,
    /// Expunges under way: since when, and among which.
    expunges: BTreeMap<Stamp, Option<Vec<u32>>>,
}

#[derive(Debug, Default)]
struct Inner {
    clock: Stamp,
    looks: BTreeSet<Stamp>,
    mailboxes: BTreeMap<&'static str, Mailbox>,
}

/// The log.
#[derive(Debug, Default)]
pub(super) struct Truth(Mutex<Inner>);

impl Truth {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A session that panicked has told why; the others are stopped by that.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is about to be asked for.
    pub(super) fn begin(&self, act: Act) -> Ticket {
        let mut inner = self.lock();
        let now = inner.tick();
        match &act {
            Act::Append { mailbox, .. } => {
                inner.mailbox(mailbox).births.insert(now);
            }
            Act::Store { mailbox, uids, flags } => {
                inner.mailbox(mailbox).store_begins(uids, flags, now);
            }
            Act::Expunge { mailbox, among } => inner.mailbox(mailbox).expunge_begins(among, now),
            Act::Transfer { from, uids, to, moves } => {
                inner.mailbox(to).births.insert(now);
                let from = inner.mailbox(from);
                for uid in uids.iter().filter(|_| *moves) {
                    from.mail(*uid).dooms.push(Doom { start: now, end: None });
                }
            }
        }
        Ticket { number: now, act }
    }

    /// It was answered.
    pub(super) fn end(&self, ticket: Ticket, outcome: &Outcome) {
        let mut inner = self.lock();
        let now = inner.tick();
        let start = ticket.number;
        match (ticket.act, outcome) {
            (Act::Append { mailbox, content, flags }, outcome) => {
                let mailbox = inner.mailbox(mailbox);
                mailbox.births.remove(&start);
                if let Outcome::Appended(uid) = outcome {
                    let value = |flag: &&'static str| (*flag, vec![flags.contains(flag)]);
                    let flags = FLAGS.iter().map(value).collect();
                    mailbox.is_born(*uid, Some(content), flags, (start, now));
                }
            }
            (Act::Store { mailbox, uids, flags }, outcome) => {
                let left = match outcome {
                    Outcome::Done => &[],
                    Outcome::DoneBut(left) => left.as_slice(),
                    _ => uids.as_slice(),
                };
                inner.mailbox(mailbox).store_ends(&uids, &flags, left, (start, now));
            }
            (Act::Expunge { mailbox, among }, _) => {
                inner.mailbox(mailbox).expunge_ends(among.as_deref(), (start, now));
            }
            (Act::Transfer { from, uids, to, moves }, outcome) => {
                let pairs = match outcome {
                    Outcome::Transferred(pairs) => pairs.as_slice(),
                    _ => &[],
                };
                inner.transfer_ends((from, &uids), (to, pairs), moves, (start, now));
            }
        }
        inner.forget_superseded();
    }

    /// The news are about to be asked for.
    pub(super) fn look(&self) -> Stamp {
        let mut inner = self.lock();
        let now = inner.tick();
        inner.looks.insert(now);
        now
    }

    /// The news were not told after all.
    pub(super) fn look_no_more(&self, look: Stamp) {
        self.lock().looks.remove(&look);
    }

    /// The news were told: whether what a session believes of a mailbox can be.
    pub(super) fn check(
        &self,
        look: Stamp,
        mailbox: &str,
        picture: &Picture,
    ) -> Result<(), String> {
        let mut inner = self.lock();
        let now = inner.tick();
        inner.looks.remove(&look);
        match inner.mailboxes.get_mut(mailbox) {
            Some(mailbox) => mailbox.check(look, now, picture),
            None if picture.mails.is_empty() => Ok(()),
            None => Err(format!("nobody made {:?}", picture.uids())),
        }
    }

    /// What a message must hold, if that is known, and whether other contents are possible.
    pub(super) fn content(&self, mailbox: &str, uid: u32) -> Option<u64> {
        let inner = self.lock();
        inner.mailboxes.get(mailbox)?.mails.get(&uid)?.content
    }

    /// Nothing is under way, and this is how things are: that must be possible, and is the truth
    /// from now on.
    pub(super) fn settle(
        &self,
        mailbox: &'static str,
        picture: &Picture,
        contents: &BTreeMap<u32, u64>,
    ) -> Result<(), String> {
        let look = self.look();
        self.check(look, mailbox, picture)?;
        let mut inner = self.lock();
        let now = inner.tick();
        let mailbox = inner.mailbox(mailbox);
        if !mailbox.births.is_empty() || !mailbox.expunges.is_empty() {
            return Err("something is under way".to_owned());
        }
        let mut mails = BTreeMap::new();
        for known in &picture.mails {
            let (Some(uid), Some(flags)) = (known.uid, &known.flags) else {
                return Err(format!("{known:?} is not known"));
            };
            let content = mailbox.mails.get(&uid).and_then(|mail| mail.content);
            let found = contents.get(&uid).copied();
            if found.is_none() || content.is_some_and(|content| Some(content) != found) {
                return Err(format!("UID {uid} holds {found:?}, not {content:?}"));
            }
            let write = |flag: &&'static str| {
                let value = flags.contains(*flag);
                (*flag, vec![Write { value, start: now, end: Some(now) }])
            };
            let flags = FLAGS.iter().map(write).collect();
            mails.insert(uid, Mail { born: Some(now), content: found, flags, ..Mail::default() });
        }
        mailbox.mails = mails;
        Ok(())
    }
}

impl Inner {
    fn tick(&mut self) -> Stamp {
        self.clock += 1;
        self.clock
    }

    fn mailbox(&mut self, name: &'static str) -> &mut Mailbox {
        self.mailboxes.entry(name).or_default()
    }

    fn transfer_ends(
        &mut self,
        (from, uids): (&'static str, &[u32]),
        (to, pairs): (&'static str, &[(u32, u32)]),
        moves: bool,
        (start, now): (Stamp, Stamp),
    ) {
        let source = self.mailbox(from);
        for uid in uids.iter().filter(|_| moves) {
            let mail = source.mail(*uid);
            if pairs.iter().any(|(old, _)| old == uid) {
                mail.dead = Some(now);
            }
            // One that is not among them was gone before: by whom, others have told.
            mail.dooms.retain(|doom| doom.start != start);
        }
        let copy = |(old, new): &(u32, u32)| {
            let mail = source.mail(*old);
            let values = |flag: &&'static str| (*flag, mail.values(flag, start));
            let values: BTreeMap<&'static str, Vec<bool>> = FLAGS.iter().map(values).collect();
            (*new, mail.content, values)
        };
        let copies: Vec<_> = pairs.iter().map(copy).collect();
        let target = self.mailbox(to);
        target.births.remove(&start);
        for (uid, content, values) in copies {
            target.is_born(uid, content, values, (start, now));
        }
    }

    /// What came before something that came before everything that is under way.
    fn forget_superseded(&mut self) {
        let open = self.mailboxes.values().flat_map(|mailbox| {
            mailbox.births.first().into_iter().chain(mailbox.expunges.keys().next())
        });
        let floor = open.chain(self.looks.first()).copied().min().unwrap_or(self.clock);
        let mails = self.mailboxes.values_mut().flat_map(|mailbox| mailbox.mails.values_mut());
        for writes in mails.flat_map(|mail| mail.flags.values_mut()) {
            if writes.len() > WRITES_KEPT {
                *writes = standing(writes, floor);
            }
        }
    }
}

/// The writes of a register that something may be left of at `look`.
fn standing(writes: &[Write], look: Stamp) -> Vec<Write> {
    let newest = writes.iter().filter(|write| write.end.is_some_and(|end| end < look));
    let newest = newest.map(|write| write.start).max().unwrap_or(0);
    let stands = |write: &&Write| write.end.is_none_or(|end| end >= newest);
    writes.iter().filter(stands).copied().collect()
}

impl Mail {
    /// What a flag may be at and after `look`.
    fn values(&self, flag: &str, look: Stamp) -> Vec<bool> {
        let writes = self.flags.get(flag).map(|writes| standing(writes, look)).unwrap_or_default();
        let known = self.born.is_some();
        let may_be = |value: bool| !known || writes.iter().any(|write| write.value == value);
        [true, false].into_iter().filter(|value| may_be(*value)).collect()
    }

    fn may_be_deleted(&self) -> bool {
        let writes = self.flags.get("\\Deleted").into_iter().flatten();
        self.born.is_none() || writes.into_iter().any(|write| write.value)
    }
}

impl Mailbox {
    fn mail(&mut self, uid: u32) -> &mut Mail {
        self.mails.entry(uid).or_default()
    }

    /// The expunges under way that may find a message.
    fn dooms(&self, uid: u32) -> Vec<Doom> {
        let is_meant = |among: &Option<Vec<u32>>| among.as_ref().is_none_or(|it| it.contains(&uid));
        let meant = self.expunges.iter().filter(|(_, among)| is_meant(among));
        meant.map(|(start, _)| Doom { start: *start, end: None }).collect()
    }

    fn store_begins(&mut self, uids: &[u32], flags: &[(&'static str, bool)], now: Stamp) {
        for uid in uids {
            let dooms = self.dooms(*uid);
            let mail = self.mail(*uid);
            for &(flag, value) in flags {
                let write = Write { value, start: now, end: None };
                mail.flags.entry(flag).or_default().push(write);
                if flag == "\\Deleted" && value {
                    // An expunge under way may find it.
                    mail.dooms.extend(&dooms);
                }
            }
        }
    }

    fn store_ends(
        &mut self,
        uids: &[u32],
        flags: &[(&'static str, bool)],
        left: &[u32],
        (start, now): (Stamp, Stamp),
    ) {
        for uid in uids {
            let mail = self.mail(*uid);
            for (flag, _) in flags {
                let writes = mail.flags.entry(flag).or_default();
                if left.contains(uid) {
                    writes.retain(|write| write.start != start);
                }
                for write in writes.iter_mut().filter(|write| write.start == start) {
                    write.end = Some(now);
                }
            }
        }
    }

    fn expunge_begins(&mut self, among: &Option<Vec<u32>>, now: Stamp) {
        for (uid, mail) in &mut self.mails {
            let is_meant = among.as_ref().is_none_or(|among| among.contains(uid));
            if is_meant && mail.may_be_deleted() {
                mail.dooms.push(Doom { start: now, end: None });
            }
        }
        self.expunges.insert(now, among.clone());
    }

    fn expunge_ends(&mut self, among: Option<&[u32]>, (start, now): (Stamp, Stamp)) {
        self.expunges.remove(&start);
        for (uid, mail) in &mut self.mails {
            let is_meant = among.is_none_or(|among| among.contains(uid));
            let was_there = mail.born.is_some_and(|born| born < start);
            if is_meant && was_there && mail.values("\\Deleted", start) == [true] {
                mail.dead = mail.dead.or(Some(now));
            }
            for doom in mail.dooms.iter_mut().filter(|doom| doom.start == start) {
                doom.end = Some(now);
            }
        }
    }

    fn is_born(
        &mut self,
        uid: u32,
        content: Option<u64>,
        values: BTreeMap<&'static str, Vec<bool>>,
        (start, now): (Stamp, Stamp),
    ) {
        let dooms = self.dooms(uid);
        let mail = self.mail(uid);
        mail.born = Some(now);
        mail.content = content;
        for (flag, values) in values {
            let write = |value| Write { value, start, end: Some(now) };
            mail.flags.entry(flag).or_default().extend(values.into_iter().map(write));
        }
        if mail.may_be_deleted() {
            // An expunge meanwhile may have found it before anybody knew it, or will.
            mail.dooms.push(Doom { start, end: Some(now) });
            mail.dooms.extend(dooms);
        }
    }

    fn check(&mut self, look: Stamp, now: Stamp, picture: &Picture) -> Result<(), String> {
        let mut strangers = Vec::new();
        for known in &picture.mails {
            let Some(uid) = known.uid else { return Err(format!("{known:?} is not known")) };
            match self.mails.get(&uid).filter(|mail| mail.born.is_some()) {
                Some(mail) => is_possible(mail, look, uid, known.flags.as_ref())?,
                None => strangers.push(uid),
            }
        }
        if !strangers.is_empty() && self.births.is_empty() {
            return Err(format!("nobody made {strangers:?}"));
        }
        let seen: BTreeSet<u32> = picture.uids().into_iter().collect();
        for (uid, mail) in &mut self.mails {
            if seen.contains(uid) {
                // It outlived what ended before the look.
                mail.dooms.retain(|doom| doom.end.is_none_or(|end| end >= look));
            } else if mail.dead.is_none() && mail.born.is_some_and(|born| born < look) {
                if mail.dooms.is_empty() {
                    return Err(format!("UID {uid} is lost: {mail:?}"));
                }
                mail.dead = Some(now);
            }
        }
        Ok(())
    }
}

/// Whether a message that is seen can be there, with these flags.
fn is_possible(
    mail: &Mail,
    look: Stamp,
    uid: u32,
    flags: Option<&BTreeSet<String>>,
) -> Result<(), String> {
    if let Some(dead) = mail.dead.filter(|dead| *dead < look) {
        return Err(format!("UID {uid} went at {dead}, before the look at {look}, and is there"));
    }
    let flags = flags.ok_or_else(|| format!("no flags of UID {uid}"))?;
    for flag in FLAGS {
        let value = flags.contains(*flag);
        if !mail.values(flag, look).contains(&value) {
            let writes = mail.flags.get(flag);
            return Err(format!("{flag} of UID {uid} is {value} at {look}; {writes:?}"));
        }
    }
    let other = flags.iter().find(|flag| !FLAGS.contains(&flag.as_str()));
    other.map_or(Ok(()), |flag| Err(format!("nobody gave UID {uid} the flag {flag}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::picture::{ANY, Dialect};
    use crate::imap::syntax;

    const BOX: &str = "INBOX";

    fn picture(lines: &[&str]) -> Picture {
        let mut picture = Picture::new(Dialect::default());
        for line in lines {
            let response = syntax::response(line.as_bytes()).expect("well formed");
            picture.hear(&response, ANY).expect("that may be");
        }
        picture
    }

    fn append(truth: &Truth, uid: u32, flags: Vec<&'static str>) {
        let ticket = truth.begin(Act::Append { mailbox: BOX, content: 1, flags });
        truth.end(ticket, &Outcome::Appended(uid));
    }

    fn store(truth: &Truth, flag: &'static str, value: bool) -> Ticket {
        truth.begin(Act::Store { mailbox: BOX, uids: vec![1], flags: vec![(flag, value)] })
    }

    fn looks(truth: &Truth, lines: &[&str]) -> bool {
        let look = truth.look();
        truth.check(look, BOX, &picture(lines)).is_ok()
    }

    const NONE: &[&str] = &[];
    const PLAIN: &[&str] = &["* 1 EXISTS", "* 1 FETCH (UID 1 FLAGS ())"];
    const SEEN: &[&str] = &["* 1 EXISTS", "* 1 FETCH (UID 1 FLAGS (\\Seen))"];
    const MARKED: &[&str] = &["* 1 EXISTS", "* 1 FETCH (UID 1 FLAGS (\\Deleted))"];

    #[test]
    fn what_was_acknowledged_must_be_seen() {
        let truth = Truth::default();
        assert!(looks(&truth, NONE) && !looks(&truth, PLAIN), "nobody made it");
        let ticket = truth.begin(Act::Append { mailbox: BOX, content: 1, flags: vec![] });
        assert!(looks(&truth, NONE) && looks(&truth, PLAIN), "it may be there already");
        truth.end(ticket, &Outcome::Appended(1));
        assert!(!looks(&truth, NONE) && looks(&truth, PLAIN) && !looks(&truth, SEEN));
        let ticket = store(&truth, "\\Seen", true);
        assert!(looks(&truth, PLAIN) && looks(&truth, SEEN), "either");
        truth.end(ticket, &Outcome::Done);
        assert!(!looks(&truth, PLAIN) && looks(&truth, SEEN));
        let ticket = store(&truth, "\\Seen", false);
        truth.end(ticket, &Outcome::Refused);
        assert!(!looks(&truth, PLAIN), "it was refused");
    }

    #[test]
    fn writes_at_once_have_either_end() {
        let truth = Truth::default();
        append(&truth, 1, vec![]);
        let (one, two) = (store(&truth, "\\Seen", true), store(&truth, "\\Seen", false));
        truth.end(one, &Outcome::Done);
        truth.end(two, &Outcome::Done);
        assert!(looks(&truth, PLAIN) && looks(&truth, SEEN));
        let third = store(&truth, "\\Seen", true);
        truth.end(third, &Outcome::Done);
        assert!(!looks(&truth, PLAIN) && looks(&truth, SEEN));
    }

    #[test]
    fn lives_end_for_a_reason() {
        let truth = Truth::default();
        append(&truth, 1, vec![]);
        let expunge = || truth.begin(Act::Expunge { mailbox: BOX, among: None });
        truth.end(expunge(), &Outcome::Done);
        assert!(!looks(&truth, NONE), "it was not marked");
        let ticket = store(&truth, "\\Deleted", true);
        truth.end(ticket, &Outcome::Done);
        assert!(!looks(&truth, NONE) && looks(&truth, MARKED));
        let ticket = expunge();
        assert!(looks(&truth, MARKED), "under way");
        truth.end(ticket, &Outcome::Done);
        assert!(!looks(&truth, MARKED) && looks(&truth, NONE));
        assert!(!looks(&truth, MARKED), "it does not come back");
    }

    #[test]
    fn moves_take_along_what_there_is() {
        let truth = Truth::default();
        append(&truth, 1, vec!["\\Seen"]);
        let act = Act::Transfer { from: BOX, uids: vec![1], to: "Work", moves: true };
        let ticket = truth.begin(act);
        truth.end(ticket, &Outcome::Transferred(vec![(1, 1)]));
        assert!(looks(&truth, NONE) && !looks(&truth, SEEN));
        let look = truth.look();
        assert!(truth.check(look, "Work", &picture(PLAIN)).is_err());
        let look = truth.look();
        assert!(truth.check(look, "Work", &picture(SEEN)).is_ok());
        assert_eq!(truth.content("Work", 1), Some(1));
    }
}
