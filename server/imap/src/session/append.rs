//! Literals, and APPEND, whose message streams through (RFC 9051 6.3.12).
//!
//! ```text
//!   Opening ──Done──▶ Receiving ──chunk, Done──▶ Receiving ──all──▶ Tail ──▶ Committing ──▶ answer
//!      └─refused: the literal is not let in      └─refused: the rest is swallowed
//! ```
//! Invariants: a message is refused before it is sent where the client waits (`{n}`); OK is said
//! only after the store kept it for good.
//! Not here: the grammar before the message (`grammar::mailbox`).

use super::messages::Finish;
use super::{Job, Progress, STRANGER_BYTES_MAX, Session};
use crate::command::AppendHead;
use crate::framer::{Announcement, COMMAND_BYTES_MAX, Frame};
use crate::grammar;
use crate::machine::{Answer, Request, Why};
use crate::response::Code;
use crate::view::Allowed;

/// An APPEND under way.
#[derive(Debug)]
pub(super) struct AppendJob {
    tag: String,
    utf8: bool,
    step: Step,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// The store is asked whether the message may come.
    Opening { synchronizing: bool },
    /// Bytes come. `asked`: a chunk is with the store.
    Receiving { asked: bool },
    /// The rest of the command line comes.
    Tail,
    /// The store is asked to keep the message.
    Committing,
    /// The store is asked to forget it; the answer was given.
    Aborting,
}

impl Session {
    /// A literal is announced.
    pub(super) fn announced(&mut self, announced: Announcement) {
        let so_far = self.framer.so_far().to_vec();
        if let Some(head) = grammar::mailbox::append_head(&so_far, self.dialect()) {
            return self.append_announced(announced, &so_far, head);
        }
        let most = if self.is_authenticated() { COMMAND_BYTES_MAX } else { STRANGER_BYTES_MAX };
        let room = (most as u64).saturating_sub(so_far.len() as u64);
        if announced.size > room {
            self.framer.refuse();
            let text = format!("a command may have at most {most} bytes, its literals included");
            return self.bad_input(&so_far, &text);
        }
        self.framer.collect();
        if announced.synchronizing {
            self.out.say("+ go on");
        }
    }

    fn append_announced(
        &mut self,
        announced: Announcement,
        so_far: &[u8],
        head: Result<AppendHead, crate::cursor::Refusal>,
    ) {
        self.command = "APPEND".to_owned();
        let head = match head {
            Ok(head) => head,
            Err(refusal) => {
                self.framer.refuse();
                return self.refuse_input(so_far, &refusal);
            }
        };
        if !self.is_authenticated() {
            self.framer.refuse();
            return self.bad(&head.tag, "log in first");
        }
        let most = self.settings.append_bytes_max;
        if announced.size > most {
            self.framer.refuse();
            let text = format!("a message may have at most {most} bytes");
            return self.no(&head.tag, Some(&Code::TooBig), &text);
        }
        if announced.size == 0 {
            // RFC 3502 6.3.11: an empty message cancels.
            self.framer.refuse();
            return self.no(&head.tag, Some(&Code::Cannot), "the message is empty");
        }
        self.bad_in_row = 0;
        let AppendHead { tag, mailbox, flags, date, utf8 } = head;
        self.ask = Some(Request::AppendBegin { mailbox, flags, date, size: announced.size });
        let step = Step::Opening { synchronizing: announced.synchronizing };
        self.job = Some(Job::Append(AppendJob { tag, utf8, step }));
    }

    pub(super) fn append_step(&mut self, job: AppendJob, answer: Option<Answer>) -> Progress {
        match (job.step, answer) {
            (Step::Opening { synchronizing }, Some(Answer::Done)) => {
                self.framer.stream();
                if synchronizing {
                    self.out.say("+ send the message");
                }
                self.append_to(job, Step::Receiving { asked: false });
            }
            (Step::Opening { .. }, answer) => {
                self.framer.refuse();
                self.append_refused(&job.tag, answer);
            }
            (Step::Receiving { asked: true }, Some(Answer::Done)) => {
                self.append_to(job, Step::Receiving { asked: false });
            }
            (Step::Receiving { asked: true }, answer) => {
                self.framer.skip_command();
                self.append_refused(&job.tag, answer);
                self.append_abort(job);
            }
            (Step::Receiving { asked: false } | Step::Tail, _) => return self.append_input(job),
            (Step::Committing, Some(Answer::Appended { uid_validity, uid })) => {
                let code = Some(Code::AppendUid(uid_validity, uid));
                let text = "APPEND done".to_owned();
                let allowed = Allowed::Everything;
                self.finish_with(Finish { tag: job.tag, status: "OK", code, text, allowed });
            }
            (Step::Committing, answer) => self.append_refused(&job.tag, answer),
            (Step::Aborting, _) => {}
        }
        Progress::Made
    }

    fn append_to(&mut self, job: AppendJob, step: Step) {
        self.job = Some(Job::Append(AppendJob { step, ..job }));
    }

    fn append_abort(&mut self, job: AppendJob) {
        self.ask = Some(Request::AppendAbort);
        self.append_to(job, Step::Aborting);
    }

    /// RFC 9051 6.3.12: where there is no such mailbox, CREATE would help.
    fn append_refused(&mut self, tag: &str, answer: Option<Answer>) {
        match answer {
            Some(Answer::Refused(why @ Why::NoSuchMailbox)) => {
                self.refused(tag, why, Code::TryCreate);
            }
            answer => self.misanswered(tag, answer),
        }
    }

    /// Takes the message's next bytes, or the command's tail.
    fn append_input(&mut self, job: AppendJob) -> Progress {
        let Some(frame) = self.framer.next_frame() else {
            self.job = Some(Job::Append(job));
            return Progress::NeedsInput;
        };
        let end: &[u8] = if job.utf8 { b")" } else { b"" };
        match frame {
            Frame::Chunk(bytes) if bytes.is_empty() => self.append_to(job, Step::Tail),
            Frame::Chunk(bytes) => {
                self.ask = Some(Request::AppendChunk(bytes));
                self.append_to(job, Step::Receiving { asked: true });
            }
            Frame::Command(tail) if tail.trim_ascii_end() == end => {
                self.ask = Some(Request::AppendCommit);
                self.append_to(job, Step::Committing);
            }
            Frame::Announced(_) => {
                self.framer.refuse();
                self.bad(&job.tag, "APPEND takes one message (MULTIAPPEND is not offered)");
                self.append_abort(job);
            }
            Frame::Command(_) | Frame::TooLong(_) => {
                self.bad(&job.tag, "expected the end of the line after the message");
                self.append_abort(job);
            }
        }
        Progress::Made
    }
}
