//! Before the login: CAPABILITY, ID, STARTTLS, LOGIN, AUTHENTICATE, ENABLE.
//!
//! Invariants: no password is accepted in the clear unless the settings allow it; what was
//! pipelined behind STARTTLS is thrown away; a capability is named only if it is done.
//! Not here: checking passwords and slowing down guessers (the driver).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Job, Progress, Session, Stage};
use crate::command::Secret;
use crate::machine::{Action, Answer, Request};
use crate::response::Code;

/// A login that the store is asked about.
#[derive(Debug)]
pub(super) struct LoginJob {
    tag: String,
    done: &'static str,
}

/// An AUTHENTICATE that waits for the client's next line.
#[derive(Debug)]
pub(super) struct Sasl {
    tag: String,
    step: SaslStep,
}

#[derive(Debug)]
enum SaslStep {
    Plain,
    /// AUTH=LOGIN asks for the user name, then for the password.
    LoginName,
    LoginPassword {
        login: String,
    },
    /// The driver reads the lines.
    Driver,
}

/// What every session may use, whoever it is.
const ALWAYS: &str = "IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE IDLE";

/// What a session may use once logged in.
const AFTER_LOGIN: &str = "NAMESPACE UNSELECT UIDPLUS MOVE CHILDREN SPECIAL-USE CREATE-SPECIAL-USE \
                           LIST-EXTENDED LIST-STATUS LIST-METADATA STATUS=SIZE METADATA ESEARCH \
                           SEARCHRES SEARCH=FUZZY MULTISEARCH FILTERS PARTIAL WITHIN SORT \
                           SORT=DISPLAY ESORT THREAD=ORDEREDSUBJECT THREAD=REFERENCES THREAD=REFS \
                           CONTEXT=SEARCH CONTEXT=SORT BINARY CONDSTORE QRESYNC UIDONLY \
                           UTF8=ACCEPT MULTIAPPEND CATENATE REPLACE OBJECTID SAVEDATE PREVIEW \
                           INPROGRESS ACL RIGHTS=kxte LIST-MYRIGHTS QUOTA QUOTA=RES-STORAGE \
                           QUOTA=RES-MESSAGE NOTIFY URLAUTH URL-PARTIAL UNAUTHENTICATE";

impl Session {
    /// What is offered in this state (RFC 9051 6.1.1).
    pub(super) fn capabilities(&self) -> String {
        if self.is_authenticated() {
            let most = self.settings.append_bytes_max;
            // RFC 4978 3: not offered where it is on.
            let compress = if self.compressed { "" } else { " COMPRESS=DEFLATE" };
            return format!("{ALWAYS} {AFTER_LOGIN}{compress} APPENDLIMIT={most}");
        }
        let mut names = ALWAYS.to_owned();
        if self.settings.offers_starttls && !self.settings.tls {
            names.push_str(" STARTTLS");
        }
        // RFC 9051 6.2.3: LOGINDISABLED where a password would travel in the clear.
        if !self.may_login() {
            return names + " LOGINDISABLED";
        }
        for name in self.settings.sasl.iter().chain(&["PLAIN", "LOGIN"]) {
            names.push_str(" AUTH=");
            names.push_str(name);
        }
        names
    }

    fn may_login(&self) -> bool {
        self.settings.tls || self.settings.plain_login
    }

    pub(super) fn id(&mut self, tag: &str, pairs: &[(String, Option<String>)]) {
        let of = |wanted: &str| {
            let found = pairs.iter().find(|(field, _)| field.eq_ignore_ascii_case(wanted));
            found.and_then(|(_, value)| value.clone())
        };
        let words: Vec<String> = ["name", "version"].into_iter().filter_map(of).collect();
        if !words.is_empty() {
            self.notes.push_back(Action::Introduced(words.join(" ")));
        }
        self.out.raw("* ID (\"name\" \"Grace\" \"version\" ");
        self.out.string(self.settings.version.as_bytes()).say(")");
        self.ok(tag, None, "ID done");
    }

