//! One message of every kind, with values that show in the bytes.
//!
//! The functions that name variants have no wildcard: a new variant does not compile until it is
//! named here, and the golden test then asks for its sample.

use grace_ipc::database::{
    DbCompacted, DbCopied, DbCounters, DbFiles, DbKeyChanged, DbLevel, DbLock, DbMoment, DbProblem,
    DbProgress, DbPurpose, DbSegment, DbStats, DbVerified,
};
use grace_ipc::directory::{AppPasswordRow, AppScope, SettingRow};
use grace_ipc::dkim::{DkimAlgorithm, DkimPublished, DkimRow, DkimState};
use grace_ipc::domain_dns::{DnsImportance, DnsPurpose, DnsVerdict, DomainDnsRow};
use grace_ipc::event::{Event, EventKind, Service, Topic, TraceId};
use grace_ipc::live::{
    MailboxRow, SessionChoice, SessionFilter, SessionLine, SessionRow, SessionSide,
};
use grace_ipc::message::{
    AccountRow, AliasRow, AliasTargetsRow, Answer, Code, DomainRow, Door, EventCount, EventFilter,
    Failure, ForwardRow, Outcome, Push, PushBody, Reply, Request, RequestBody, Rows, Secret,
    ServerInfo, ServerMessage, SessionCount, Stats,
};
use grace_ipc::queue::{QueueChange, QueueFilter, QueueRow};
use grace_ipc::route::{
    DeliveryStep, DeliveryVerdict, RouteOf, RouteRow, RouteTls, RouteTo, StepKind, StepResult,
};
use grace_ipc::share::{PublicRow, QuotaRow, RightsRow};
use grace_ipc::trace::{TraceFilter, TraceOutcome, TraceRow};

/// Every request, by name.
pub(crate) fn requests() -> Vec<(String, Request)> {
    let bodies = [
        RequestBody::Ping,
        RequestBody::ServerInfo,
        RequestBody::Stats,
        RequestBody::DomainList,
        RequestBody::DomainCreate { name: "example.org".into() },
        RequestBody::DomainDelete { name: "example.org".into() },
        RequestBody::AccountList { domain: None },
        RequestBody::AccountCreate {
            address: "info@example.org".into(),
            password: Secret("correct horse".into()),
        },
        RequestBody::AccountDelete { address: "info@example.org".into() },
        RequestBody::AccountSetPassword {
            address: "info@example.org".into(),
            password: Secret("battery staple".into()),
        },
        RequestBody::SubscribeEvents {
            filter: EventFilter {
                topics: vec![Topic::Login, Topic::Message],
                trace: Some(TraceId(0x1234)),
            },
            backlog: 250,
            after_seq: 251,
        },
        RequestBody::SubscribeStats { interval_ms: 1_000 },
        RequestBody::Unsubscribe { subscription: 11 },
        RequestBody::DbStats,
        RequestBody::DbVerify,
        RequestBody::DbBackup { to: "/backup/grace".into() },
        RequestBody::DbCompact,
        RequestBody::DbRestore {
            to: "/restored/store".into(),
            moment: DbMoment::Time { time_us: 1_790_000_000_000_000 },
        },
        RequestBody::DbChangeKey { new_key_file: true },
        RequestBody::Cancel { request: 15 },
        RequestBody::QueueList { filter: filter(), rows_max: 1_000 },
        RequestBody::QueueChange { filter: filter(), change: QueueChange::Retry },
        RequestBody::DkimList { domain: None },
        RequestBody::DkimCreate { domain: "example.org".into() },
        RequestBody::DkimActivate { domain: "example.org".into(), force: true },
        RequestBody::DkimDelete { domain: "example.org".into(), selector: "g20261130r".into() },
        RequestBody::AliasList { domain: None },
        RequestBody::AliasSet {
            address: "sales@example.org".into(),
            accounts: vec!["a@example.org".into(), "b@example.org".into()],
        },
        RequestBody::AliasDelete { address: "@example.org".into() },
    ];
    let bodies = bodies.into_iter().chain(of_people());
    let bodies = bodies.chain(of_routes()).chain(of_shares()).chain(of_sessions());
    let named = bodies.enumerate().map(|(place, body)| {
        let id = u32::try_from(place).unwrap() + 1;
        (format!("request-{}", body.rule().name), Request { id, body })
    });
    let extra = |name: &str, body| (format!("request-{name}"), Request { id: 70_000, body });
    let restore = |moment| RequestBody::DbRestore { to: "/restored".into(), moment };
    let extras = [
        extra(
            "AccountList-of-domain",
            RequestBody::AccountList { domain: Some("example.org".into()) },
        ),
        extra("DbRestore-newest", restore(DbMoment::Newest)),
        extra("DbRestore-transaction", restore(DbMoment::Transaction { number: 251 })),
        extra("QueueList-all", RequestBody::QueueList { filter: all(), rows_max: 7 }),
        extra("QueueChange-hold", queue_change(QueueChange::Hold)),
        extra("QueueChange-release", queue_change(QueueChange::Release)),
        extra(
            "QueueChange-reroute",
            queue_change(QueueChange::Reroute { to: "[relay.example.org]:2525".into() }),
        ),
        extra("QueueChange-bounce", queue_change(QueueChange::Bounce)),
        extra("QueueChange-delete", queue_change(QueueChange::Delete)),
        extra("DkimList-of-domain", RequestBody::DkimList { domain: Some("example.org".into()) }),
        extra("TraceSearch-all", trace_search(None)),
        extra("TraceSearch-delivered", trace_search(Some(TraceOutcome::Delivered))),
        extra("TraceSearch-junk", trace_search(Some(TraceOutcome::Junk))),
        extra("TraceSearch-deferred", trace_search(Some(TraceOutcome::Deferred))),
        extra("TraceSearch-failed", trace_search(Some(TraceOutcome::Failed))),
    ];
    let quota = RequestBody::QuotaSet {
        of: "info@example.org".into(),
        bytes_max: None,
        messages_max: Some(0),
    };
    let more = more_of_routes().into_iter().chain([("QuotaSet-messages", quota)]);
    let more = more.map(|(name, body)| extra(name, body));
    let choices = more_of_sessions().into_iter().map(|(name, body)| extra(name, body));
    named.chain(extras).chain(more).chain(choices).collect()
}

