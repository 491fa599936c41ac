//! How two versions meet.

use grace_ipc::hello::{
    self, ClientHello, HelloError, MAGIC_CLIENT, MAGIC_SERVER, Refusal, ServerHello, Verdict,
};
use grace_ipc::role::Role;
use grace_ipc::session::asker::{Greeting, GreetingError};
use grace_ipc::version::{NEWEST, OLDEST, Version};

/// The first bytes of every conversation there will ever be.
#[test]
fn the_magic_is_frozen() {
    assert_eq!(MAGIC_CLIENT, [0x47, 0x52, 0x41, 0x43, 0x45, 0x0d, 0x0a, 0x43]);
    assert_eq!(MAGIC_SERVER, [0x47, 0x52, 0x41, 0x43, 0x45, 0x0d, 0x0a, 0x53]);
}

#[test]
fn a_hello_comes_in_any_pieces() {
    let hello = ClientHello::new("gracectl 0.1.0", Role::Viewer);
    let bytes = hello.to_bytes();
    for end in 0..bytes.len() {
        assert_eq!(ClientHello::take(&bytes[..end]), Ok(None), "{end} bytes");
    }
    let mut more = bytes.clone();
    more.extend_from_slice(b"frame");
    assert_eq!(ClientHello::take(&more), Ok(Some((hello, bytes.len()))));
}

/// A later program writes more into its hello; we do not look there.
#[test]
fn a_hello_from_the_future_is_read() {
    let hello = ServerHello::new("graced 9", Verdict::Welcome { version: 1, role: Role::Owner });
    let mut bytes = hello.to_bytes();
    bytes.extend_from_slice(b"what is to come");
    let length = u16::try_from(bytes.len() - 10).unwrap();
    bytes[8..10].copy_from_slice(&length.to_le_bytes());
    assert_eq!(ServerHello::take(&bytes), Ok(Some((hello, bytes.len()))));
}

#[test]
fn strangers_are_known_by_their_first_bytes() {
    let error = |bytes: &[u8]| ServerHello::take(bytes).unwrap_err().to_string();
    let says = |start: &str| {
        format!("the other side does not speak Grace's admin protocol: it began with \"{start}\"")
    };
    assert_eq!(error(b"220 mail.example.org ESMTP"), says("220 mail.example"));
    assert_eq!(error(b"bash: graced: command not found\n"), says("bash: graced: co"));
    // A terminal in the way made CR LF of our LF, or LF of our CR LF.
    assert_eq!(error(b"GRACE\nS"), says("GRACE\\nS"));
    // Two clients, or a client connected to itself.
    assert_eq!(error(b"GRACE\r\nC"), says("GRACE\\r\\nC"));
    let claims = |length: u16| {
        let mut bytes = MAGIC_CLIENT.to_vec();
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes
    };
    assert_eq!(ClientHello::take(&claims(4_097)), Err(HelloError::TooLong { bytes: 4_097 }));
    assert_eq!(ClientHello::take(&claims(4_096)), Ok(None));
    let mut short = claims(3);
    short.extend_from_slice(&[1, 0, 1]);
    assert_eq!(ClientHello::take(&short), Err(HelloError::Short));
}

#[test]
fn the_verdict_is_a_table() {
    use Role::{Operator, Owner, Viewer};
    let (oldest, newest) = (OLDEST.number(), NEWEST.number());
    #[rustfmt::skip]
    let table = [
        // asked     allowed         granted
        (Viewer,     Some(Owner),    Some(Viewer)),
        (Operator,   Some(Owner),    Some(Operator)),
        (Owner,      Some(Owner),    Some(Owner)),
        (Owner,      Some(Operator), Some(Operator)),
        (Operator,   Some(Viewer),   Some(Viewer)),
        (Owner,      None,           None),
    ];
    for (asked, allowed, granted) in table {
        match hello::judge(&ClientHello::new("test", asked), allowed) {
            Verdict::Welcome { version, role } => {
                assert_eq!((version, Some(role)), (newest, granted));
            }
            Verdict::Refused { refusal, .. } => {
                assert_eq!((refusal, None), (Refusal::Forbidden, granted));
            }
        }
    }
    let versions = |oldest, newest| {
        let hello = ClientHello { oldest, newest, ..ClientHello::new("test", Viewer) };
        hello::judge(&hello, Some(Owner))
    };
    let welcome = Verdict::Welcome { version: newest, role: Viewer };
    assert_eq!(versions(oldest, newest + 9), welcome);
    let refused = |text: &str| Verdict::Refused { refusal: Refusal::Version, text: text.into() };
    assert_eq!(
        versions(newest + 1, newest + 9),
        refused(&format!(
            "no common version: this server speaks {oldest} to {newest}, the client {} to {}; \
             update the server",
            newest + 1,
            newest + 9
        ))
    );
    assert_eq!(
        versions(0, oldest - 1),
        refused(&format!(
            "no common version: this server speaks {oldest} to {newest}, the client 0 to {}; \
             update the client",
            oldest - 1
        ))
    );
}

#[test]
fn a_client_believes_only_what_it_offered() {
    let answer = |verdict| {
        let bytes = ServerHello::new("graced 0.1.0", verdict).to_bytes();
        Greeting::new("test", Role::Viewer).receive(&bytes).map(|done| done.unwrap().welcome)
    };
    let welcome = answer(Verdict::Welcome { version: 1, role: Role::Viewer }).unwrap();
    assert_eq!((welcome.version, welcome.role), (Version::V1, Role::Viewer));
    assert_eq!(welcome.software, "graced 0.1.0");
    assert_eq!(
        answer(Verdict::Welcome { version: 700, role: Role::Viewer }),
        Err(GreetingError::ForeignVersion { version: 700 })
    );
    let text = "no common version".to_owned();
    let refused = answer(Verdict::Refused { refusal: Refusal::Version, text }).unwrap_err();
    assert_eq!(refused.to_string(), "the server (graced 0.1.0) refused: no common version");
}
