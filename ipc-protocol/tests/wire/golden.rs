//! The wire, frozen: every message is compared with the bytes it had when it was first released.
//!
//! A file that differs means that two programs in the world no longer understand each other. It is
//! never rewritten here; what has to change becomes a new variant with a new version. A NEW message
//! gets its file with `GRACE_BLESS_NEW=1 cargo test -p grace-ipc --test wire`, which touches no
//! file that exists.

use std::collections::BTreeSet;
use std::fmt::{Debug, Write as _};
use std::fs;
use std::path::PathBuf;

use grace_ipc::codec;
use grace_ipc::database::{DbLock, DbMoment, DbPurpose};
use grace_ipc::directory::AppScope;
use grace_ipc::dkim::{DkimAlgorithm, DkimPublished, DkimState};
use grace_ipc::domain_dns::{DnsImportance, DnsPurpose, DnsVerdict};
use grace_ipc::event::{Service, Topic};
use grace_ipc::frame;
use grace_ipc::hello::{ClientHello, Refusal, ServerHello, Verdict};
use grace_ipc::live::{SessionChoice, SessionSide};
use grace_ipc::message::{Answer, Outcome, PushBody, Request, Rows, ServerMessage};
use grace_ipc::role::Role;
use grace_ipc::route::{DeliveryVerdict, RouteOf, RouteTls, RouteTo, StepKind, StepResult};
use grace_ipc::trace::TraceOutcome;
use serde::{Serialize, de::DeserializeOwned};

use crate::samples;

const PUBLISHED: [DkimPublished; 4] =
    [DkimPublished::Found, DkimPublished::Missing, DkimPublished::Wrong, DkimPublished::Unknown];

const STEPS: [StepKind; 15] = [
    StepKind::Recipient,
    StepKind::Route,
    StepKind::Policy,
    StepKind::Mx,
    StepKind::Addresses,
    StepKind::Connect,
    StepKind::Greeting,
    StepKind::Hello,
    StepKind::StartTls,
    StepKind::Certificate,
    StepKind::Login,
    StepKind::Mail,
    StepKind::Rcpt,
    StepKind::Reset,
    StepKind::Quit,
];

/// Compares, or makes a file that is not there if it is asked to.
struct Golden {
    folder: PathBuf,
    bless_new: bool,
    wrong: Vec<String>,
    seen: BTreeSet<String>,
}

impl Golden {
    fn new() -> Self {
        Self {
            folder: PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden"),
            bless_new: std::env::var_os("GRACE_BLESS_NEW").is_some_and(|value| value == "1"),
            wrong: Vec::new(),
            seen: BTreeSet::new(),
        }
    }

    fn check(&mut self, name: &str, bytes: &[u8]) {
        let file = format!("{name}.hex");
        let path = self.folder.join(&file);
        assert!(self.seen.insert(file.clone()), "two samples are called {name}");
        let now = hex(bytes);
        match fs::read_to_string(&path) {
            Ok(frozen) if frozen == now => {}
            Ok(frozen) => self.wrong.push(format!(
                "{file} CHANGED ON THE WIRE. Released programs will not understand it; add a new \
                 variant instead.\nfrozen:\n{frozen}now:\n{now}"
            )),
            Err(_) if self.bless_new => fs::write(&path, now).unwrap(),
            Err(_) => self.wrong.push(format!(
                "{file} is missing. If the message is new: GRACE_BLESS_NEW=1 cargo test -p \
                 grace-ipc --test wire, and commit the file. now:\n{now}"
            )),
        }
    }

    fn finish(self) {
        for entry in fs::read_dir(&self.folder).unwrap() {
            let file = entry.unwrap().file_name().into_string().unwrap();
            assert!(self.seen.contains(&file), "{file} has no sample any more: was it removed?");
        }
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
    }
}

/// Sixteen bytes a line, and the printable ones beside them.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(16) {
        let pairs: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let letter = |&byte: &u8| if byte.is_ascii_graphic() { char::from(byte) } else { '.' };
        let letters: String = line.iter().map(letter).collect();
        writeln!(text, "{:<47}  {letters}", pairs.join(" ")).unwrap();
    }
    text
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write(body, frame::FROM_SERVER_BYTES_MAX, &mut bytes).unwrap();
    bytes
}

#[test]
fn the_wire_is_frozen() {
    let mut golden = Golden::new();
    for (name, hello) in client_hellos() {
        let bytes = hello.to_bytes();
        golden.check(name, &bytes);
        assert_eq!(ClientHello::take(&bytes), Ok(Some((hello, bytes.len()))), "{name}");
    }
    for (name, hello) in server_hellos() {
        let bytes = hello.to_bytes();
        golden.check(name, &bytes);
        assert_eq!(ServerHello::take(&bytes), Ok(Some((hello, bytes.len()))), "{name}");
    }
    for (name, request) in samples::requests() {
        let body = codec::encode(&request).unwrap();
        golden.check(&name, &framed(&body));
        assert_eq!(codec::decode::<Request>(&body).unwrap(), request, "{name}");
    }
    for (name, message) in samples::answers().into_iter().chain(samples::event_pushes()) {
        let body = codec::encode(&message).unwrap();
        golden.check(&name, &framed(&body));
        assert_eq!(codec::decode::<ServerMessage>(&body).unwrap(), message, "{name}");
    }
    golden.finish();
}