fn of_sessions() -> [RequestBody; 5] {
    let account = Some("info@example.org".into());
    let filter = SessionFilter { account, peer: Some("192.0.2.1".parse().unwrap()) };
    [
        RequestBody::SessionList { filter },
        RequestBody::SessionDisconnect { session: 0x1234 },
        RequestBody::SessionTranscript { which: SessionChoice::Session(0x1234), bodies: true },
        RequestBody::MailboxList { account: "info@example.org".into() },
        RequestBody::QuotaDefaults,
    ]
}

fn more_of_sessions() -> Vec<(&'static str, RequestBody)> {
    let next = |which| RequestBody::SessionTranscript { which, bodies: false };
    let from = SessionChoice::NextFrom("2001:db8::1".parse().unwrap());
    vec![
        ("SessionList-all", RequestBody::SessionList { filter: SessionFilter::default() }),
        ("SessionTranscript-next-from", next(from)),
        ("SessionTranscript-next-of", next(SessionChoice::NextOf("info@example.org".into()))),
    ]
}

fn sessions() -> Vec<SessionRow> {
    let row = SessionRow {
        id: 0x1234,
        service: Service::Imaps,
        peer: "192.0.2.1:4711".parse().unwrap(),
        began_us: 1_790_000_000_000_000,
        heard_us: 1_790_000_060_000_000,
        tls: "TLSv1.3 TLS_AES_256_GCM_SHA384".into(),
        account: "info@example.org".into(),
        client: "Mail 1".into(),
        mailbox: "Sent".into(),
        command: "UID FETCH".into(),
        bytes_in: 251,
        bytes_out: 65_536,
        watchers: 1,
    };
    let other = SessionRow { id: 0x1235, service: Service::Smtp, ..row.clone() };
    vec![row, other]
}

fn session_lines() -> Vec<SessionLine> {
    let line = |side, lost, text: &str| SessionLine {
        at_us: 1_790_000_000_000_000,
        side,
        lost,
        text: text.into(),
    };
    vec![
        line(SessionSide::Client, 0, "a NOOP"),
        line(SessionSide::Server, 0, "a OK NOOP done"),
        line(SessionSide::Note, 251, "the session ended"),
    ]
}

fn mailboxes() -> Vec<MailboxRow> {
    let row = MailboxRow {
        name: "INBOX".into(),
        messages: 251,
        unseen: 3,
        stored_bytes: 65_536,
        uid_next: 300,
        uid_validity: 7,
    };
    vec![row.clone(), MailboxRow { name: "Lists/rust".into(), ..row }]
}

/// What is asked about people, domains, and the past of messages.
fn of_people() -> Vec<RequestBody> {
    vec![
        RequestBody::AppPasswordList { account: "info@example.org".into() },
        RequestBody::AppPasswordCreate {
            account: "info@example.org".into(),
            name: "phone".into(),
            scope: AppScope::Imap,
        },
        RequestBody::AppPasswordDelete { account: "info@example.org".into(), name: "phone".into() },
        RequestBody::DomainSettings { name: "example.org".into() },
        RequestBody::DomainSet {
            name: "example.org".into(),
            key: "disabled".into(),
            value: "yes".into(),
        },
        RequestBody::AddressSettings { address: "info@example.org".into() },
        RequestBody::AddressSet {
            address: "info@example.org".into(),
            key: "state".into(),
            value: "no-login".into(),
        },
        RequestBody::DomainDns { domain: "example.org".into(), check: true },
        RequestBody::TraceSearch { filter: trace_filter(), rows_max: 1_000, before: Some(251) },
        RequestBody::TraceShow { id: "4f2a".into() },
        RequestBody::AliasTargetsList { domain: None },
        RequestBody::AliasTargetsSet {
            address: "sales@example.org".into(),
            targets: vec!["a@example.org".into(), "b@example.net".into()],
        },
        RequestBody::ForwardList { account: None },
        RequestBody::ForwardSet {
            account: "a@example.org".into(),
            targets: vec!["b@example.net".into()],
            keeps: true,
        },
        RequestBody::ForwardDelete { account: "a@example.org".into() },
    ]
}

/// What is asked about routes.
fn of_routes() -> Vec<RequestBody> {
    vec![
        RequestBody::RouteList,
        RequestBody::RouteSet {
            of: RouteOf::Sender,
            pattern: "example.org".into(),
            to: Some(smart_host()),
            password: Some(Secret("correct horse".into())),
            sources: vec!["192.0.2.1".into(), "2001:db8::1=out.example.org".into()],
        },
        RequestBody::RouteRemove { of: RouteOf::Recipient, pattern: ".example.net".into() },
        RequestBody::DeliveryTest {
            to: "a@example.net".into(),
            from: Some("info@example.org".into()),
        },
    ]
}

