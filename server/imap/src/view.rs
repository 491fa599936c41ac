//! A session's picture of its mailbox: which message has which sequence number, and what the client
//! was told of it.
//!
//! ```text
//!   store ──changes──▶ absorb ──▶ rows, gone, dirty ──announce──▶ EXPUNGE, EXISTS, FETCH
//! ```
//! Invariants: `rows` is sorted by UID, and after `announce` the client's count is `rows.len()`; a
//! message that vanished keeps its number until its EXPUNGE was sent; `flags` of a row is what the
//! client believes (or will be told by the next `announce`).
//! Not here: reading the store, and when to announce (`session`).

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use crate::flags::{Flags, Keyword, SystemFlag};
use crate::response::Out;
use crate::rights::Rights;
use crate::rows::{Row, Rows};
use crate::set::{Ranges, SequenceSet};

/// What the store knows that the view does not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// The mailbox's modification sequence now.
    pub modseq: u64,
    /// New and changed messages, in any order.
    pub rows: Vec<Row>,
    /// New ones with this UID or a higher one are seen by no other session first (RFC 3501 2.3.2).
    pub recent_from: u32,
    /// UIDs that are gone, in any order; unknown ones are passed over.
    pub vanished: Vec<RangeInclusive<u32>>,
    /// What this one may do with the mailbox from now on, if that has changed.
    pub rights: Option<Rights>,
    /// URLs of its messages are signed with another key from now on (RFC 4467 7, RESETKEY).
    pub url_key: bool,
}

/// What may be told at this moment (RFC 9051 7.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// Everything.
    Everything,
    /// No EXPUNGE: during FETCH, STORE and SEARCH by sequence number, and between commands.
    NoExpunge,
}

/// The picture.
#[derive(Debug, Clone, Default)]
pub struct View {
    rows: Rows,
    /// UIDs that this session is the first to see (RFC 3501 2.3.2), as first and last of each run,
    /// ascending; those that went stay in their run.
    recent: Vec<(u32, u32)>,
    /// UIDs whose EXPUNGE is owed.
    gone: BTreeSet<u32>,
    /// UIDs whose flags are owed.
    dirty: BTreeSet<u32>,
    /// How many messages the client knows of.
    told_count: usize,
    /// Everything up to here is in the picture.
    modseq: u64,
    /// Everything up to here was told.
    told_modseq: u64,
    keywords: BTreeSet<Keyword>,
    told_keywords: usize,
    /// Say MODSEQ beside flags (RFC 7162 3.1).
    pub condstore: bool,
    /// Say RECENT and `\Recent`, which RFC 9051 dropped (appendix E).
    pub says_recent: bool,
    /// Say VANISHED and not EXPUNGE (RFC 7162 3.2.10).
    pub says_vanished: bool,
    /// Say UIDFETCH and VANISHED: the client knows no sequence numbers (RFC 9586).
    pub uid_only: bool,
    /// New messages stay untold, and out of the picture (RFC 5465 3).
    pub hides_messages: bool,
    /// Flags that others change stay untold (RFC 5465 5.1), for as long as this is set.
    hides_flags: bool,
    /// UIDs whose flags did.
    withheld: BTreeSet<u32>,
}

impl View {
    /// A mailbox just selected; messages from `recent_from` on are this session's to see first.
    pub fn new(rows: Rows, modseq: u64, recent_from: u32) -> Self {
        let (keywords, told_count) = (rows.keywords(), rows.len());
        let last = rows.last().map_or(0, |row| row.uid);
        Self {
            told_count,
            told_keywords: keywords.len(),
            recent: Some((recent_from, last))
                .filter(|(first, last)| first <= last)
                .into_iter()
                .collect(),
            rows,
            modseq,
            told_modseq: modseq,
            keywords,
            ..Self::default()
        }
    }

    /// Everything up to this modification sequence is in the picture.
    pub fn modseq(&self) -> u64 {
        self.modseq
    }

    /// Everything up to this modification sequence was told; later changes may have been, too.
    pub fn told_modseq(&self) -> u64 {
        self.told_modseq
    }

    /// Every message, in the order of its number.
    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// The message with this sequence number.
    pub fn row(&self, sequence: u32) -> Option<Row> {
        self.rows.get(usize::try_from(sequence).ok()?.checked_sub(1)?)
    }

    /// The sequence number of a UID.
    pub fn sequence_of(&self, uid: u32) -> Option<u32> {
        u32::try_from(self.rows.find(uid).ok()? + 1).ok()
    }

    /// How many messages there are.
    pub fn count(&self) -> u32 {
        u32::try_from(self.rows.len()).unwrap_or(u32::MAX)
    }

    /// The largest UID, 0 for an empty mailbox.
    pub fn last_uid(&self) -> u32 {
        self.rows.last_uid().unwrap_or(0)
    }

