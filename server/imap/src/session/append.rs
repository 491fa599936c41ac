//! Literals, and APPEND and REPLACE, whose messages stream through (RFC 9051 6.3.12, RFC 3502,
//! RFC 4469, RFC 8508).
//!
//! ```text
//!   text ─▶ pieces: Begin ─▶ Literal ─▶ End ─▶ … ─▶ Done ─▶ commit ─▶ answer
//!    ▲                        │ ▲
//!    └── the literal is over ─┘ └─ chunk by chunk to the store
//!   refused: the literal that was announced is not let in, the rest of the command is swallowed
//! ```
//! Invariants: a message is refused before it is sent where the client waits (`{n}`); OK is said
//! only after the store kept all of them for good; a refusal keeps none.
//! Not here: the grammar between the messages (`grammar::append`).

use std::collections::VecDeque;

use super::messages::Finish;
use super::{Job, Progress, STRANGER_BYTES_MAX, Session};
use crate::command::{Append, AppendPiece, Replaced};
use crate::cursor::{Cursor, Refusal};
use crate::framer::{Announcement, COMMAND_BYTES_MAX, Frame};
use crate::grammar::append::{self, Expects};
use crate::machine::{Answer, Request};
use crate::name::MailboxName;
use crate::response::Code;
use crate::set::{self, Point};
use crate::url::ImapUrl;
use crate::view::Allowed;

/// Most messages of one APPEND: they stand in memory by name, and in one transaction. Clients that
/// upload a mailbox send some dozens at a time.
const MESSAGES_MAX: usize = 1_000;

/// An APPEND under way.
#[derive(Debug)]
pub(super) struct AppendJob {
    tag: String,
    mailbox: MailboxName,
    /// The UID of the message that goes.
    replaces: Option<u32>,
    expects: Expects,
    /// What was read and is still to be done.
    pieces: VecDeque<AppendPiece>,
    /// A literal of a message waits to be let in.
    announced: Option<Announcement>,
    /// A literal comes in.
    receiving: Option<Announcement>,
    asked: Asked,
    messages: usize,
}

/// What the store was asked last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nothing,
    Message,
    Commit,
    /// To forget everything; the answer was given.
    Abort,
}

impl Session {
    /// A literal is announced.
    pub(super) fn announced(&mut self, announced: Announcement) {
        let so_far = self.framer.so_far().to_vec();
        match append::head(&so_far, self.dialect()) {
            None => self.collect_literal(announced, &so_far),
            Some(Err(refusal)) => {
                self.framer.refuse();
                self.refuse_input(&so_far, &refusal);
            }
            Some(Ok((tag, append, expects))) => {
                self.command = self.shown_name(&so_far);
                if !self.append(tag, append, expects, Some(announced)) {
                    self.framer.refuse();
                }
            }
        }
    }

    /// A literal that is a word of its command.
    fn collect_literal(&mut self, announced: Announcement, so_far: &[u8]) {
        let most = if self.is_authenticated() { COMMAND_BYTES_MAX } else { STRANGER_BYTES_MAX };
        let room = (most as u64).saturating_sub(so_far.len() as u64);
        if announced.size > room {
            self.framer.refuse();
            let text = format!("a command may have at most {most} bytes, its literals included");
            return self.bad_input(so_far, None, &text);
        }
        self.framer.collect();
        if announced.synchronizing {
            self.out.say("+ go on");
        }
    }

    /// An APPEND or REPLACE begins. False: it was refused.
    pub(super) fn append(
        &mut self,
        tag: String,
        append: Append,
        expects: Expects,
        announced: Option<Announcement>,
    ) -> bool {
        let Append { mailbox, replaces, pieces } = append;
        if !self.is_authenticated() {
            self.bad(&tag, "log in first");
            return false;
        }
        let replaces = match replaces {
            None => None,
            Some(replaced) => match self.replaced_uid(&tag, replaced) {
                Some(uid) => Some(uid),
                None => return false,
            },
        };
        self.job = Some(Job::Append(AppendJob {
            tag,
            mailbox,
            replaces,
            expects,
            pieces: pieces.into(),
            announced,
            receiving: None,
            asked: Asked::Nothing,
            messages: 0,
        }));
        true
    }