/// What is asked about shared mailboxes and quota.
fn of_shares() -> Vec<RequestBody> {
    let (domain, name) = (|| "example.org".to_owned(), || "News".to_owned());
    vec![
        RequestBody::QuotaList { of: None },
        RequestBody::QuotaSet {
            of: "@example.org".into(),
            bytes_max: Some(65_536),
            messages_max: None,
        },
        RequestBody::RightsList { owner: "info@example.org".into(), mailbox: Some("INBOX".into()) },
        RequestBody::RightsSet {
            owner: "@example.org".into(),
            mailbox: name(),
            who: "anyone".into(),
            rights: "+lr".into(),
        },
        RequestBody::PublicList { domain: None },
        RequestBody::PublicCreate { domain: domain(), name: name(), rights: "lr".into() },
        RequestBody::PublicDelete { domain: domain(), name: name() },
        RequestBody::PublicRename { domain: domain(), name: name(), to: "Old/News".into() },
    ]
}

fn quotas() -> Vec<QuotaRow> {
    let row = QuotaRow {
        of: "info@example.org".into(),
        bytes: 251,
        bytes_max: 65_536,
        messages: 1,
        messages_max: 0,
    };
    vec![QuotaRow { of: "@example.org".into(), ..row.clone() }, row]
}

fn rights() -> Vec<RightsRow> {
    vec![RightsRow {
        owner: "info@example.org".into(),
        mailbox: "INBOX".into(),
        who: "-anyone".into(),
        rights: "lrs".into(),
    }]
}

fn public() -> Vec<PublicRow> {
    vec![PublicRow {
        domain: "example.org".into(),
        name: "News".into(),
        messages: 1,
        stored_bytes: 251,
    }]
}

fn more_of_routes() -> Vec<(&'static str, RequestBody)> {
    let direct = RequestBody::RouteSet {
        of: RouteOf::Recipient,
        pattern: "*".into(),
        to: Some(RouteTo::Direct),
        password: None,
        sources: Vec::new(),
    };
    let nobody = RequestBody::DeliveryTest { to: "a@example.net".into(), from: None };
    vec![("RouteSet-direct", direct), ("DeliveryTest-nobody", nobody)]
}

fn smart_host() -> RouteTo {
    RouteTo::SmartHost {
        host: "relay.example.net".into(),
        port: 587,
        tls: RouteTls::StartTls,
        login: Some("info@example.org".into()),
    }
}

fn routes() -> Vec<RouteRow> {
    let row = RouteRow {
        of: RouteOf::Sender,
        pattern: "example.org".into(),
        to: Some(smart_host()),
        sources: vec!["192.0.2.1".into()],
        changed_us: 1_790_000_000_000_000,
    };
    let direct = RouteRow {
        of: RouteOf::Recipient,
        pattern: ".example.net".into(),
        to: Some(RouteTo::Direct),
        sources: Vec::new(),
        ..row.clone()
    };
    let source = RouteRow { pattern: "example.com".into(), to: None, ..row.clone() };
    vec![row, direct, source]
}

fn steps() -> Vec<DeliveryStep> {
    vec![
        DeliveryStep {
            at_us: 70_000,
            took_us: 251,
            kind: StepKind::Mx,
            result: StepResult::Good,
            host: String::new(),
            text: "mx.example.net".into(),
        },
        DeliveryStep {
            at_us: 140_000,
            took_us: 70_000,
            kind: StepKind::Rcpt,
            result: StepResult::Failed,
            host: "mx.example.net".into(),
            text: "550 5.1.1 no".into(),
        },
    ]
}

fn filter() -> QueueFilter {
    QueueFilter {
        queue_id: Some("4f2a".into()),
        sender: Some(String::new()),
        recipient: Some("a@example.org".into()),
        destination: Some("example.org".into()),
    }
}

fn all() -> QueueFilter {
    QueueFilter::default()
}

fn trace_filter() -> TraceFilter {
    TraceFilter {
        sender: Some(String::new()),
        recipient: Some("@example.org".into()),
        message_id: Some("a@example.net".into()),
        queue_id: Some("4f2a".into()),
        from_us: Some(1_790_000_000_000_000),
        to_us: Some(251),
        outcome: Some(TraceOutcome::Refused),
    }
}

fn trace_search(outcome: Option<TraceOutcome>) -> RequestBody {
    let filter = TraceFilter { outcome, ..TraceFilter::default() };
    RequestBody::TraceSearch { filter, rows_max: 7, before: None }
}

fn queue_change(change: QueueChange) -> RequestBody {
    RequestBody::QueueChange { filter: all(), change }
}

fn queue_rows() -> Vec<QueueRow> {
    let row = QueueRow {
        queue_id: "4f2a".into(),
        trace: 251,
        sender: "info@example.org".into(),
        recipient: "a@example.net".into(),
        destination: "example.net".into(),
        size: 65_536,
        created_us: 1_790_000_000_000_000,
        next_us: 1_790_000_060_000_000,
        attempts: 1,
        held: false,
        remote: "mx.example.net".into(),
        reason: "451 4.7.1 later".into(),
    };
    let held = QueueRow {
        attempts: 0,
        held: true,
        sender: String::new(),
        remote: String::new(),
        reason: String::new(),
        ..row.clone()
    };
    vec![row, held]
}

fn alias_targets() -> Vec<AliasTargetsRow> {
    vec![AliasTargetsRow {
        address: "sales@example.org".into(),
        targets: vec!["a@example.org".into(), "b@example.net".into()],
        created_us: 1_790_000_000_000_000,
    }]
}

fn forwards() -> Vec<ForwardRow> {
    vec![ForwardRow {
        account: "a@example.org".into(),
        targets: vec!["b@example.net".into()],
        keeps: true,
        created_us: 1_790_000_000_000_000,
    }]
}

