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
use crate::set::{Ranges, SequenceSet};

/// A message as a session sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its UID.
    pub uid: u32,
    /// The modification sequence of its last change.
    pub modseq: u64,
    /// Its flags.
    pub flags: Flags,
    /// This session is the first to see it (RFC 3501 2.3.2).
    pub recent: bool,
}

/// What the store knows that the view does not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// The mailbox's modification sequence now.
    pub modseq: u64,
    /// New and changed messages, in any order.
    pub rows: Vec<Row>,
    /// UIDs that are gone, in any order; unknown ones are passed over.
    pub vanished: Vec<RangeInclusive<u32>>,
    /// What this one may do with the mailbox from now on, if that has changed.
    pub rights: Option<Rights>,
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
    rows: Vec<Row>,
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
    /// Say RECENT, which RFC 9051 dropped.
    pub says_recent: bool,
    /// Say VANISHED and not EXPUNGE (RFC 7162 3.2.10).
    pub says_vanished: bool,
    /// Say UIDFETCH and VANISHED: the client knows no sequence numbers (RFC 9586).
    pub uid_only: bool,
    /// New messages stay untold, and out of the picture (RFC 5465 3).
    pub hides_messages: bool,
    /// Flags that others change stay untold (RFC 5465 5.1).
    pub hides_flags: bool,
}

impl View {
    /// A mailbox just selected; `rows` sorted by UID.
    pub fn new(rows: Vec<Row>, modseq: u64) -> Self {
        let keywords: BTreeSet<Keyword> =
            rows.iter().flat_map(|row| row.flags.keywords()).cloned().collect();
        Self {
            told_count: rows.len(),
            told_keywords: keywords.len(),
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
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The message with this sequence number.
    pub fn row(&self, sequence: u32) -> Option<&Row> {
        self.rows.get(usize::try_from(sequence).ok()?.checked_sub(1)?)
    }

    /// The sequence number of a UID.
    pub fn sequence_of(&self, uid: u32) -> Option<u32> {
        let place = self.rows.binary_search_by_key(&uid, |row| row.uid).ok()?;
        u32::try_from(place + 1).ok()
    }

    /// How many messages there are.
    pub fn count(&self) -> u32 {
        u32::try_from(self.rows.len()).unwrap_or(u32::MAX)
    }

    /// The largest UID, 0 for an empty mailbox.
    pub fn last_uid(&self) -> u32 {
        self.rows.last().map_or(0, |row| row.uid)
    }

    /// How many messages are recent.
    pub fn recent_count(&self) -> usize {
        self.rows.iter().filter(|row| row.recent).count()
    }

    /// Sequence number of the first message without `\Seen`.
    pub fn first_unseen(&self) -> Option<u32> {
        let place = self.rows.iter().position(|row| !row.flags.has(SystemFlag::Seen))?;
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
                    let before = self.rows.partition_point(|row| row.uid < first);
                    let until = self.rows.partition_point(|row| row.uid <= last);
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
        if let Ok(place) = self.rows.binary_search_by_key(&uid, |row| row.uid)
            && let Some(row) = self.rows.get_mut(place)
        {
            self.keywords.extend(flags.keywords().iter().cloned());
            row.flags = flags;
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
            match self.rows.binary_search_by_key(&row.uid, |row| row.uid) {
                Ok(place) => {
                    let Some(known) = self.rows.get_mut(place) else { continue };
                    let news =
                        known.flags != row.flags || (self.condstore && known.modseq != row.modseq);
                    if news && !self.hides_flags {
                        self.dirty.insert(row.uid);
                    }
                    known.flags = row.flags;
                    known.modseq = row.modseq;
                }
                // Only what is above every known UID can be new; anything else was expunged here.
                Err(place) if place == self.rows.len() && !self.hides_messages => {
                    self.rows.push(row);
                }
                Err(_) => {}
            }
        }
        for gone in changes.vanished {
            let first = self.rows.partition_point(|row| row.uid < *gone.start());
            let known = self.rows.get(first..).unwrap_or_default().iter().map(|row| row.uid);
            self.gone.extend(known.take_while(|uid| uid <= gone.end()));
        }
        if !self.hides_messages {
            // What was left out comes again, once it may be told.
            self.modseq = self.modseq.max(changes.modseq);
        }
    }

    /// Messages that the next `announce` tells of for the first time.
    pub fn untold(&self) -> Vec<u32> {
        let news = self.rows.get(self.told_count..).unwrap_or_default();
        news.iter().map(|row| row.uid).collect()
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
            let news = self.rows.get(self.told_count..).unwrap_or_default();
            recent_changed |= news.iter().any(|row| row.recent);
            // What is new is fetched by the client; its flags need no announcement.
            for row in news {
                self.dirty.remove(&row.uid);
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
        out.raw("FLAGS ").flags(&row.flags, row.recent);
        if self.condstore {
            out.raw(" MODSEQ (").number(row.modseq).raw(")");
        }
        out.say(")");
    }

    /// Those of some UIDs that are in the picture no more and that the client may believe in.
    pub fn missing(&self, uids: &Ranges) -> Ranges {
        let known: Vec<u32> = self.rows.iter().map(|row| row.uid).collect();
        uids.without(&known)
    }

    /// Says every EXPUNGE owed, from the last message to the first, so that no number shifts under
    /// the next; or VANISHED. True if a recent message went.
    fn announce_expunges(&mut self, out: &mut Out) -> bool {
        let gone = std::mem::take(&mut self.gone);
        let mut recent_went = false;
        let mut told_went = Vec::new();
        for (place, row) in self.rows.iter().enumerate().rev() {
            // A message that came and went between two announcements was never told of.
            if gone.contains(&row.uid) && place < self.told_count {
                told_went.push(row.uid);
                recent_went |= row.recent;
                if !self.says_vanished && !self.uid_only {
                    out.say(&format!("* {} EXPUNGE", place + 1));
                }
            }
        }
        if self.says_vanished || self.uid_only {
            out.vanished("", &Ranges::of(told_went.iter().map(|uid| *uid..=*uid)));
        }
        self.told_count -= told_went.len();
        self.rows.retain(|row| !gone.contains(&row.uid));
        self.dirty.retain(|uid| !gone.contains(uid));
        recent_went
    }
}
