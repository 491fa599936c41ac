//! The daemon's side of one connection.
//!
//! ```text
//! Greeting ──hello──▶ Open ──damage, goodbye──▶ Closing ──all sent, or too late──▶ Closed
//!     └──────────────refused, too late────────────▶┘
//! ```
//! The driver feeds [`Session::receive`], walks [`Session::poll`] until it gives `None`, sends
//! `Session::outgoing`, and wakes at [`Session::deadline`].
//! Invariants: one request is open at a time and the next is not even decoded before it is
//! answered, but for the one behind long work, which may say to cancel it; what waits to be sent is
//! bounded, for replies by not reading on, for events by dropping the oldest, for counters by
//! leaving them out; a request is given to the driver only if the role allows it.
//! Not here: what the requests do (the daemon).

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::codec;
use crate::event::Event;
use crate::frame::{self, Decoder, FROM_SERVER_BYTES_MAX, TO_SERVER_BYTES_MAX};
use crate::hello::{self, ClientHello, Refusal, ServerHello, Verdict};
use crate::message::{
    Answer, Code, EventFilter, Failure, Outcome, Reply, Request, RequestBody, Rows, ServerMessage,
    Stats,
};
use crate::role::Role;
use crate::session::subscription::{Counters, Events, PushBodyRef, PushRef, ServerMessageRef};
use crate::version::{OLDEST, Version};

/// The hello has to come within this time: it is sent without thinking.
pub const HELLO_WAIT: Duration = Duration::from_secs(10);

/// A peer that does not take our last words is left after this time.
pub const CLOSING_WAIT: Duration = Duration::from_secs(5);

/// Pushes are written while less than this waits to be sent. Small, so that what is dropped for a
/// slow reader is old.
const PUSH_BELOW_BYTES: usize = 64 * 1024;

/// Requests are read while less than this waits to be sent.
const READ_BELOW_BYTES: usize = 256 * 1024;

/// Subscriptions of one connection. A console has two.
pub const SUBSCRIPTIONS_MAX: usize = 16;

/// Events that wait for one subscription, by default: some minutes of a busy server, about 1 MiB at
/// the very most.
pub const EVENTS_KEPT_MAX_DEFAULT: usize = 1_000;

/// What the daemon says about a connection before it begins.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name and version of the daemon.
    pub software: String,
    /// The most this peer may do; `None`: nothing, it is turned away.
    pub allowed: Option<Role>,
    /// The daemon has too many admin connections: turn it away.
    pub busy: bool,
    /// Events that wait for one subscription before the oldest is dropped.
    pub events_kept_max: usize,
}

/// What the driver has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The hellos are exchanged. For the log.
    Opened {
        /// Name and version of the peer, as it says.
        software: String,
        /// What it may do.
        role: Role,
        /// The version both speak.
        version: Version,
    },
    /// Do this, then call [`Session::done`] or [`Session::failed`].
    Ask {
        /// The request's id.
        id: u32,
        /// What is asked; never one that the session answers itself.
        body: RequestBody,
    },
    /// End the work on the open request soon, then answer that request as ever.
    Cancel {
        /// The open request's id.
        id: u32,
    },
    /// Call [`Session::begin_events`] with the events of the past, and from now on
    /// [`Session::offer`] every event.
    BeginEvents {
        /// The request's id.
        id: u32,
        /// Which events.
        filter: EventFilter,
        /// How many of the past.
        backlog: u32,
        /// Only those with a greater number.
        after_seq: u64,
    },
    /// Call [`Session::offer_stats`].
    StatsDue,
    /// Close the connection. Nothing comes after this.
    Close {
        /// Why, for the log.
        reason: String,
    },
}

#[derive(Debug)]
enum Phase {
    Greeting { until: Instant, held: Vec<u8> },
    Open { version: Version, role: Role },
    Closing { until: Instant, reason: String },
    Closed,
}

/// What a frame of the peer was.
enum Decoded {
    Request(Request),
    /// None of ours, and that was said.
    Answered,
}