fn aliases() -> Vec<AliasRow> {
    let row = AliasRow {
        address: "sales@example.org".into(),
        accounts: vec!["a@example.org".into(), "b@example.org".into()],
        created_us: 1_790_000_000_000_000,
    };
    let rest = AliasRow { address: "@example.org".into(), accounts: Vec::new(), ..row.clone() };
    vec![row, rest]
}

fn app_passwords() -> Vec<AppPasswordRow> {
    let row = AppPasswordRow {
        name: "phone".into(),
        scope: AppScope::Imap,
        created_us: 1_790_000_000_000_000,
        used_us: 1_790_003_600_000_000,
        used_from: "2001:db8::1".into(),
    };
    let unused = AppPasswordRow {
        name: "two words".into(),
        scope: AppScope::Both,
        used_us: 0,
        used_from: String::new(),
        ..row.clone()
    };
    let sends = AppPasswordRow { scope: AppScope::Smtp, ..unused.clone() };
    vec![row, unused, sends]
}

fn settings() -> Vec<SettingRow> {
    vec![SettingRow {
        key: "subaddress-separator".into(),
        value: "none".into(),
        usual: "+".into(),
        help: "what parts anna from shop".into(),
    }]
}

fn dkim_rows() -> Vec<DkimRow> {
    let row = DkimRow {
        domain: "example.org".into(),
        selector: "g20261130r".into(),
        algorithm: DkimAlgorithm::Rsa,
        state: DkimState::Signing,
        created_us: 1_790_000_000_000_000,
        changed_us: 1_790_000_060_000_000,
        record_name: "g20261130r._domainkey.example.org".into(),
        record_text: "v=DKIM1; k=rsa; p=AA==".into(),
        published: DkimPublished::Found,
        published_why: String::new(),
    };
    let missing = DkimRow {
        algorithm: DkimAlgorithm::Ed25519,
        state: DkimState::Waiting,
        published: DkimPublished::Missing,
        published_why: "why".into(),
        ..row.clone()
    };
    vec![row, missing]
}

/// One of each purpose, importance and verdict, in the order of the wire.
fn domain_dns_rows() -> Vec<DomainDnsRow> {
    let importances = DnsImportance::ALL.into_iter().cycle();
    let verdicts = DnsVerdict::ALL.into_iter().cycle();
    let rows = DnsPurpose::ALL.into_iter().zip(importances).zip(verdicts).map(
        |((purpose, importance), verdict)| DomainDnsRow {
            purpose,
            record_type: "MX".into(),
            name: "example.org".into(),
            value: "10 mail.example.org.".into(),
            ttl_s: 3_600,
            importance,
            why: "why".into(),
            verdict,
            found: vec!["20 mx.example.net.".into()],
            advice: "advice".into(),
        },
    );
    rows.collect()
}

fn trace_rows() -> Vec<TraceRow> {
    let row = TraceRow {
        place: 251,
        queue_id: "4f2a".into(),
        trace: 250,
        began_us: 1_790_000_000_000_000,
        last_us: 1_790_000_060_000_000,
        sender: "info@example.org".into(),
        recipients: vec!["a@example.net".into(), "b@example.net".into()],
        recipients_count: 3,
        message_id: "a@example.org".into(),
        size: 65_536,
        delivered: 4,
        junk: 5,
        deferred: 6,
        failed: 7,
        refused: 8,
        reason: "451 4.7.1 later".into(),
    };
    vec![row, TraceRow::default()]
}

fn failure(code: Code) -> Failure {
    Failure::new(code, "why")
}

