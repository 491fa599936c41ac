//! Which command may be given in which state (RFC 9051 6), and where each goes.
//!
//! Not here: what the commands do (the sibling modules).

use super::{Job, Session, Stage};
use crate::command::{Command, SearchKey, Source, Verb};
use crate::grammar::append::Expects;
use crate::machine::Request;
use crate::metadata::Entry;
use crate::name::{OTHER_USERS, PUBLIC};
use crate::response::Code;
use crate::view::Allowed;

/// In which states a command is legal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Where {
    /// Anywhere (RFC 9051 6.1).
    Any,
    /// Before the login (6.2).
    Before,
    /// After it (6.3).
    After,
    /// With a mailbox selected (6.4).
    Selected,
}

pub(super) fn legal_where(verb: &Verb) -> Where {
    match verb {
        Verb::Capability | Verb::Noop | Verb::Logout | Verb::Id(_) | Verb::NotOffered(_) => {
            Where::Any
        }
        Verb::StartTls | Verb::Login { .. } | Verb::Authenticate { .. } => Where::Before,
        // RFC 5161 3.1: servers "do not have to check that no mailbox is selected".
        Verb::Enable(_)
        | Verb::List(_)
        | Verb::Lsub(..)
        | Verb::Create(..)
        | Verb::Delete(_)
        | Verb::Rename(..)
        | Verb::Subscribe(_)
        | Verb::Unsubscribe(_)
        | Verb::Status(..)
        | Verb::Select { .. }
        | Verb::Idle
        | Verb::Compress(_)
        | Verb::Notify(_)
        | Verb::GenUrlAuth(_)
        | Verb::UrlFetch(_)
        | Verb::ResetKey(..)
        | Verb::GetMetadata(_)
        | Verb::GetAcl(_)
        | Verb::SetAcl(..)
        | Verb::DeleteAcl(..)
        | Verb::ListRights(..)
        | Verb::MyRights(_)
        | Verb::GetQuota(_)
        | Verb::GetQuotaRoot(_)
        | Verb::SetQuota(..)
        | Verb::SetMetadata(..)
        | Verb::Unauthenticate
        | Verb::Namespace => Where::After,
        Verb::Search(search) if search.sources.is_some() => match &search.sources {
            Some(sources) if sources.contains(&Source::Selected) => Where::Selected,
            // RFC 7377 2.2: only the selected mailbox can be kept up to date.
            _ if search.returns.is_some_and(|returns| returns.update) => Where::Selected,
            _ => Where::After,
        },
        Verb::Append(append) => match append.replaces {
            Some(_) => Where::Selected,
            None => Where::After,
        },
        Verb::Check
        | Verb::Close
        | Verb::Unselect
        | Verb::Expunge(_)
        | Verb::Search(_)
        | Verb::Fetch(_)
        | Verb::Store(_)
        | Verb::CancelUpdate(_)
        | Verb::Copy(_) => Where::Selected,
    }
}

/// Whether a command names messages by sequence number (RFC 9586 3).
fn names_sequences(verb: &Verb) -> bool {
    match verb {
        Verb::Search(search) => !search.uid || search.key.names_sequences(),
        Verb::Fetch(fetch) => !fetch.uid,
        Verb::Store(store) => !store.uid,
        Verb::Copy(copy) => !copy.uid,
        _ => false,
    }
}

fn is_special_use((entry, _): &(Entry, Option<Vec<u8>>)) -> bool {
    *entry == Entry::special_use()
}