/// One connection.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    phase: Phase,
    opened: Option<Step>,
    decoder: Decoder,
    /// The request the driver works on.
    open: Option<u32>,
    /// That one can be cancelled.
    is_long: bool,
    /// What came behind a long request and is not about it: it waits.
    held: Option<Request>,
    events: Vec<Events>,
    counters: Vec<Counters>,
    out: Vec<u8>,
    /// Bytes at the front of `out` that were sent already.
    out_sent: usize,
}

impl Session {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new(settings: Settings, now: Instant) -> Self {
        Self {
            settings,
            phase: Phase::Greeting { until: now + HELLO_WAIT, held: Vec::new() },
            opened: None,
            decoder: Decoder::new(TO_SERVER_BYTES_MAX),
            open: None,
            is_long: false,
            held: None,
            events: Vec::new(),
            counters: Vec::new(),
            out: Vec::new(),
            out_sent: 0,
        }
    }

    /// Should the driver read? Not while answers pile up or a request is worked on and the next
    /// one waits already: the peer's socket then fills, and the peer waits.
    #[must_use]
    pub fn wants_bytes(&self) -> bool {
        match self.phase {
            Phase::Greeting { .. } => true,
            Phase::Open { .. } => {
                // A cancel behind long work must be seen, so one request is looked at.
                let may_look = self.is_long && self.held.is_none();
                let next_waits = self.open.is_some() && self.decoder.is_inside_frame();
                (may_look || !next_waits) && self.outgoing().len() < READ_BELOW_BYTES
            }
            Phase::Closing { .. } | Phase::Closed => false,
        }
    }

    /// Takes bytes from the peer.
    pub fn receive(&mut self, now: Instant, bytes: &[u8]) {
        match &mut self.phase {
            Phase::Open { .. } => self.decoder.push(bytes),
            Phase::Greeting { held, .. } => {
                held.extend_from_slice(bytes);
                match ClientHello::take(held) {
                    Ok(None) => {}
                    Ok(Some((hello, length))) => {
                        let rest = held.split_off(length.min(held.len()));
                        self.greet(now, &hello, &rest);
                    }
                    // Not one of ours: it would not understand a hello either.
                    Err(error) => self.close(now, format!("no hello: {error}")),
                }
            }
            Phase::Closing { .. } | Phase::Closed => {}
        }
    }

    fn greet(&mut self, now: Instant, hello: &ClientHello, rest: &[u8]) {
        let verdict = if self.settings.busy {
            let text = "too many admin connections are open; close one and try again".to_owned();
            Verdict::Refused { refusal: Refusal::Busy, text }
        } else {
            hello::judge(hello, self.settings.allowed)
        };
        let answer = ServerHello::new(&self.settings.software, verdict);
        self.out.extend_from_slice(&answer.to_bytes());
        match answer.verdict {
            Verdict::Refused { text, .. } => self.close(now, format!("refused: {text}")),
            Verdict::Welcome { version, role } => {
                let Some(version) = Version::from_number(version) else {
                    self.close(now, "no common version".to_owned());
                    return;
                };
                self.phase = Phase::Open { version, role };
                self.decoder.push(rest);
                let software = hello.software.clone();
                self.opened = Some(Step::Opened { software, role, version });
            }
        }
    }