    pub(super) fn start_tls(&mut self, tag: &str) {
        if self.settings.tls {
            return self.bad(tag, "TLS is up already");
        }
        if !self.settings.offers_starttls {
            return self.no(tag, Some(&Code::Unavailable), "there is no TLS here");
        }
        self.ok(tag, None, "begin TLS now");
        // RFC 9051 6.2.1: what came in the clear behind STARTTLS must not count as protected.
        self.framer.forget();
        self.switch = Some(Action::StartTls);
    }

    pub(super) fn login(&mut self, tag: String, login: String, password: Secret) {
        if !self.may_login() {
            return self.no(&tag, Some(&Code::PrivacyRequired), "begin TLS before you log in");
        }
        self.ask_login(tag, login, password, "LOGIN", "LOGIN done");
    }

    fn ask_login(
        &mut self,
        tag: String,
        login: String,
        password: Secret,
        mechanism: &'static str,
        done: &'static str,
    ) {
        self.ask = Some(Request::Login { login, password, mechanism });
        self.job = Some(Job::Login(LoginJob { tag, done }));
    }

    pub(super) fn login_answered(&mut self, job: &LoginJob, answer: Option<Answer>) {
        match answer {
            Some(Answer::Done) => {
                self.stage = Stage::Authenticated;
                let code = Code::Capability(self.capabilities());
                self.ok(&job.tag, Some(&code), job.done);
            }
            Some(Answer::Challenge(text)) => {
                self.out.say(&format!("+ {text}"));
                let sasl = Sasl { tag: job.tag.clone(), step: SaslStep::Driver };
                self.job = Some(Job::Sasl(sasl));
            }
            answer => {
                self.misanswered(&job.tag, answer);
                self.logins_failed += 1;
                if self.logins_failed >= self.settings.login_failures_max {
                    self.bye(None, "too many failed logins");
                }
            }
        }
    }

    pub(super) fn authenticate(&mut self, tag: String, mechanism: &str, initial: Option<Vec<u8>>) {
        if !self.may_login() {
            return self.no(&tag, Some(&Code::PrivacyRequired), "begin TLS before you log in");
        }
        if let Some(&mechanism) = self.settings.sasl.iter().find(|name| **name == mechanism) {
            return self.ask_sasl(tag, Request::SaslBegin { mechanism, initial });
        }
        let (step, prompt) = match mechanism {
            "PLAIN" => (SaslStep::Plain, "+ "),
            // "Username:" in base64, as clients of this undocumented mechanism expect.
            "LOGIN" => (SaslStep::LoginName, "+ VXNlcm5hbWU6"),
            _ => return self.no(&tag, Some(&Code::Cannot), "this mechanism is not offered"),
        };
        match initial {
            // RFC 4959 3: `=` is an empty initial response.
            Some(initial) if initial == b"=" => self.sasl_line(Sasl { tag, step }, b""),
            Some(initial) => self.sasl_line(Sasl { tag, step }, &initial),
            None => {
                self.out.say(prompt);
                self.job = Some(Job::Sasl(Sasl { tag, step }));
            }
        }
    }

    pub(super) fn sasl_step(&mut self, sasl: Sasl) -> Progress {
        match self.next_line(true) {
            None => {
                self.job = Some(Job::Sasl(sasl));
                return Progress::NeedsInput;
            }
            Some(Ok(line)) if line.trim_ascii() == b"*" => {
                self.bad(&sasl.tag, "AUTHENTICATE was cancelled");
            }
            Some(Ok(line)) => self.sasl_line(sasl, line.trim_ascii()),
            Some(Err(_)) => self.bye(None, "the line is too long"),
        }
        Progress::Made
    }

    fn ask_sasl(&mut self, tag: String, request: Request) {
        self.ask = Some(request);
        self.job = Some(Job::Login(LoginJob { tag, done: "AUTHENTICATE done" }));
    }