/// Every reply and push but those with events, by name.
pub(crate) fn answers() -> Vec<(String, ServerMessage)> {
    let reply = |outcome| ServerMessage::Reply(Reply { id: 7, outcome });
    let mut all = vec![
        ("reply-Done", reply(Outcome::Done(Answer::Done))),
        ("reply-ServerInfo", reply(Outcome::Done(Answer::ServerInfo(server_info())))),
        ("reply-Stats", reply(Outcome::Done(Answer::Stats(stats())))),
        ("reply-ListEnd", reply(Outcome::Done(Answer::ListEnd { rows: 65_536 }))),
        ("reply-Subscribed", reply(Outcome::Done(Answer::Subscribed { subscription: 7 }))),
        ("reply-Part-Domains", reply(Outcome::Part(domains()))),
        ("reply-Part-Accounts", reply(Outcome::Part(accounts()))),
        ("reply-Part-DbProgress", reply(Outcome::Part(Rows::DbProgress(progress())))),
        ("reply-Part-DbProblems", reply(Outcome::Part(Rows::DbProblems(problems())))),
        ("reply-Part-DbSegments", reply(Outcome::Part(Rows::DbSegments(segments())))),
        ("reply-DbStats", reply(Outcome::Done(Answer::DbStats(Box::new(db_stats()))))),
        (
            "reply-DbStats-closed",
            reply(Outcome::Done(Answer::DbStats(Box::new(closed_db_stats())))),
        ),
        ("reply-DbVerified", reply(Outcome::Done(Answer::DbVerified(verified())))),
        ("reply-DbCopied", reply(Outcome::Done(Answer::DbCopied(copied())))),
        (
            "reply-DbCompacted",
            reply(Outcome::Done(Answer::DbCompacted(DbCompacted {
                bytes_before: 65_536,
                bytes_after: 251,
                kept_bytes: 250,
            }))),
        ),
        ("reply-DbKeyChanged", reply(Outcome::Done(Answer::DbKeyChanged(key_changed())))),
        ("reply-Part-Queue", reply(Outcome::Part(Rows::Queue(queue_rows())))),
        ("reply-Part-Dkim", reply(Outcome::Part(Rows::Dkim(dkim_rows())))),
        ("reply-Part-Aliases", reply(Outcome::Part(Rows::Aliases(aliases())))),
        ("reply-Part-AppPasswords", reply(Outcome::Part(Rows::AppPasswords(app_passwords())))),
        ("reply-Part-Settings", reply(Outcome::Part(Rows::Settings(settings())))),
        (
            "reply-AppPassword",
            reply(Outcome::Done(Answer::AppPassword {
                password: Secret("abcd-efgh-ijkm-npqr-st23".into()),
            })),
        ),
        ("reply-Part-DomainDns", reply(Outcome::Part(Rows::DomainDns(domain_dns_rows())))),
        ("reply-Part-Traces", reply(Outcome::Part(Rows::Traces(trace_rows())))),
        ("reply-Part-Events", reply(Outcome::Part(Rows::Events(two_events())))),
        (
            "reply-TracesEnd",
            reply(Outcome::Done(Answer::TracesEnd { rows: 2, next: Some(65_536) })),
        ),
        ("reply-TracesEnd-all", reply(Outcome::Done(Answer::TracesEnd { rows: 2, next: None }))),
        ("reply-Part-AliasTargets", reply(Outcome::Part(Rows::AliasTargets(alias_targets())))),
        ("reply-Part-Forwards", reply(Outcome::Part(Rows::Forwards(forwards())))),
        ("reply-QueueChanged", reply(Outcome::Done(Answer::QueueChanged { recipients: 65_536 }))),
        ("reply-Part-Routes", reply(Outcome::Part(Rows::Routes(routes())))),
        ("reply-Part-DeliverySteps", reply(Outcome::Part(Rows::DeliverySteps(steps())))),
        ("reply-Part-Quotas", reply(Outcome::Part(Rows::Quotas(quotas())))),
        ("reply-Part-Rights", reply(Outcome::Part(Rows::Rights(rights())))),
        ("reply-Part-Public", reply(Outcome::Part(Rows::Public(public())))),
        (
            "reply-QueueOrdered",
            reply(Outcome::Done(Answer::QueueOrdered { recipients: 65_536, underway: 251 })),
        ),
        (
            "reply-DeliveryTested",
            reply(Outcome::Done(Answer::DeliveryTested {
                verdict: DeliveryVerdict::Never,
                text: "why".into(),
            })),
        ),
        ("reply-Part-Sessions", reply(Outcome::Part(Rows::Sessions(sessions())))),
        ("reply-Part-SessionLines", reply(Outcome::Part(Rows::SessionLines(session_lines())))),
        ("reply-Part-Mailboxes", reply(Outcome::Part(Rows::Mailboxes(mailboxes())))),
        (
            "reply-SessionEnded",
            reply(Outcome::Done(Answer::SessionEnded { lines: 65_536, lost: 251 })),
        ),
        ("goodbye", ServerMessage::Goodbye(failure(Code::Stopping))),
        (
            "push-Stats",
            ServerMessage::Push(Push { subscription: 12, body: PushBody::Stats(stats()) }),
        ),
        (
            "push-Events-lost",
            ServerMessage::Push(Push {
                subscription: 11,
                body: PushBody::Events { lost: 4_294_967_296, events: two_events() },
            }),
        ),
    ]
    .into_iter()
    .map(|(name, message)| (name.to_owned(), message))
    .collect::<Vec<_>>();
    for code in CODES {
        let name = format!("reply-Failed-{}", code_name(code));
        all.push((name, reply(Outcome::Failed(failure(code)))));
    }
    all
}

/// One push for every kind of event, by name.
pub(crate) fn event_pushes() -> Vec<(String, ServerMessage)> {
    let pushes = events().into_iter().map(|event| {
        let name = format!("event-{}", event.kind.name());
        let body = PushBody::Events { lost: 0, events: vec![event] };
        (name, ServerMessage::Push(Push { subscription: 11, body }))
    });
    pushes.collect()
}

pub(crate) const CODES: [Code; 11] = [
    Code::Malformed,
    Code::Unsupported,
    Code::Forbidden,
    Code::Invalid,
    Code::NotFound,
    Code::AlreadyExists,
    Code::NotEmpty,
    Code::Busy,
    Code::Stopping,
    Code::Internal,
    Code::Cancelled,
];

pub(crate) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Malformed => "Malformed",
        Code::Unsupported => "Unsupported",
        Code::Forbidden => "Forbidden",
        Code::Invalid => "Invalid",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::NotEmpty => "NotEmpty",
        Code::Busy => "Busy",
        Code::Stopping => "Stopping",
        Code::Internal => "Internal",
        Code::Cancelled => "Cancelled",
    }
}