impl Session {
    /// Why a command is out of place, if it is.
    fn out_of_place(&self, verb: &Verb) -> Option<&'static str> {
        let (before, after, selected) = match self.stage {
            Stage::NotAuthenticated => (true, false, false),
            Stage::Authenticated => (false, true, false),
            Stage::Selected(_) => (false, true, true),
            Stage::Ended => (false, false, false),
        };
        match legal_where(verb) {
            Where::Before if !before => Some("you are logged in already"),
            Where::After | Where::Selected if !after => Some("log in first"),
            Where::Selected if !selected => Some("select a mailbox first"),
            _ => None,
        }
    }

    /// Runs a command, or says why not.
    pub(super) fn run(&mut self, command: Command) {
        let Command { tag, verb } = command;
        if let Some(why) = self.out_of_place(&verb) {
            return self.bad(&tag, why);
        }
        if self.enabled.uid_only && names_sequences(&verb) {
            return self.uid_required(&tag);
        }
        match verb {
            Verb::Capability => {
                let names = self.capabilities();
                self.out.say(&format!("* CAPABILITY {names}"));
                self.ok(&tag, None, "CAPABILITY done");
            }
            Verb::Noop => self.finish(&tag, "NOOP done", Allowed::Everything),
            Verb::Check => self.finish(&tag, "CHECK done", Allowed::Everything),
            Verb::Logout => self.logout(&tag),
            Verb::Id(pairs) => self.id(&tag, &pairs),
            Verb::StartTls => self.start_tls(&tag),
            Verb::Login { login, password } => self.login(tag, login, password),
            Verb::Authenticate { mechanism, initial } => {
                self.authenticate(tag, &mechanism, initial);
            }
            Verb::Enable(names) => self.enable(&tag, &names),
            Verb::List(list) => self.list(tag, list),
            Verb::Lsub(reference, pattern) => self.lsub(tag, reference, pattern),
            Verb::Create(mailbox, special_use) => {
                self.simply(tag, Request::Create(mailbox, special_use), "CREATE done");
            }
            Verb::Delete(mailbox) => self.delete(tag, mailbox),
            Verb::Rename(from, to) => self.rename(tag, from, to),
            Verb::Subscribe(mailbox) => {
                self.simply(tag, Request::Subscribe(mailbox, true), "SUBSCRIBE done");
            }
            Verb::Unsubscribe(mailbox) => {
                self.simply(tag, Request::Subscribe(mailbox, false), "UNSUBSCRIBE done");
            }
            Verb::Status(mailbox, items) => self.status(tag, mailbox, items),
            verb @ Verb::Select { .. } => self.select(tag, verb),
            Verb::Close => self.close(tag),
            Verb::Unselect => self.leave(tag, "UNSELECT done", None),
            Verb::Expunge(set) => self.expunge(tag, set.as_ref()),
            Verb::CancelUpdate(tags) => self.cancel_update(&tag, &tags),
            Verb::GetMetadata(get) => self.get_metadata(tag, get),
            // RFC 6154 4: CREATE alone says what a mailbox is for.
            Verb::SetMetadata(_, changes) if changes.iter().any(is_special_use) => {
                self.no(&tag, Some(&Code::Cannot), "what a mailbox is for is said by CREATE");
            }
            Verb::SetMetadata(mailbox, changes) => {
                self.simply(tag, Request::SetMetadata(mailbox, changes), "SETMETADATA done");
            }
            Verb::Search(search) if search.key.any(&SearchKey::is_filter) => {
                self.filtered_search(tag, search);
            }
            Verb::Search(search) => self.search(tag, search),
            Verb::Fetch(fetch) => self.fetch(tag, fetch),
            Verb::Store(store) => self.store(tag, store),
            Verb::Copy(copy) => self.copy(tag, copy),
            Verb::Idle => {
                self.out.say("+ idling; say DONE to end");
                self.woken = true;
                self.job = Some(Job::Idle { tag, asked: false });
            }
            Verb::Namespace => {
                // RFC 9051 6.3.10: the personal namespace, other users', the shared one.
                let below = |name: &str| format!("((\"{name}/\" \"/\"))");
                let (others, public) = (below(OTHER_USERS), below(PUBLIC));
                self.out.say(&format!("* NAMESPACE ((\"\" \"/\")) {others} {public}"));
                self.finish(&tag, "NAMESPACE done", Allowed::Everything);
            }
            Verb::Append(append) => {
                let expects = Expects::Message { first: false };
                self.append(tag, append, expects, None);
            }
            Verb::GenUrlAuth(urls) => self.gen_url_auth(tag, urls),
            Verb::UrlFetch(urls) => self.url_fetch(tag, urls),
            Verb::ResetKey(mailbox, ways) => self.reset_key(tag, mailbox, &ways),
            Verb::Notify(notify) => self.notify(tag, notify),
            Verb::Compress(mechanism) => self.compress(&tag, &mechanism),
            Verb::Unauthenticate => {
                self.stage = Stage::Authenticated;
                self.ask = Some(Request::Logout);
                self.job = Some(Job::Unauthenticate { tag });
            }
            verb @ (Verb::GetAcl(_)
            | Verb::SetAcl(..)
            | Verb::DeleteAcl(..)
            | Verb::ListRights(..)
            | Verb::MyRights(_)
            | Verb::GetQuota(_)
            | Verb::GetQuotaRoot(_)
            | Verb::SetQuota(..)) => self.rights(tag, verb),
            Verb::NotOffered(name) => {
                let text = format!("{name} is not offered here");
                self.no(&tag, Some(&Code::Cannot), &text);
            }
        }
    }

    /// A command that is one request and no answer of its own.
    pub(super) fn simply(&mut self, tag: String, request: Request, done: &'static str) {
        self.names_asked(&request);
        self.ask = Some(request);
        self.job = Some(Job::Simple { tag, done });
    }

    fn logout(&mut self, tag: &str) {
        self.out.say("* BYE see you");
        self.ok(tag, None, "LOGOUT done");
        self.end("logged out");
    }
}