    /// Whether a message is recent, where there is still such a thing.
    pub fn is_recent(&self, uid: u32) -> bool {
        if !self.says_recent {
            return false;
        }
        let run = self.recent.partition_point(|(_, last)| *last < uid);
        self.recent.get(run).is_some_and(|(first, _)| *first <= uid)
    }

    /// How many messages are recent.
    pub fn recent_count(&self) -> usize {
        let run = |(first, last): &(u32, u32)| {
            self.rows.below(last.saturating_add(1)).saturating_sub(self.rows.below(*first))
        };
        self.recent.iter().map(run).sum()
    }

    /// Sequence number of the first message without `\Seen`.
    pub fn first_unseen(&self) -> Option<u32> {
        let place = self.rows.first_without(SystemFlag::Seen)?;
        u32::try_from(place + 1).ok()
    }

    /// The flags in use, for `* FLAGS`.
    pub fn flag_names(&self) -> String {
        let system = SystemFlag::ALL.iter().map(|flag| flag.name());
        let names: Vec<&str> = system.chain(self.keywords.iter().map(Keyword::as_str)).collect();
        names.join(" ")
    }

    /// The flags that can be changed for good with these rights (RFC 4314 5.1.1), for
    /// PERMANENTFLAGS.
    pub fn permanent_flags(&self, rights: Rights) -> String {
        let may = |flag: &SystemFlag| match flag {
            SystemFlag::Seen => rights.has(b's'),
            SystemFlag::Deleted => rights.has(b't'),
            _ => rights.has(b'w'),
        };
        let system = SystemFlag::ALL.iter().filter(|flag| may(flag)).map(|flag| flag.name());
        let mut names: Vec<&str> = system.collect();
        if rights.has(b'w') {
            names.extend(self.keywords.iter().map(Keyword::as_str));
            // RFC 9051 7.1: it lets clients make up keywords.
            names.push("\\*");
        }
        names.join(" ")
    }

    /// The sequence numbers a set names, ascending. `saved` are the UIDs `$` stands for.
    pub fn resolve(&self, set: &SequenceSet, uid: bool, saved: &[u32]) -> Vec<u32> {
        if *set == SequenceSet::Saved {
            return saved.iter().filter_map(|uid| self.sequence_of(*uid)).collect();
        }
        let last = if uid { self.last_uid() } else { self.count() };
        let mut sequences = Vec::new();
        for (first, last) in set.resolve(last).iter() {
            let (first, last) = match uid {
                false => (first, last.min(self.count())),
                true => {
                    let before = self.rows.below(first);
                    let until = match self.rows.find(last) {
                        Ok(place) => place + 1,
                        Err(place) => place,
                    };
                    let number = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
                    (number(before + 1), number(until))
                }
            };
            sequences.extend(first..=last);
        }
        sequences
    }

    /// The client will believe these flags without being told, for it asked for them in silence, or
    /// the answer under way says them.
    pub fn believe(&mut self, uid: u32, flags: Flags) {
        if let Ok(place) = self.rows.find(uid)
            && let Some(row) = self.rows.get(place)
        {
            self.keywords.extend(flags.keywords().iter().cloned());
            self.rows.replace(place, &Row { flags, ..row });
        }
    }

    /// The client is told the flags of a message at the next `announce`, changed or not.
    pub fn owe_flags(&mut self, uid: u32) {
        self.dirty.insert(uid);
    }

    /// Takes in what the store knows.
    pub fn absorb(&mut self, mut changes: Changes) {
        changes.rows.sort_unstable_by_key(|row| row.uid);
        for row in changes.rows {
            self.keywords.extend(row.flags.keywords().iter().cloned());
            match self.rows.find(row.uid) {
                Ok(place) => {
                    let Some(known) = self.rows.get(place) else { continue };
                    let news =
                        known.flags != row.flags || (self.condstore && known.modseq != row.modseq);
                    if news {
                        let owed =
                            if self.hides_flags { &mut self.withheld } else { &mut self.dirty };
                        owed.insert(row.uid);
                    }
                    self.rows.replace(place, &row);
                }
                // Only what is above every known UID can be new; anything else was expunged here.
                Err(place) if place == self.rows.len() && !self.hides_messages => {
                    if row.uid >= changes.recent_from {
                        self.is_first_to_see(row.uid);
                    }
                    self.rows.push(&row);
                }
                Err(_) => {}
            }
        }
        for gone in changes.vanished {
            let places = self.rows.below(*gone.start())..;
            let known = places.map_while(|place| self.rows.uid(place));
            self.gone.extend(known.take_while(|uid| uid <= gone.end()));
        }
        if !self.hides_messages {
            // What was left out comes again, once it may be told.
            self.modseq = self.modseq.max(changes.modseq);
        }
    }

    /// Whether flags that others change stay untold. What stayed so is owed once it may be told.
    pub fn hide_flags(&mut self, hides: bool) {
        self.hides_flags = hides;
        if !hides {
            self.dirty.append(&mut self.withheld);
        }
    }

    /// Whether flags that others change stay untold.
    pub fn hides_flags(&self) -> bool {
        self.hides_flags
    }