/// Names of what an outcome, an answer, rows, a push and a message of the server can be. The golden
/// test wants a sample for each.
pub(crate) fn server_variant(message: &ServerMessage) -> Vec<&'static str> {
    match message {
        ServerMessage::Goodbye(failure) => vec!["Goodbye", code_name(failure.code)],
        ServerMessage::Push(push) => match push.body {
            PushBody::Events { .. } => vec!["Push", "Events"],
            PushBody::Stats(_) => vec!["Push", "Stats"],
        },
        ServerMessage::Reply(reply) => match &reply.outcome {
            Outcome::Part(Rows::Domains(_)) => vec!["Reply", "Part", "Domains"],
            Outcome::Part(Rows::Accounts(_)) => vec!["Reply", "Part", "Accounts"],
            Outcome::Part(Rows::DbProgress(_)) => vec!["Reply", "Part", "DbProgress"],
            Outcome::Part(Rows::DbProblems(_)) => vec!["Reply", "Part", "DbProblems"],
            Outcome::Part(Rows::DbSegments(_)) => vec!["Reply", "Part", "DbSegments"],
            Outcome::Part(Rows::Queue(_)) => vec!["Reply", "Part", "Queue"],
            Outcome::Part(Rows::Dkim(_)) => vec!["Reply", "Part", "Dkim"],
            Outcome::Part(Rows::Aliases(_)) => vec!["Reply", "Part", "Aliases"],
            Outcome::Part(Rows::AppPasswords(_)) => vec!["Reply", "Part", "AppPasswords"],
            Outcome::Part(Rows::Settings(_)) => vec!["Reply", "Part", "Settings"],
            Outcome::Part(Rows::DomainDns(_)) => vec!["Reply", "Part", "DomainDns"],
            Outcome::Part(Rows::Traces(_)) => vec!["Reply", "Part", "Traces"],
            Outcome::Part(Rows::Events(_)) => vec!["Reply", "Part", "Events"],
            Outcome::Part(Rows::AliasTargets(_)) => vec!["Reply", "Part", "AliasTargets"],
            Outcome::Part(Rows::Forwards(_)) => vec!["Reply", "Part", "Forwards"],
            Outcome::Part(Rows::Routes(_)) => vec!["Reply", "Part", "Routes"],
            Outcome::Part(Rows::DeliverySteps(_)) => vec!["Reply", "Part", "DeliverySteps"],
            Outcome::Part(Rows::Quotas(_)) => vec!["Reply", "Part", "Quotas"],
            Outcome::Part(Rows::Rights(_)) => vec!["Reply", "Part", "Rights"],
            Outcome::Part(Rows::Public(_)) => vec!["Reply", "Part", "Public"],
            Outcome::Part(Rows::Sessions(_)) => vec!["Reply", "Part", "Sessions"],
            Outcome::Part(Rows::SessionLines(_)) => vec!["Reply", "Part", "SessionLines"],
            Outcome::Part(Rows::Mailboxes(_)) => vec!["Reply", "Part", "Mailboxes"],
            Outcome::Failed(failure) => vec!["Reply", "Failed", code_name(failure.code)],
            Outcome::Done(answer) => match answer {
                Answer::Done => vec!["Reply", "Done", "Done"],
                Answer::ServerInfo(_) => vec!["Reply", "Done", "ServerInfo"],
                Answer::Stats(_) => vec!["Reply", "Done", "Stats"],
                Answer::ListEnd { .. } => vec!["Reply", "Done", "ListEnd"],
                Answer::Subscribed { .. } => vec!["Reply", "Done", "Subscribed"],
                Answer::DbStats(_) => vec!["Reply", "Done", "DbStats"],
                Answer::DbVerified(_) => vec!["Reply", "Done", "DbVerified"],
                Answer::DbCopied(_) => vec!["Reply", "Done", "DbCopied"],
                Answer::DbCompacted(_) => vec!["Reply", "Done", "DbCompacted"],
                Answer::DbKeyChanged(_) => vec!["Reply", "Done", "DbKeyChanged"],
                Answer::QueueChanged { .. } => vec!["Reply", "Done", "QueueChanged"],
                Answer::AppPassword { .. } => vec!["Reply", "Done", "AppPassword"],
                Answer::TracesEnd { .. } => vec!["Reply", "Done", "TracesEnd"],
                Answer::QueueOrdered { .. } => vec!["Reply", "Done", "QueueOrdered"],
                Answer::DeliveryTested { .. } => vec!["Reply", "Done", "DeliveryTested"],
                Answer::SessionEnded { .. } => vec!["Reply", "Done", "SessionEnded"],
            },
        },
    }
}

/// All of what [`server_variant`] can give.
pub(crate) const SERVER_VARIANTS: [&[&str]; 41] = [
    &["Push", "Events"],
    &["Push", "Stats"],
    &["Reply", "Part", "Domains"],
    &["Reply", "Part", "Accounts"],
    &["Reply", "Done", "Done"],
    &["Reply", "Done", "ServerInfo"],
    &["Reply", "Done", "Stats"],
    &["Reply", "Done", "ListEnd"],
    &["Reply", "Done", "Subscribed"],
    &["Reply", "Part", "DbProgress"],
    &["Reply", "Part", "DbProblems"],
    &["Reply", "Part", "DbSegments"],
    &["Reply", "Done", "DbStats"],
    &["Reply", "Done", "DbVerified"],
    &["Reply", "Done", "DbCopied"],
    &["Reply", "Done", "DbCompacted"],
    &["Reply", "Done", "DbKeyChanged"],
    &["Reply", "Part", "Queue"],
    &["Reply", "Part", "Dkim"],
    &["Reply", "Part", "Aliases"],
    &["Reply", "Part", "AppPasswords"],
    &["Reply", "Part", "Settings"],
    &["Reply", "Done", "AppPassword"],
    &["Reply", "Part", "AliasTargets"],
    &["Reply", "Part", "Forwards"],
    &["Reply", "Done", "QueueChanged"],
    &["Reply", "Part", "DomainDns"],
    &["Reply", "Part", "Traces"],
    &["Reply", "Part", "Events"],
    &["Reply", "Done", "TracesEnd"],
    &["Reply", "Part", "Routes"],
    &["Reply", "Part", "DeliverySteps"],
    &["Reply", "Done", "QueueOrdered"],
    &["Reply", "Done", "DeliveryTested"],
    &["Reply", "Part", "Quotas"],
    &["Reply", "Part", "Rights"],
    &["Reply", "Part", "Public"],
    &["Reply", "Part", "Sessions"],
    &["Reply", "Part", "SessionLines"],
    &["Reply", "Part", "Mailboxes"],
    &["Reply", "Done", "SessionEnded"],
];