    /// The UID of the message REPLACE names; `None`: it was refused.
    fn replaced_uid(&mut self, tag: &str, replaced: Replaced) -> Option<u32> {
        let Replaced { uid, number } = replaced;
        if self.selected().is_none() {
            self.bad(tag, "select a mailbox first");
            return None;
        }
        if !uid && self.enabled.uid_only {
            self.uid_required(tag);
            return None;
        }
        if self.is_read_only() {
            self.no(tag, Some(&Code::ReadOnly), "the mailbox was opened with EXAMINE");
            return None;
        }
        let view = &self.selected()?.view;
        let row = match (number, uid) {
            (Point::Last, _) => view.rows().last(),
            (Point::Number(number), true) => {
                view.sequence_of(number).and_then(|sequence| view.row(sequence))
            }
            (Point::Number(number), false) => view.row(number),
        };
        let found = row.map(|row| row.uid);
        match (found, uid) {
            (None, true) => self.no(tag, Some(&Code::Nonexistent), "there is no such message"),
            (None, false) => self.bad(tag, "there is no such message"),
            _ => {}
        }
        found
    }

    pub(super) fn append_step(&mut self, mut job: AppendJob, answer: Option<Answer>) -> Progress {
        match (std::mem::replace(&mut job.asked, Asked::Nothing), answer) {
            (Asked::Nothing, _) | (Asked::Message, Some(Answer::Done)) => {}
            (Asked::Abort, _) => return Progress::Made,
            (Asked::Commit, Some(Answer::Appended { uid_validity, uids })) => {
                self.appended(job, uid_validity, &uids);
                return Progress::Made;
            }
            (_, answer) => {
                self.append_refused(job, answer);
                return Progress::Made;
            }
        }
        if let Some(announced) = job.receiving {
            return self.append_receive(job, announced);
        }
        match job.pieces.pop_front() {
            Some(piece) => self.append_piece(job, piece),
            None => return self.append_read(job),
        }
        Progress::Made
    }

    /// Takes the message's next bytes.
    fn append_receive(&mut self, mut job: AppendJob, announced: Announcement) -> Progress {
        let Some(frame) = self.next_frame() else {
            self.job = Some(Job::Append(job));
            return Progress::NeedsInput;
        };
        match frame {
            Frame::Chunk(bytes) if bytes.is_empty() => {
                job.receiving = None;
                self.job = Some(Job::Append(job));
            }
            Frame::Chunk(bytes) if announced.binary && bytes.contains(&0) => {
                // RFC 3516 4.4: BODY[] could not give it back, whose literals hold no NUL.
                let text = "a message here cannot hold NUL outside of an encoding";
                self.append_no(job, &Code::UnknownCte, text);
            }
            Frame::Chunk(bytes) => self.append_ask(job, Request::AppendChunk(bytes)),
            _ => self.job = Some(Job::Append(job)),
        }
        Progress::Made
    }

    /// Reads on behind a literal.
    fn append_read(&mut self, mut job: AppendJob) -> Progress {
        let Some(frame) = self.next_frame() else {
            self.job = Some(Job::Append(job));
            return Progress::NeedsInput;
        };
        let (text, announced) = match frame {
            Frame::Announced(announced) => (self.framer.so_far().to_vec(), Some(announced)),
            Frame::Command(text) => (text, None),
            Frame::TooLong(_) | Frame::Chunk(_) => {
                self.bad(&job.tag, "what stands between the messages is too long");
                self.append_abort(job);
                return Progress::Made;
            }
        };
        let mut expects = job.expects;
        match append::pieces(&mut Cursor::new(&text), &mut expects, announced.is_some()) {
            Ok(Some(pieces)) => {
                (job.expects, job.pieces, job.announced) = (expects, pieces.into(), announced);
                self.job = Some(Job::Append(job));
            }
            Ok(None) => match announced {
                Some(literal) if literal.size <= (COMMAND_BYTES_MAX - text.len()) as u64 => {
                    self.framer.collect();
                    if literal.synchronizing {
                        self.out.say("+ go on");
                    }
                    self.job = Some(Job::Append(job));
                }
                _ => {
                    job.announced = announced;
                    self.append_bad(job, "a URL may have at most 8192 bytes");
                }
            },
            Err(refusal) => {
                job.announced = announced;
                match refusal {
                    Refusal::Bad(text) | Refusal::BadWith(_, text) => self.append_bad(job, &text),
                    Refusal::No(code, text) => {
                        self.append_no(job, &code.unwrap_or(Code::Cannot), &text);
                    }
                }
            }
        }
        Progress::Made
    }