    /// Messages that the next `announce` tells of for the first time.
    pub fn untold(&self) -> Vec<u32> {
        self.rows.iter_from(self.told_count).map(|row| row.uid).collect()
    }

    /// Notes a UID above all others as recent.
    fn is_first_to_see(&mut self, uid: u32) {
        let before = self.last_uid();
        match self.recent.last_mut() {
            // Nothing is in between.
            Some((_, last)) if *last >= before => *last = uid,
            _ => self.recent.push((uid, uid)),
        }
    }

    /// UIDs whose EXPUNGE is owed.
    pub fn gone(&self) -> impl Iterator<Item = u32> + '_ {
        self.gone.iter().copied()
    }

    /// Whether an EXPUNGE is owed.
    pub fn owes_expunge(&self) -> bool {
        !self.gone.is_empty()
    }

    /// Tells what is owed and allowed.
    pub fn announce(&mut self, allowed: Allowed, out: &mut Out) {
        let mut recent_changed = false;
        if allowed == Allowed::Everything && !self.gone.is_empty() {
            recent_changed = self.announce_expunges(out);
        }
        if self.keywords.len() > self.told_keywords {
            self.told_keywords = self.keywords.len();
            out.say(&format!("* FLAGS ({})", self.flag_names()));
        }
        if self.rows.len() > self.told_count {
            for place in self.told_count..self.rows.len() {
                let Some(uid) = self.rows.uid(place) else { continue };
                recent_changed |= self.is_recent(uid);
                // What is new is fetched by the client; its flags need no announcement.
                self.dirty.remove(&uid);
            }
            self.told_count = self.rows.len();
            out.say(&format!("* {} EXISTS", self.rows.len()));
        }
        if recent_changed && self.says_recent {
            out.say(&format!("* {} RECENT", self.recent_count()));
        }
        for uid in std::mem::take(&mut self.dirty) {
            self.say_flags(uid, out);
        }
        if self.gone.is_empty() {
            self.told_modseq = self.modseq;
        }
    }

    /// Tells the flags of a message now, whatever is owed.
    pub fn say_flags(&self, uid: u32, out: &mut Out) {
        let Some(sequence) = self.sequence_of(uid) else { return };
        let Some(row) = self.row(sequence) else { return };
        out.fetch_head(self.uid_only, sequence, uid);
        if !self.uid_only {
            out.raw("UID ").number(u64::from(uid)).raw(" ");
        }
        out.raw("FLAGS ").flags(&row.flags, self.is_recent(uid));
        if self.condstore {
            out.raw(" MODSEQ (").number(row.modseq).raw(")");
        }
        out.say(")");
    }

    /// Those of some UIDs that are in the picture no more and that the client may believe in.
    pub fn missing(&self, uids: &Ranges) -> Ranges {
        let known: Vec<u32> = self.rows.uids().collect();
        uids.without(&known)
    }

    /// Says every EXPUNGE owed, from the last message to the first, so that no number shifts under
    /// the next; or VANISHED. True if a recent message went.
    fn announce_expunges(&mut self, out: &mut Out) -> bool {
        let gone = std::mem::take(&mut self.gone);
        let mut recent_went = false;
        let mut told_went = Vec::new();
        for uid in gone.iter().rev().copied() {
            // A message that came and went between two announcements was never told of.
            let place = self.rows.find(uid).ok().filter(|place| *place < self.told_count);
            if let Some(place) = place {
                told_went.push(uid);
                recent_went |= self.is_recent(uid);
                if !self.says_vanished && !self.uid_only {
                    out.say(&format!("* {} EXPUNGE", place + 1));
                }
            }
        }
        if self.says_vanished || self.uid_only {
            out.vanished("", &Ranges::of(told_went.iter().map(|uid| *uid..=*uid)));
        }
        self.told_count -= told_went.len();
        for (first, last) in Ranges::of(gone.iter().map(|uid| *uid..=*uid)).iter() {
            self.rows.remove(first..=last);
        }
        self.dirty.retain(|uid| !gone.contains(uid));
        self.withheld.retain(|uid| !gone.contains(uid));
        recent_went
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9051 appendix E.
    #[test]
    fn recent_is_said_in_imap4rev1_alone() {
        let row = |uid| Row { uid, modseq: 1, flags: Flags::none() };
        let mut view = View::new([1, 2, 3].map(row).into_iter().collect(), 1, 2);
        let said = |view: &View| {
            let mut out = Out::default();
            view.say_flags(3, &mut out);
            String::from_utf8(out.take_bytes()).expect("ASCII")
        };
        assert_eq!(said(&view), "* 3 FETCH (UID 3 FLAGS ())\r\n");
        view.says_recent = true;
        assert_eq!(said(&view), "* 3 FETCH (UID 3 FLAGS (\\Recent))\r\n");
        assert_eq!([1, 2, 3].map(|uid| view.is_recent(uid)), [false, true, true]);
    }
}