fn progress() -> DbProgress {
    DbProgress { doing: "journal".into(), done: 4_194_304, total: 8_388_608 }
}

fn problems() -> Vec<DbProblem> {
    let what = "the record's checksum is wrong".to_owned();
    vec![
        DbProblem { file: "0000000007.gj".into(), offset: Some(4_096), what },
        DbProblem { file: "message".into(), offset: None, what: "why".into() },
    ]
}

fn segments() -> Vec<DbSegment> {
    vec![
        DbSegment { number: 1, bytes: 67_108_864, live_bytes: 65_536 },
        DbSegment { number: 251, bytes: 4_096, live_bytes: 0 },
    ]
}

fn db_stats() -> DbStats {
    DbStats {
        folder: "/var/lib/grace/store".into(),
        is_backup: false,
        format: 2,
        lock: DbLock::KeyFile,
        data_keys: 1,
        transaction: 3,
        restorable_transaction: 4,
        restorable_us: 5,
        restore_points: 6,
        missing_files: 7,
        files: vec![
            DbFiles { purpose: DbPurpose::Rows, files: 8, bytes: 9, live_bytes: Some(10) },
            DbFiles { purpose: DbPurpose::Journal, files: 11, bytes: 12, live_bytes: Some(13) },
            DbFiles { purpose: DbPurpose::Kept, files: 14, bytes: 15, live_bytes: None },
            DbFiles { purpose: DbPurpose::Spare, files: 16, bytes: 17, live_bytes: None },
            DbFiles { purpose: DbPurpose::Meta, files: 18, bytes: 19, live_bytes: None },
        ],
        levels: vec![DbLevel { runs: 20, bytes: 21, entries: 22, tombstones: 23 }],
        counters: Some(DbCounters {
            retention_s: 24,
            rows_bytes: 25,
            cache_bytes: 26,
            cache_hits: 27,
            cache_misses: 28,
            commits: 29,
            syncs: 30,
            flushes: 31,
            flushed_bytes: 32,
            merges: 33,
            merged_bytes: 34,
            segments_cleaned: 35,
            moved_bytes: 36,
            damage: vec!["0000000007.gj: corrupt at byte 4096".into()],
        }),
    }
}

fn closed_db_stats() -> DbStats {
    DbStats { is_backup: true, lock: DbLock::Passphrase, counters: None, ..db_stats() }
}

fn verified() -> DbVerified {
    DbVerified {
        transaction: 1,
        files: 2,
        bytes: 3,
        records: 4,
        blocks: 5,
        rows: 6,
        entries: 7,
        pieces: 8,
        problems: 9,
    }
}

fn copied() -> DbCopied {
    DbCopied {
        folder: "/backup/grace".into(),
        transaction: 1,
        time_us: 1_790_000_000_000_000,
        files: 2,
        bytes: 3,
        new_files: 4,
        new_bytes: 5,
    }
}

fn key_changed() -> DbKeyChanged {
    DbKeyChanged {
        key_file: Some("/var/lib/grace/store.key".into()),
        earlier_key_file: Some("/var/lib/grace/store.key.until-20260921-141320".into()),
    }
}

pub(crate) fn server_info() -> ServerInfo {
    ServerInfo {
        version: "0.1.0".into(),
        hostname: "mail.example.org".into(),
        started_us: 1_790_000_000_000_000,
        pid: 4_711,
        data_folder: "/var/lib/grace".into(),
        doors: vec![
            Door { service: Service::Smtp, address: "127.0.0.1:2525".into() },
            Door { service: Service::Admin, address: "/run/grace/admin.sock".into() },
        ],
    }
}

pub(crate) fn stats() -> Stats {
    Stats {
        uptime_s: 1,
        resident_bytes: 2,
        sessions: vec![SessionCount { service: Service::Imap, open: 3, total: 4 }],
        connections_total: 5,
        connections_refused: 6,
        messages_accepted: 7,
        messages_refused: 8,
        messages_delivered: 9,
        messages_appended: 10,
        logins_ok: 11,
        logins_failed: 12,
        stored_bytes: 13,
        messages_stored: 14,
        mailboxes: 15,
        accounts: 16,
        domains: 17,
        db_commits: 18,
        db_syncs: 19,
        events: vec![EventCount { name: "LoginFailed".into(), count: 20 }],
    }
}

fn domains() -> Rows {
    Rows::Domains(vec![
        DomainRow { name: "example.org".into(), accounts: 2, created_us: 1 },
        DomainRow { name: "xn--mller-kva.example".into(), accounts: 0, created_us: 2 },
    ])
}

fn accounts() -> Rows {
    Rows::Accounts(vec![AccountRow {
        address: "info@example.org".into(),
        mailboxes: 6,
        messages: 250,
        stored_bytes: 251,
        created_us: 1_790_000_000_000_000,
    }])
}

/// The last two kinds of version 1.
fn two_events() -> Vec<Event> {
    events().into_iter().skip(22).take(2).collect()
}