    fn append_piece(&mut self, mut job: AppendJob, piece: AppendPiece) {
        match piece {
            AppendPiece::Begin(..) if job.messages == MESSAGES_MAX => {
                let text = format!("APPEND takes at most {MESSAGES_MAX} messages");
                self.append_no(job, &Code::Limit, &text);
            }
            // RFC 8508 5: its grammar has one message.
            AppendPiece::Begin(..) if job.replaces.is_some() && job.messages == 1 => {
                self.append_bad(job, "REPLACE takes one message");
            }
            AppendPiece::Begin(flags, date) => {
                job.messages += 1;
                let (mailbox, replaces) = (job.mailbox.clone(), job.replaces.is_some());
                self.append_ask(job, Request::AppendBegin { mailbox, flags, date, replaces });
            }
            AppendPiece::Url(text) => self.append_url(job, text),
            AppendPiece::Literal { part } => self.append_literal(job, part),
            AppendPiece::End => self.append_ask(job, Request::AppendEnd),
            AppendPiece::Done => {
                let replaces = job.replaces;
                self.append_ask(job, Request::AppendCommit { replaces });
            }
        }
    }

    fn append_url(&mut self, job: AppendJob, text: String) {
        let selected = self.selected().map(|selected| &selected.name);
        match ImapUrl::parse_relative(&text, selected) {
            // RFC 4467 6.2: what is signed may be over.
            Some(url) if !url.access.as_ref().is_some_and(|one| one.is_over(self.now_s)) => {
                self.append_ask(job, Request::AppendUrl(url));
            }
            _ => self.append_no(job, &Code::BadUrl(text), "the URL names no message"),
        }
    }

    /// Lets a literal of a message in, if it may come.
    fn append_literal(&mut self, mut job: AppendJob, part: bool) {
        let most = self.settings.append_bytes_max;
        let Some(announced) = job.announced else {
            return self.append_bad(job, "expected a literal");
        };
        if announced.size > most {
            let text = format!("a message may have at most {most} bytes");
            return self.append_no(job, &Code::TooBig, &text);
        }
        if announced.size == 0 && !part {
            // RFC 3502 6.3.11: an empty message cancels.
            return self.append_no(job, &Code::Cannot, "the message is empty");
        }
        self.framer.stream();
        if announced.synchronizing {
            self.out.say("+ send the message");
        }
        (job.announced, job.receiving) = (None, Some(announced));
        self.job = Some(Job::Append(job));
    }

    /// Everything is kept.
    fn appended(&mut self, job: AppendJob, uid_validity: u32, uids: &[u32]) {
        let code = Code::AppendUid(uid_validity, set::print(uids));
        let allowed = Allowed::Everything;
        let mut finish = Finish::ok(job.tag, "APPEND done", allowed);
        if job.replaces.is_some() {
            // RFC 8508 4.3: the new message is told of before the old one goes.
            self.out.status("OK", Some(&code), "the new message is there");
            finish = Finish { text: "REPLACE done".to_owned(), says_modseq: true, ..finish };
        } else {
            finish.code = Some(code);
        }
        self.finish_with(finish);
    }

    fn append_ask(&mut self, mut job: AppendJob, request: Request) {
        let commits = matches!(request, Request::AppendCommit { .. });
        job.asked = if commits { Asked::Commit } else { Asked::Message };
        self.ask = Some(request);
        self.job = Some(Job::Append(job));
    }

    /// The store said no. RFC 9051 6.3.12: where there is no such mailbox, CREATE would help.
    fn append_refused(&mut self, job: AppendJob, answer: Option<Answer>) {
        match answer {
            Some(Answer::Refused(why)) => self.refused(&job.tag, why, Code::TryCreate),
            answer => self.misanswered(&job.tag, answer),
        }
        self.append_abort(job);
    }

    fn append_no(&mut self, job: AppendJob, code: &Code, text: &str) {
        self.no(&job.tag, Some(code), text);
        self.append_abort(job);
    }

    fn append_bad(&mut self, job: AppendJob, text: &str) {
        self.bad(&job.tag, text);
        self.append_abort(job);
    }

    /// Swallows what is left of the command, and has the store forget what came.
    fn append_abort(&mut self, mut job: AppendJob) {
        if self.farewell.is_some() {
            return;
        }
        if job.announced.is_some() {
            self.framer.refuse();
        } else if job.receiving.is_some() {
            self.framer.skip_command();
        }
        self.ask = Some(Request::AppendAbort);
        job.asked = Asked::Abort;
        self.job = Some(Job::Append(job));
    }
}
