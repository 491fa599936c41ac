//! GENURLAUTH, URLFETCH and RESETKEY: messages that others may read, by a URL that is signed
//! (RFC 4467).
//!
//! Invariants: a URL is signed for its owner alone; what is over is not asked for; what one URL
//! names is in memory at a time.
//! Not here: keys, signatures, and whose messages they are (the driver).

use std::collections::VecDeque;

use super::{Job, Session};
use crate::machine::{Answer, Request, Why};
use crate::name::MailboxName;
use crate::response::Code;
use crate::url::ImapUrl;
use crate::view::Allowed;

/// The only mechanism there is (RFC 4467 2.4): how it works is the server's own business.
const INTERNAL: &str = "INTERNAL";

/// A GENURLAUTH or URLFETCH under way.
#[derive(Debug)]
pub(super) struct UrlJob {
    tag: String,
    /// The first is with the driver, if it is a URL that may be asked for.
    left: VecDeque<(String, Option<ImapUrl>)>,
    /// Those that are signed; of a URLFETCH none.
    signed: Vec<String>,
    fetches: bool,
}

impl Session {
    pub(super) fn gen_url_auth(&mut self, tag: String, urls: Vec<(String, String)>) {
        let mut left = VecDeque::new();
        for (text, mechanism) in urls {
            if mechanism != INTERNAL {
                return self.bad(&tag, "the mechanism is INTERNAL");
            }
            // RFC 4467 7: a whole URL that says whose it is and who may read it, and is not signed
            // yet.
            let url = ImapUrl::parse(&text).filter(|url| {
                let access = url.access.as_ref();
                url.owner().is_some() && access.is_some_and(|access| access.token.is_none())
            });
            let Some(url) = url else { return self.unsignable(&tag, text) };
            left.push_back((text, Some(url)));
        }
        self.url_step(UrlJob { tag, left, signed: Vec::new(), fetches: false });
    }

    pub(super) fn url_fetch(&mut self, tag: String, urls: Vec<String>) {
        let now_s = self.now_s;
        let readable = |text: String| {
            let url = ImapUrl::parse(&text).filter(|url| {
                let access = url.access.as_ref().filter(|access| !access.is_over(now_s));
                let token = access.and_then(|access| access.token.as_ref());
                url.server.is_some() && token.is_some_and(|(mechanism, _)| mechanism == INTERNAL)
            });
            (text, url)
        };
        let left = urls.into_iter().map(readable).collect();
        self.url_step(UrlJob { tag, left, signed: Vec::new(), fetches: true });
    }

    /// Asks for the next URL, or ends.
    fn url_step(&mut self, mut job: UrlJob) {
        loop {
            match job.left.front_mut() {
                Some((_, Some(url))) => {
                    let url = url.clone();
                    self.ask = Some(if job.fetches {
                        Request::UrlRead(url)
                    } else {
                        Request::UrlSign(url)
                    });
                    self.job = Some(Job::Url(Box::new(job)));
                    return;
                }
                Some(_) => {
                    if let Some((text, _)) = job.left.pop_front() {
                        self.fetched(&text, None);
                    }
                }
                None => return self.url_end(job),
            }
        }
    }

    fn url_end(&mut self, job: UrlJob) {
        let UrlJob { tag, signed, fetches, .. } = job;
        if fetches {
            return self.finish(&tag, "URLFETCH done", Allowed::Everything);
        }
        self.out.raw("* GENURLAUTH");
        for url in &signed {
            self.out.raw(" ").string(url.as_bytes());
        }
        self.out.line();
        self.finish(&tag, "GENURLAUTH done", Allowed::Everything);
    }

    pub(super) fn url_answered(&mut self, mut job: UrlJob, answer: Option<Answer>) {
        let text = job.left.pop_front().map(|(text, _)| text).unwrap_or_default();
        match answer {
            Some(Answer::UrlData(data)) if job.fetches => self.fetched(&text, data.as_deref()),
            Some(Answer::Signed(token)) if !job.fetches => {
                job.signed.push(format!("{text}:internal:{token}"));
            }
            Some(Answer::Refused(Why::NoSuchMailbox | Why::MessageGone)) if !job.fetches => {
                return self.unsignable(&job.tag, text);
            }
            answer => return self.misanswered(&job.tag, answer),
        }
        self.url_step(job);
    }

    /// RFC 4467 7: whatever is wrong with a URL, the answer is BAD.
    fn unsignable(&mut self, tag: &str, url: String) {
        let text = "the URL names no message of yours, or not who may read it";
        self.bad_with(tag, Some(&Code::BadUrl(url)), text);
    }

    /// RFC 4467 7: NIL for what cannot be had, whatever the reason.
    fn fetched(&mut self, url: &str, data: Option<&[u8]>) {
        self.out.raw("* URLFETCH ").string(url.as_bytes()).raw(" ");
        match data {
            Some(data) => self.out.literal(data),
            None => self.out.raw("NIL"),
        };
        self.out.line();
    }

    pub(super) fn reset_key(
        &mut self,
        tag: String,
        mailbox: Option<MailboxName>,
        mechanisms: &[String],
    ) {
        if mechanisms.iter().any(|mechanism| mechanism != INTERNAL) {
            return self.bad(&tag, "the mechanism is INTERNAL");
        }
        let all = mailbox.is_none();
        self.ask = Some(Request::UrlReset(mailbox));
        self.job = Some(Job::UrlReset { tag, all });
    }

    /// RFC 4467 7: a new key has mechanisms; where all keys are gone there is nothing to tell.
    pub(super) fn url_reset(&mut self, tag: String, all: bool, answer: Option<Answer>) {
        match answer {
            Some(Answer::Done) if all => {
                self.finish(&tag, "all keys are removed", Allowed::Everything);
            }
            Some(Answer::Done) => {
                let done = "RESETKEY done";
                let finish = super::messages::Finish::ok(tag, done, Allowed::Everything);
                let code = Some(Code::UrlMech);
                self.finish_with(super::messages::Finish { code, ..finish });
            }
            answer => self.misanswered(&tag, answer),
        }
    }
}