    /// When the driver has to call [`Session::poll`] even if nothing came.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Greeting { until, .. } | Phase::Closing { until, .. } => Some(*until),
            Phase::Open { .. } => self.counters.iter().map(|counter| counter.next_at).min(),
            Phase::Closed => None,
        }
    }

    /// The next thing the driver has to do, until `None`.
    pub fn poll(&mut self, now: Instant) -> Option<Step> {
        if let Some(opened) = self.opened.take() {
            return Some(opened);
        }
        match &self.phase {
            Phase::Greeting { until, .. } => {
                if now < *until {
                    return None;
                }
                self.close(now, "no hello in time".to_owned());
                self.poll_close(now)
            }
            Phase::Open { version, role } => {
                let (version, role) = (*version, *role);
                self.poll_request(now, version, role)
                    .or_else(|| self.poll_stats(now))
                    .or_else(|| self.poll_close(now))
            }
            Phase::Closing { .. } | Phase::Closed => self.poll_close(now),
        }
    }

    fn poll_stats(&self, now: Instant) -> Option<Step> {
        let open = matches!(self.phase, Phase::Open { .. });
        let due = self.counters.iter().any(|counter| counter.next_at <= now);
        (open && due).then_some(Step::StatsDue)
    }

    fn poll_close(&mut self, now: Instant) -> Option<Step> {
        let Phase::Closing { until, reason } = &mut self.phase else { return None };
        if self.out.len() > self.out_sent && now < *until {
            return None;
        }
        let reason = std::mem::take(reason);
        self.phase = Phase::Closed;
        Some(Step::Close { reason })
    }

    fn poll_request(&mut self, now: Instant, version: Version, role: Role) -> Option<Step> {
        // Every turn takes one frame off; those the session answers itself need no driver. What
        // they leave in `out` is bounded like every answer.
        while self.may_take() && self.outgoing().len() < READ_BELOW_BYTES {
            let request = match self.held.take_if(|_| self.open.is_none()) {
                Some(held) => held,
                None => match self.decode(now, version)? {
                    Decoded::Request(request) => request,
                    Decoded::Answered => continue,
                },
            };
            let step = match request {
                Request { id, body: RequestBody::Cancel { request } } if self.open.is_some() => {
                    self.cancel(id, request, version)
                }
                request if self.open.is_some() => {
                    self.held = Some(request);
                    None
                }
                request => self.take_request(now, request, version, role),
            };
            if step.is_some() {
                return step;
            }
        }
        None
    }

    /// May a request be taken up, or looked at?
    fn may_take(&self) -> bool {
        self.open.is_none() || (self.is_long && self.held.is_none())
    }

    /// The next request; `None` if there is none, or never will be.
    fn decode(&mut self, now: Instant, version: Version) -> Option<Decoded> {
        let body = match self.decoder.next() {
            Ok(None) => return None,
            Ok(Some(body)) => body,
            Err(error) => {
                self.goodbye(now, Failure::new(Code::Malformed, error.to_string()));
                return None;
            }
        };
        let error = match codec::decode::<Request>(body) {
            Ok(request) => return Some(Decoded::Request(request)),
            Err(error) => error,
        };
        let text =
            format!("the request is none of version {}, or damaged: {error}", version.number());
        let failure = Failure::new(Code::Malformed, text);
        // The id stands in front so that even a request from the future has an answer.
        let Ok((id, _)) = codec::decode_start::<u32>(body) else {
            self.goodbye(now, failure);
            return None;
        };
        self.reply(id, Outcome::Failed(failure));
        Some(Decoded::Answered)
    }

    /// Says yes or no to a cancel; the work's own reply says how it ended.
    fn cancel(&mut self, id: u32, request: u32, version: Version) -> Option<Step> {
        let known = version >= Version::V2 && self.is_long && self.open == Some(request);
        if !known {
            let text = format!("no work is going on for a request {request}");
            self.reply(id, Outcome::Failed(Failure::new(Code::NotFound, text)));
            return None;
        }
        self.reply(id, Outcome::Done(Answer::Done));
        Some(Step::Cancel { id: request })
    }

    /// Answers what needs nobody else; hands on the rest.
    fn take_request(
        &mut self,
        now: Instant,
        request: Request,
        version: Version,
        role: Role,
    ) -> Option<Step> {
        let Request { id, body } = request;
        let rule = body.rule();
        if rule.since > version {
            let text = format!("{} is not part of version {}", rule.name, version.number());
            self.reply(id, Outcome::Failed(Failure::new(Code::Unsupported, text)));
            return None;
        }
        if rule.needs > role {
            let text = format!("{} needs the role {}, you are {role}", rule.name, rule.needs);
            self.reply(id, Outcome::Failed(Failure::new(Code::Forbidden, text)));
            return None;
        }
        match body {
            RequestBody::Ping => {
                self.reply(id, Outcome::Done(Answer::Done));
                None
            }
            RequestBody::Unsubscribe { subscription } => {
                let outcome = self.unsubscribe(subscription);
                self.reply(id, outcome);
                None
            }
            RequestBody::Cancel { request } => self.cancel(id, request, version),
            RequestBody::SubscribeStats { interval_ms } => {
                if self.may_subscribe(id) {
                    self.reply(id, Outcome::Done(Answer::Subscribed { subscription: id }));
                    self.counters.push(Counters::new(id, interval_ms, now));
                }
                None
            }
            RequestBody::SubscribeEvents { filter, backlog, after_seq } => {
                if !self.may_subscribe(id) {
                    return None;
                }
                self.open = Some(id);
                Some(Step::BeginEvents { id, filter, backlog, after_seq })
            }
            body => {
                self.open = Some(id);
                self.is_long = body.is_long();
                Some(Step::Ask { id, body })
            }
        }
    }

    fn may_subscribe(&mut self, id: u32) -> bool {
        let failure = if self.has_subscription(id) {
            let text = format!("the id {id} is that of a subscription; take another one");
            Failure::new(Code::Invalid, text)
        } else if self.events.len() + self.counters.len() >= SUBSCRIPTIONS_MAX {
            let text = format!("a connection has {SUBSCRIPTIONS_MAX} subscriptions at most");
            Failure::new(Code::Busy, text)
        } else {
            return true;
        };
        self.reply(id, Outcome::Failed(failure));
        false
    }

    fn has_subscription(&self, id: u32) -> bool {
        let mut events = self.events.iter().map(|events| events.id);
        let mut counters = self.counters.iter().map(|counters| counters.id);
        events.any(|other| other == id) || counters.any(|other| other == id)
    }

    fn unsubscribe(&mut self, id: u32) -> Outcome {
        if !self.has_subscription(id) {
            let text = format!("there is no subscription {id}");
            return Outcome::Failed(Failure::new(Code::NotFound, text));
        }
        self.events.retain(|events| events.id != id);
        self.counters.retain(|counters| counters.id != id);
        Outcome::Done(Answer::Done)
    }

    /// May the driver give the next part of a list? If not, it sends first.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.outgoing().len() < READ_BELOW_BYTES
    }

    /// A part of the list that the open request asked for. Not more than
    /// [`crate::message::ROWS_PER_PART_MAX`] rows. Ignored, like all answers, if the request is not
    /// open any more.
    pub fn part(&mut self, id: u32, rows: Rows) {
        if self.open == Some(id) && !self.reply(id, Outcome::Part(rows)) {
            self.close_request();
        }
    }

    /// The open request is done.
    pub fn done(&mut self, id: u32, answer: Answer) {
        let answer = match self.phase {
            Phase::Open { version, .. } => answer.in_words_of(version),
            // What all of them know, to one that is on its way out.
            _ => answer.in_words_of(OLDEST),
        };
        self.settle(id, Outcome::Done(answer));
    }

    /// The open request is refused or failed.
    pub fn failed(&mut self, id: u32, failure: Failure) {
        self.settle(id, Outcome::Failed(failure));
    }

    fn settle(&mut self, id: u32, outcome: Outcome) {
        if self.open == Some(id) {
            self.close_request();
            self.reply(id, outcome);
        }
    }

    fn close_request(&mut self) {
        self.open = None;
        self.is_long = false;
    }

    /// Begins the event subscription of [`Step::BeginEvents`]. `past` holds what the daemon still
    /// remembers, oldest first. An event may be in `past` and be offered again: it is taken once.
    pub fn begin_events(&mut self, step: &Step, past: &[Arc<Event>]) {
        let Step::BeginEvents { id, filter, backlog, after_seq } = step else { return };
        let Phase::Open { version, .. } = self.phase else { return };
        let kept_max = self.settings.events_kept_max;
        let mut events = Events::new(*id, filter.clone(), version, kept_max);
        events.begin(past, *backlog, *after_seq);
        self.done(*id, Answer::Subscribed { subscription: *id });
        // All of the past at once, before the answer to whatever is asked later: so a client can
        // know that it has seen all of it. It is bounded like the buffer it comes from.
        self.push_events(&mut events, usize::MAX);
        self.events.push(events);
    }

    /// Is anybody interested in events?
    #[must_use]
    pub fn wants_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Something happened. Never waits: a full buffer loses its oldest event.
    pub fn offer(&mut self, event: &Arc<Event>) {
        self.events.iter_mut().for_each(|events| events.offer(event));
    }

    /// Events were dropped on the way here.
    pub fn add_lost(&mut self, count: u64) {
        self.events.iter_mut().for_each(|events| events.add_lost(count));
    }

    /// The counters of now, after [`Step::StatsDue`].
    pub fn offer_stats(&mut self, now: Instant, stats: &Stats) {
        let mut counters = std::mem::take(&mut self.counters);
        for counter in &mut counters {
            if self.outgoing().len() >= PUSH_BELOW_BYTES {
                counter.skip(now);
            } else if counter.take(now, stats) {
                self.push(counter.id, PushBodyRef::Stats(stats));
            }
        }
        self.counters = counters;
    }

    /// What is to be sent now; empty: nothing. Writes pushes of events if there is room.
    pub fn fill(&mut self) -> &[u8] {
        if !matches!(self.phase, Phase::Open { .. }) {
            return self.outgoing();
        }
        let mut events = std::mem::take(&mut self.events);
        for events in &mut events {
            self.push_events(events, PUSH_BELOW_BYTES);
        }
        self.events = events;
        self.outgoing()
    }

    /// Pushes what waits for a subscription while less than `below_bytes` waits to be sent.
    fn push_events(&mut self, events: &mut Events, below_bytes: usize) {
        while self.outgoing().len() < below_bytes {
            let Some((lost, batch)) = events.take() else { return };
            let gone = lost + batch.len() as u64;
            let batch = batch.iter().map(Arc::as_ref).collect();
            if !self.push(events.id, PushBodyRef::Events { lost, events: batch }) {
                events.add_lost(gone);
                return;
            }
        }
    }

    fn outgoing(&self) -> &[u8] {
        self.out.get(self.out_sent..).unwrap_or_default()
    }

    /// So many bytes of [`Session::fill`] are sent.
    pub fn sent(&mut self, bytes: usize) {
        self.out_sent = (self.out_sent + bytes).min(self.out.len());
        if self.out_sent == self.out.len() {
            self.out_sent = 0;
            self.out.clear();
            // One long list must not hold its memory for the life of a console.
            self.out.shrink_to(PUSH_BELOW_BYTES);
        } else if self.out_sent >= PUSH_BELOW_BYTES {
            self.out.drain(..self.out_sent);
            self.out_sent = 0;
        }
    }

    /// Says why, then closes. For the daemon's own end and for peers that break the protocol.
    pub fn goodbye(&mut self, now: Instant, failure: Failure) {
        if matches!(self.phase, Phase::Open { .. }) {
            let reason = failure.text.clone();
            self.put(&ServerMessage::Goodbye(failure));
            self.close(now, reason);
        } else if matches!(self.phase, Phase::Greeting { .. }) {
            self.close(now, failure.text);
        }
    }

    fn close(&mut self, now: Instant, reason: String) {
        self.events.clear();
        self.counters.clear();
        self.phase = Phase::Closing { until: now + CLOSING_WAIT, reason };
    }

    /// Writes a reply; false if it had to become a failure, and so the last word.
    fn reply(&mut self, id: u32, outcome: Outcome) -> bool {
        if !matches!(self.phase, Phase::Open { .. }) {
            return true;
        }
        let fits = self.put(&ServerMessage::Reply(Reply { id, outcome }));
        if !fits {
            let text = "the answer is longer than a frame may be".to_owned();
            let outcome = Outcome::Failed(Failure::new(Code::Internal, text));
            self.put(&ServerMessage::Reply(Reply { id, outcome }));
        }
        fits
    }

    fn push(&mut self, subscription: u32, body: PushBodyRef<'_>) -> bool {
        self.put(&ServerMessageRef::Push(PushRef { subscription, body }))
    }

    /// Writes one frame; false if it would be too long.
    fn put<T: serde::Serialize>(&mut self, message: &T) -> bool {
        let Ok(body) = codec::encode(message) else { return false };
        frame::write(&body, FROM_SERVER_BYTES_MAX, &mut self.out).is_ok()
    }
}