    fn sasl_line(&mut self, sasl: Sasl, line: &[u8]) {
        let Sasl { tag, step } = sasl;
        if matches!(step, SaslStep::Driver) {
            return self.ask_sasl(tag, Request::SaslLine(line.to_vec()));
        }
        let decoded = STANDARD.decode(line).ok();
        let Some(text) = decoded.and_then(|bytes| String::from_utf8(bytes).ok()) else {
            return self.bad(&tag, "expected base64 of UTF-8");
        };
        let done = "AUTHENTICATE done";
        match step {
            SaslStep::Plain => {
                // RFC 4616 2: [authzid] NUL authcid NUL passwd.
                let mut parts = text.splitn(3, '\0');
                let (asked, login, password) = (parts.next(), parts.next(), parts.next());
                let (Some(asked), Some(login), Some(password)) = (asked, login, password) else {
                    return self.bad(&tag, "expected a user name and a password after NULs");
                };
                if !asked.is_empty() && asked != login {
                    let text = "nobody may log in for somebody else here";
                    return self.no(&tag, Some(&Code::AuthenticationFailed), text);
                }
                let password = Secret(password.to_owned());
                self.ask_login(tag, login.to_owned(), password, "PLAIN", done);
            }
            SaslStep::LoginName => {
                // "Password:" in base64.
                self.out.say("+ UGFzc3dvcmQ6");
                let step = SaslStep::LoginPassword { login: text };
                self.job = Some(Job::Sasl(Sasl { tag, step }));
            }
            SaslStep::LoginPassword { login } => {
                self.ask_login(tag, login, Secret(text), "LOGIN", done);
            }
            // It went to the driver as it came.
            SaslStep::Driver => {}
        }
    }

    pub(super) fn enable(&mut self, tag: &str, names: &[String]) {
        let mut enabled = String::new();
        let had_condstore = self.enabled.condstore;
        for name in names {
            // RFC 5161 3.1: what is not known is passed over.
            let (switch, spelling) = match name.as_str() {
                "IMAP4REV2" => (&mut self.enabled.rev2, "IMAP4rev2"),
                "UTF8=ACCEPT" => (&mut self.enabled.utf8, "UTF8=ACCEPT"),
                "CONDSTORE" => (&mut self.enabled.condstore, "CONDSTORE"),
                "QRESYNC" => (&mut self.enabled.qresync, "QRESYNC"),
                "UIDONLY" => (&mut self.enabled.uid_only, "UIDONLY"),
                _ => continue,
            };
            if !std::mem::replace(switch, true) {
                enabled.push(' ');
                enabled.push_str(spelling);
            }
        }
        self.out.utf8 = self.enabled.rev2 || self.enabled.utf8;
        self.out.say(&format!("* ENABLED{enabled}"));
        // RFC 7162 3.2.3: QRESYNC brings CONDSTORE with it.
        if self.enabled.qresync || self.enabled.condstore {
            self.enabled.condstore = had_condstore;
            self.enable_condstore();
        }
        let enabled_now = self.enabled;
        if let Some(selected) = self.selected() {
            enabled_now.shape(&mut selected.view);
        }
        self.ok(tag, None, "ENABLE done");
    }

    /// RFC 4978 3: from the end of the answer on, both sides compress.
    pub(super) fn compress(&mut self, tag: &str, mechanism: &str) {
        if mechanism != "DEFLATE" {
            return self.no(tag, Some(&Code::Cannot), "the mechanism is DEFLATE");
        }
        if self.compressed {
            return self.no(tag, Some(&Code::CompressionActive), "compression is on already");
        }
        self.ok(tag, None, "compression begins now");
        // "The client MUST NOT send additional commands until it has seen the result."
        self.framer.forget();
        self.compressed = true;
        self.switch = Some(Action::StartCompression);
    }

    /// RFC 8437 3: everything is as after the greeting, but for TLS.
    pub(super) fn unauthenticated(&mut self, tag: &str, answer: Option<Answer>) {
        match answer {
            Some(Answer::Done) => {
                self.stage = Stage::NotAuthenticated;
                self.enabled = super::Enabled::default();
                self.notified = None;
                self.out.utf8 = false;
                if std::mem::take(&mut self.compressed) {
                    self.switch = Some(Action::EndCompression);
                }
                let code = Code::Capability(self.capabilities());
                self.ok(tag, Some(&code), "UNAUTHENTICATE done");
            }
            answer => self.misanswered(tag, answer),
        }
    }
}