/// Written out and not made by `new`: the hello of a build moves on with its versions, the layout
/// stays.
fn client_hellos() -> Vec<(&'static str, ClientHello)> {
    let hello = |role, features: &[&str]| ClientHello {
        oldest: 1,
        newest: 0x0203,
        role,
        features: features.iter().map(|&feature| feature.to_owned()).collect(),
        software: "gracectl 0.1.0".to_owned(),
    };
    vec![
        ("hello-client-viewer", hello(Role::Viewer, &[])),
        ("hello-client-operator", hello(Role::Operator, &["events"])),
        ("hello-client-owner", hello(Role::Owner, &["directory", "events", "stats"])),
    ]
}

fn server_hellos() -> Vec<(&'static str, ServerHello)> {
    let hello = |verdict| ServerHello {
        oldest: 1,
        newest: 0x0203,
        verdict,
        features: vec!["directory".to_owned(), "events".to_owned()],
        software: "graced 0.1.0".to_owned(),
    };
    let refused = |refusal| hello(Verdict::Refused { refusal, text: "why".to_owned() });
    vec![
        ("hello-server-welcome", hello(Verdict::Welcome { version: 1, role: Role::Viewer })),
        ("hello-server-refused-version", refused(Refusal::Version)),
        ("hello-server-refused-forbidden", refused(Refusal::Forbidden)),
        ("hello-server-refused-busy", refused(Refusal::Busy)),
        ("hello-server-refused-other", refused(Refusal::Other(200))),
    ]
}

/// Does bincode know just so many variants of this enum? A sample for each is then no guess.
fn has_variants<T: DeserializeOwned + Debug>(count: usize) {
    let error = codec::decode::<T>(&[u8::try_from(count).unwrap()]).unwrap_err().to_string();
    let expected = format!("variant index 0 <= i < {count}");
    assert!(error.contains(&expected), "{}: {error}", std::any::type_name::<T>());
}

/// These values are the variants of their enum, all of them, in the order of the wire.
fn are_all_variants<T: Serialize + DeserializeOwned + Debug>(all: impl IntoIterator<Item = T>) {
    let numbers: Vec<u8> = all.into_iter().map(|one| codec::encode(&one).unwrap()[0]).collect();
    let places: Vec<u8> = (0..).take(numbers.len()).collect();
    assert_eq!(numbers, places, "{}", std::any::type_name::<T>());
    has_variants::<T>(numbers.len());
}

/// A variant that no sample shows could change unseen.
#[test]
fn every_variant_has_a_sample() {
    are_all_variants(samples::events().into_iter().map(|event| event.kind));
    are_all_variants(samples::requests().into_iter().map(|(_, request)| request.body).take(61));
    are_all_variants(samples::CODES);
    are_all_variants(Service::ALL);
    are_all_variants(Topic::ALL);
    has_variants::<ServerMessage>(3);
    has_variants::<Outcome>(3);
    has_variants::<Rows>(23);
    has_variants::<Answer>(16);
    has_variants::<PushBody>(2);
    are_all_variants([
        DbPurpose::Rows,
        DbPurpose::Journal,
        DbPurpose::Kept,
        DbPurpose::Spare,
        DbPurpose::Meta,
    ]);
    are_all_variants([DbLock::Nothing, DbLock::KeyFile, DbLock::Passphrase]);
    has_variants::<DbMoment>(3);
    are_all_variants([DkimAlgorithm::Rsa, DkimAlgorithm::Ed25519]);
    are_all_variants([DkimState::Waiting, DkimState::Signing, DkimState::Retired]);
    are_all_variants(PUBLISHED);
    are_all_variants(AppScope::ALL);
    are_all_variants(DnsPurpose::ALL);
    are_all_variants(DnsImportance::ALL);
    are_all_variants(DnsVerdict::ALL);
    are_all_variants(TraceOutcome::ALL);
    are_all_variants([RouteOf::Recipient, RouteOf::Sender]);
    are_all_variants([RouteTls::Opportunistic, RouteTls::StartTls, RouteTls::Immediate]);
    has_variants::<RouteTo>(2);
    has_variants::<SessionChoice>(3);
    are_all_variants([SessionSide::Client, SessionSide::Server, SessionSide::Note]);
    are_all_variants(STEPS);
    are_all_variants([StepResult::Good, StepResult::Caution, StepResult::Failed]);
    are_all_variants([
        DeliveryVerdict::Accepted,
        DeliveryVerdict::Local,
        DeliveryVerdict::Later,
        DeliveryVerdict::Never,
    ]);

    let answers = samples::answers();
    let shown: BTreeSet<Vec<&str>> =
        answers.iter().map(|(_, message)| samples::server_variant(message)).collect();
    for variant in samples::SERVER_VARIANTS {
        assert!(shown.contains(variant), "{variant:?} has no sample");
    }
    for code in samples::CODES {
        assert!(shown.contains(&vec!["Reply", "Failed", samples::code_name(code)]), "{code:?}");
    }
}
