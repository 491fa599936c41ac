//! What a client believes of its mailbox: made of what it is told, and of nothing else.
//!
//! Invariants, each a complaint where it does not hold:
//! - EXPUNGE and VANISHED come when they may (RFC 9051 7.5.1, RFC 7162 3.2.10), and speak of
//!   messages the client knows;
//! - EXISTS never shrinks the mailbox (RFC 9051 7.4.1); UIDs ascend with numbers, a number keeps
//!   its UID until an EXPUNGE; what is new has a UID above all before;
//! - mod-sequences of a message and of the mailbox do not go back (RFC 7162 3.1);
//! - news carry UID and MODSEQ where RFC 7162 3.2.4 asks for it.
//!
//! Not here: whether that is true ([`crate::stress`] knows).

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::syntax::{Fetched, Response, Status};

/// Which dialect a session speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dialect {
    /// Mod-sequences are told (RFC 7162 3.1).
    pub condstore: bool,
    /// VANISHED takes the place of EXPUNGE (RFC 7162 3.2).
    pub qresync: bool,
    /// Messages have no numbers (RFC 9586).
    pub uid_only: bool,
    /// IMAP4rev2 (RFC 9051).
    pub rev2: bool,
}

/// What may come now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// EXPUNGE or VANISHED.
    pub expunges: bool,
    /// Every FETCH is news that nobody asked for.
    pub news: bool,
}

/// After a command that tells nothing of messages by itself.
pub const ANY: Moment = Moment { expunges: true, news: true };

/// A message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Its UID, once it was told.
    pub uid: Option<u32>,
    /// Its flags, once they were told.
    pub flags: Option<BTreeSet<String>>,
    /// The newest mod-sequence that was told, or 0.
    pub modseq: u64,
}

/// The mailbox as the client believes it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Picture {
    /// How this session speaks.
    pub dialect: Dialect,
    /// UIDVALIDITY.
    pub validity: u32,
    /// The mailbox's mod-sequence that was told last.
    pub highest: u64,
    /// UIDNEXT at SELECT: what comes later is not below.
    pub uid_next: u32,
    /// Messages by number.
    pub mails: Vec<Known>,
}

impl Picture {
    /// Of a mailbox nothing is known of.
    #[must_use]
    pub fn new(dialect: Dialect) -> Self {
        Self { dialect, ..Self::default() }
    }

    /// The UIDs that are known, ascending.
    #[must_use]
    pub fn uids(&self) -> Vec<u32> {
        self.mails.iter().filter_map(|mail| mail.uid).collect()
    }

    /// The message of this UID.
    #[must_use]
    pub fn mail(&self, uid: u32) -> Option<&Known> {
        self.mails.iter().find(|mail| mail.uid == Some(uid))
    }

    /// Number of the first message whose UID or flags are not known.
    #[must_use]
    pub fn first_unknown(&self) -> Option<usize> {
        let place = self.mails.iter().position(|mail| mail.uid.is_none() || mail.flags.is_none());
        place.map(|place| place + 1)
    }

    /// What is known after a SELECT with QRESYNC: what was known before, without what vanished,
    /// with what changed (RFC 7162 3.2.5).
    ///
    /// # Errors
    /// What was told does not add up to the number of messages.
    pub fn resynced(&self, told: &[Response], end: &Status) -> Result<Self, String> {
        let vanished = |response: &Response| match response {
            Response::Vanished(true, gone) => gone.clone(),
            _ => Vec::new(),
        };
        let gone: Vec<RangeInclusive<u32>> = told.iter().flat_map(vanished).collect();
        let is_gone = |uid: u32| gone.iter().any(|range| range.contains(&uid));
        let mut kept = self.mails.clone();
        kept.retain(|mail| mail.uid.is_some_and(|uid| !is_gone(uid)));
        let mut picture = Self::new(self.dialect);
        let mut exists = None;
        for response in told {
            if let Response::Exists(count) = response {
                exists = usize::try_from(*count).ok();
                picture.mails = std::mem::take(&mut kept);
            }
            picture.hear(response, ANY)?;
        }
        picture.status(end)?;
        match exists {
            Some(count) if count == picture.mails.len() => Ok(picture),
            exists => Err(format!("{} are known of {exists:?}", picture.mails.len())),
        }
    }