/// One event of every kind.
pub(crate) fn events() -> Vec<Event> {
    let v4 = "192.0.2.1:25".parse().unwrap();
    let v6 = "[2001:db8::1]:993".parse().unwrap();
    let (service, account) = (Service::Imaps, || "info@example.org".to_owned());
    let (mailbox, reason) = (|| "INBOX".to_owned(), || "reason".to_owned());
    let (sender, reply) = (|| "a@example.net".to_owned(), || "550 5.1.1 no".to_owned());
    let kinds = vec![
        EventKind::ServerStarted { version: "0.1.0".into() },
        EventKind::ServerStopping,
        EventKind::Listening { service: Service::Smtp, address: "127.0.0.1:2525".into() },
        EventKind::ConnectionOpened { service: Service::Smtp, peer: v4 },
        EventKind::ConnectionRefused { service: Service::Submission, peer: v4, reason: reason() },
        EventKind::ConnectionClosed {
            service: Service::Submissions,
            peer: v6,
            reason: reason(),
            duration_ms: 1,
            bytes_in: 2,
            bytes_out: 3,
        },
        EventKind::TlsEstablished {
            service: Service::Imap,
            peer: v4,
            version: "TLS 1.3".into(),
            cipher: "TLS13_AES_256_GCM_SHA384".into(),
        },
        EventKind::TlsFailed { service, peer: v6, reason: reason() },
        EventKind::CommandRefused { service, peer: v6, command: "EHLO".into(), reply: reply() },
        EventKind::LoginSucceeded {
            service,
            peer: v6,
            account: account(),
            mechanism: "PLAIN".into(),
        },
        EventKind::LoginFailed {
            service,
            peer: v6,
            login: "root".into(),
            mechanism: "LOGIN".into(),
            reason: reason(),
        },
        EventKind::MessageAccepted {
            queue_id: "4f2a".into(),
            sender: sender(),
            recipients: 1,
            size: 2,
        },
        EventKind::MessageRefused { sender: sender(), reply: reply() },
        EventKind::MessageDelivered {
            queue_id: "4f2a".into(),
            account: account(),
            mailbox: mailbox(),
            uid: 1,
            size: 2,
        },
        EventKind::MessageAppended { account: account(), mailbox: mailbox(), uid: 3, size: 4 },
        EventKind::MessagesExpunged { account: account(), mailbox: mailbox(), count: 5 },
        EventKind::MailboxSelected { account: account(), mailbox: mailbox(), messages: 6 },
        EventKind::MailboxChanged {
            account: account(),
            mailbox: mailbox(),
            change: "created".into(),
        },
        EventKind::DirectoryChanged {
            what: account(),
            change: "created".into(),
            by: "otto".into(),
        },
        EventKind::CertificateReloaded { file: "CN=mail.example.org".into() },
        EventKind::CertificateRejected { reason: reason() },
        EventKind::StoreOpened { replayed: 1, cut_bytes: 2, took_ms: 3 },
        EventKind::StoreFailed { reason: reason() },
        EventKind::SessionPanicked { service: Service::Admin, peer: v4 },
        EventKind::StoreDamaged { what: "0000000007.gj: corrupt at byte 4096".into() },
    ];
    let numbered = (1_u64..).zip(kinds.into_iter().chain(outgoing()));
    numbered
        .map(|(seq, kind)| Event {
            seq,
            time_us: 1_790_000_000_000_000 + seq,
            trace: TraceId(u64::MAX - seq),
            kind,
        })
        .collect()
}

/// Events of mail with other servers.
fn outgoing() -> Vec<EventKind> {
    let text = |text: &str| text.to_owned();
    let (sender, account) = (text("a@example.net"), text("info@example.org"));
    vec![
        EventKind::RecipientSent {
            queue_id: "4f2a".into(),
            recipient: sender.clone(),
            remote: "mx.example.net".into(),
            tls: "TLSv1.3".into(),
            reply: text("550 5.1.1 no"),
        },
        EventKind::RecipientDeferred {
            queue_id: "4f2a".into(),
            recipient: sender.clone(),
            remote: String::new(),
            reason: text("reason"),
            attempts: 1,
            next_us: 1_790_000_060_000_000,
        },
        EventKind::RecipientFailed {
            queue_id: "4f2a".into(),
            recipient: sender.clone(),
            remote: "mx.example.net".into(),
            reason: text("reason"),
        },
        EventKind::SenderNotified {
            queue_id: "4f2a".into(),
            to: account,
            about: "1 recipient failed".into(),
        },
        EventKind::QueueChanged {
            what: "example.net".into(),
            change: "held".into(),
            recipients: 2,
            by: "otto".into(),
        },
        EventKind::SenderChecked {
            peer: "192.0.2.1:25".parse().unwrap(),
            sender: sender.clone(),
            author: "example.net".into(),
            iprev: "pass".into(),
            spf: "softfail".into(),
            dkim: "fail example.net".into(),
            arc: "none".into(),
            dmarc: "fail".into(),
            consequence: "refused".into(),
            reason: text("550 5.1.1 no"),
        },
        EventKind::MessageIdentified {
            queue_id: "4f2a".into(),
            sender: sender.clone(),
            message_id: "a@example.net".into(),
            recipients: vec!["a@example.org".into(), "b@example.org".into()],
            about: String::new(),
        },
        EventKind::RecipientRefused {
            peer: "192.0.2.1:25".parse().unwrap(),
            sender: sender.clone(),
            recipient: "nobody@example.org".into(),
            reply: "550 5.1.1 no".into(),
        },
        EventKind::DoorRefused {
            service: Service::Smtp,
            peer: "192.0.2.1:25".parse().unwrap(),
            command: "RCPT".into(),
            rule: "zen.example.net".into(),
            reason: text("reason"),
            count: 3,
        },
        EventKind::BlockListChanged {
            list: "zen.example.net".into(),
            is_asked: false,
            reason: text("reason"),
        },
        EventKind::MessageForwarded {
            queue_id: "4f2a".into(),
            onward_id: "4f2b".into(),
            by: "a@example.org".into(),
            sender,
            recipients: 2,
            sealed: true,
        },
        EventKind::SmartHostRefused {
            host: "relay.example.net:587".into(),
            login: "info@example.org".into(),
            reason: text("535 5.7.8 no"),
        },
        EventKind::QuotaReached { of: "@example.org".into(), percent: 95 },
    ]
}