    /// Takes in what was told.
    ///
    /// # Errors
    /// It may not be told now, or cannot be true.
    pub fn hear(&mut self, response: &Response, moment: Moment) -> Result<(), String> {
        let heard = match response {
            Response::Exists(count) => self.exists(*count),
            Response::Expunge(number) => self.expunge(*number, moment),
            Response::Fetch(number, fetched) => self.fetch(*number, fetched, moment),
            Response::UidFetch(uid, fetched) => self.uid_fetch(*uid, fetched, moment),
            Response::Vanished(earlier, gone) => self.vanished(*earlier, gone, moment),
            Response::Status(status) => self.status(status),
            _ => Ok(()),
        };
        heard.map_err(|why| format!("{why}: {response:?} with {} messages", self.mails.len()))
    }

    /// Takes in the code of a status response.
    ///
    /// # Errors
    /// It cannot be true.
    pub fn status(&mut self, status: &Status) -> Result<(), String> {
        let words: Vec<&str> = status.code.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["HIGHESTMODSEQ", modseq] => {
                let modseq: u64 = modseq.parse().map_err(|_| "no number".to_owned())?;
                if modseq < self.highest {
                    return Err(format!("HIGHESTMODSEQ went back from {}", self.highest));
                }
                self.highest = modseq;
            }
            ["UIDVALIDITY", validity] => {
                self.validity = validity.parse().map_err(|_| "no number".to_owned())?;
            }
            ["UIDNEXT", next] => {
                self.uid_next = next.parse().map_err(|_| "no number".to_owned())?;
            }
            _ => {}
        }
        Ok(())
    }

    fn exists(&mut self, count: u32) -> Result<(), String> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count < self.mails.len() {
            return Err("EXISTS shrinks the mailbox".to_owned());
        }
        self.mails.resize(count, Known::default());
        Ok(())
    }

    fn expunge(&mut self, number: u32, moment: Moment) -> Result<(), String> {
        if !moment.expunges {
            return Err("an EXPUNGE at a forbidden moment".to_owned());
        }
        if self.dialect.qresync || self.dialect.uid_only {
            return Err("an EXPUNGE where VANISHED was asked for".to_owned());
        }
        let place = self.place(number)?;
        self.mails.remove(place);
        Ok(())
    }

    fn place(&self, number: u32) -> Result<usize, String> {
        let place = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        let place = place.filter(|place| *place < self.mails.len());
        place.ok_or_else(|| "a number that no message has".to_owned())
    }

    fn fetch(&mut self, number: u32, fetched: &Fetched, moment: Moment) -> Result<(), String> {
        if self.dialect.uid_only {
            return Err("a FETCH where UIDFETCH was asked for".to_owned());
        }
        let place = self.place(number)?;
        if moment.news && self.dialect.qresync && fetched.uid.is_none() {
            return Err("news without a UID".to_owned());
        }
        self.learn(place, fetched, moment)
    }

    fn uid_fetch(&mut self, uid: u32, fetched: &Fetched, moment: Moment) -> Result<(), String> {
        if !self.dialect.uid_only {
            return Err("a UIDFETCH nobody asked for".to_owned());
        }
        let known = self.mails.iter().position(|mail| mail.uid == Some(uid));
        let place = known.or_else(|| self.make_room(uid));
        let place = place.ok_or_else(|| "a UID that no message has".to_owned())?;
        self.learn(place, &Fetched { uid: Some(uid), ..fetched.clone() }, moment)
    }

    /// Takes one of those that are not known to be this one. Without numbers nobody says which:
    /// those that are left stay in front, and are asked for from there on.
    fn make_room(&mut self, uid: u32) -> Option<usize> {
        let unknown = self.mails.iter().rposition(|mail| mail.uid.is_none())?;
        self.mails.remove(unknown);
        let above = self.mails.iter().position(|mail| mail.uid.is_some_and(|it| it > uid));
        let place = above.unwrap_or(self.mails.len());
        self.mails.insert(place, Known::default());
        Some(place)
    }

    fn learn(&mut self, place: usize, fetched: &Fetched, moment: Moment) -> Result<(), String> {
        if moment.news && self.dialect.condstore && fetched.modseq.is_none() {
            return Err("news without MODSEQ".to_owned());
        }
        if let Some(uid) = fetched.uid {
            let (before, from) = self.mails.split_at(place);
            let mut after = from.iter().skip(1).filter_map(|mail| mail.uid);
            let mut before = before.iter().filter_map(|mail| mail.uid);
            if before.any(|other| other >= uid) || after.any(|other| other <= uid) {
                return Err("UIDs do not ascend".to_owned());
            }
        }
        let mail = self.mails.get_mut(place).ok_or("no such message")?;
        if let Some(uid) = fetched.uid {
            if mail.uid.is_some_and(|known| known != uid) {
                return Err(format!("{mail:?} has another UID now"));
            }
            mail.uid = Some(uid);
        }
        if let Some(modseq) = fetched.modseq {
            if modseq < mail.modseq {
                return Err(format!("the mod-sequence of {mail:?} went back"));
            }
            mail.modseq = modseq;
        }
        if let Some(flags) = &fetched.flags {
            mail.flags = Some(flags.clone());
        }
        Ok(())
    }

    fn vanished(
        &mut self,
        earlier: bool,
        gone: &[RangeInclusive<u32>],
        moment: Moment,
    ) -> Result<(), String> {
        let is_gone = |uid: u32| gone.iter().any(|range| range.contains(&uid));
        if earlier {
            // Told beside a SELECT or FETCH that asked for it: what is there is not gone.
            return match self.uids().into_iter().find(|uid| is_gone(*uid)) {
                Some(uid) => Err(format!("UID {uid} is there")),
                None => Ok(()),
            };
        }
        if !moment.expunges {
            return Err("VANISHED at a forbidden moment".to_owned());
        }
        if !self.dialect.qresync && !self.dialect.uid_only {
            return Err("a VANISHED nobody asked for".to_owned());
        }
        for uid in gone.iter().flat_map(Clone::clone) {
            let known = self.mails.iter().position(|mail| mail.uid == Some(uid));
            let unknown = || {
                let above = |mail: &Known| mail.uid.is_some_and(|other| other > uid);
                if self.dialect.uid_only {
                    return self.mails.iter().rposition(|mail| mail.uid.is_none());
                }
                let end = self.mails.iter().position(above).unwrap_or(self.mails.len());
                self.mails.get(..end)?.iter().rposition(|mail| mail.uid.is_none())
            };
            let place = known.or_else(unknown);
            let place = place.ok_or_else(|| format!("UID {uid} was not there"))?;
            self.mails.remove(place);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::syntax;
    use super::*;

    fn told(picture: &mut Picture, line: &str, moment: Moment) -> Result<(), String> {
        picture.hear(&syntax::response(line.as_bytes()).expect("well formed"), moment)
    }

    #[test]
    fn what_cannot_be_is_seen() {
        let quiet = Moment { expunges: false, news: false };
        let mut picture = Picture::new(Dialect::default());
        for line in ["* 3 EXISTS", "* 2 FETCH (UID 5 FLAGS ())", "* 1 EXPUNGE"] {
            told(&mut picture, line, ANY).expect("that may be");
        }
        assert_eq!(picture.uids(), [5]);
        for line in ["* 1 EXISTS", "* 3 EXPUNGE", "* 1 FETCH (UID 6)", "* 2 FETCH (UID 4)"] {
            assert!(told(&mut picture.clone(), line, ANY).is_err(), "{line}");
        }
        assert!(told(&mut picture.clone(), "* 1 EXPUNGE", quiet).is_err());
        assert!(told(&mut picture, "* VANISHED 5", ANY).is_err());
        let dialect = Dialect { condstore: true, qresync: true, ..Dialect::default() };
        let mut picture = Picture::new(dialect);
        for line in ["* 3 EXISTS", "* 1 FETCH (UID 5 FLAGS () MODSEQ (7))", "* VANISHED 9"] {
            told(&mut picture, line, ANY).expect("that may be");
        }
        assert_eq!(picture.mails.len(), 2);
        for line in
            ["* 1 FETCH (UID 5 FLAGS ())", "* 1 FETCH (UID 5 MODSEQ (6))", "* VANISHED (EARLIER) 5"]
        {
            assert!(told(&mut picture.clone(), line, ANY).is_err(), "{line}");
        }
    }
}
