//! Logins: by SCRAM, tied to TLS or not, by application passwords, and how they end.

use std::net::IpAddr;
use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use grace_smtp::channel_binding::{EXPORTER_LABEL, server_end_point};

use super::*;
use crate::directory::Person;
use crate::directory::guest::{Guest, Verdict};
use crate::net::tls_client;
use crate::store::logins::{AppPasswordRow, Scope, ScramKeyRow};

const PASSWORD: &str = "correct horse";
const WELCOME: &str = "235 2.7.0 you are logged in\r\n";
const NO: &str = "535 5.7.8 wrong login or password\r\n";

/// A client that can do SCRAM.
struct Client<S> {
    stream: S,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    async fn greeted(mut stream: S) -> Self {
        line(&mut stream).await;
        let mut client = Self { stream };
        client.ask("EHLO x").await;
        client
    }

    /// Says a line; returns all lines of the answer.
    async fn ask(&mut self, command: &str) -> String {
        self.stream.write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        loop {
            let one = line(&mut self.stream).await;
            answer += &one;
            if one.as_bytes().get(3) != Some(&b'-') {
                return answer;
            }
        }
    }

    async fn plain(&mut self, login: &str, password: &str) -> String {
        let message = BASE64.encode(format!("\0{login}\0{password}"));
        self.ask(&format!("AUTH PLAIN {message}")).await
    }

    /// Logs in (RFC 5802 3), and checks that the server knows the password, too. Gives the salt
    /// with the last answer.
    async fn scram(
        &mut self,
        (mechanism, header, binding): (&str, &str, &[u8]),
        (login, password): (&str, &str),
    ) -> (String, String) {
        let bare = format!("n={login},r=fyko+d2lbbFgONRv9qkxdawL");
        let first = BASE64.encode(format!("{header}{bare}"));
        let answer = self.ask(&format!("AUTH {mechanism} {first}")).await;
        let Some(challenge) = answer.strip_prefix("334 ") else {
            return (String::new(), answer);
        };
        let challenge = String::from_utf8(BASE64.decode(challenge.trim_end()).unwrap()).unwrap();
        let parts: Vec<&str> = challenge.split(',').collect();
        let [nonce, salt, iterations] = parts.as_slice() else { panic!("{challenge}") };
        let salted = salted(password, &salt[2..], iterations[2..].parse().unwrap());
        let bound = BASE64.encode([header.as_bytes(), binding].concat());
        let stem = format!("c={bound},{nonce}");
        let signed = format!("{bare},{challenge},{stem}");
        let client_key = mac(&salted, b"Client Key");
        let stored = digest::digest(&digest::SHA256, &client_key);
        let signature = mac(stored.as_ref(), signed.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        let last = BASE64.encode(format!("{stem},p={}", BASE64.encode(proof)));
        let answer = self.ask(&last).await;
        let Some(message) = answer.strip_prefix("334 ") else {
            return ((*salt).to_owned(), answer);
        };
        let ours = mac(&mac(&salted, b"Server Key"), signed.as_bytes());
        let expected = BASE64.encode(format!("v={}", BASE64.encode(ours)));
        assert_eq!(message.trim_end(), expected, "the server proves itself");
        ((*salt).to_owned(), self.ask("").await)
    }

    async fn scram_256(&mut self, login: &str, password: &str) -> (String, String) {
        self.scram(("SCRAM-SHA-256", "n,,", b""), (login, password)).await
    }
}

async fn line(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    let heard = async {
        while !bytes.ends_with(b"\r\n") {
            bytes.push(stream.read_u8().await.unwrap());
        }
    };
    timeout(PATIENCE, heard).await.expect("it is answered");
    String::from_utf8(bytes).unwrap()
}

fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}

fn salted(password: &str, salt: &str, iterations: NonZeroU32) -> Vec<u8> {
    let mut salted = vec![0; 32];
    let salt = BASE64.decode(salt).unwrap();
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::derive(algorithm, iterations, &salt, password.as_bytes(), &mut salted);
    salted
}

/// A client of a house on loopback, where logins need no TLS.
async fn client(house: &House) -> Client<TcpStream> {
    Client::greeted(TcpStream::connect(house.address).await.unwrap()).await
}

async fn secure_client(house: &House) -> Client<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(house.address).await.unwrap();
    let name = ServerName::try_from("mail.grace.test").unwrap();
    let config = tls_client::Client::any_certificate().config;
    let stream = TlsConnector::from(config).connect(name, tcp);
    Client::greeted(stream.await.unwrap()).await
}

#[tokio::test]
async fn scram_looks_the_same_whoever_asks() {
    let house = House::open(Service::Submission).await;
    let mut peer = client(&house).await;
    let (salt, answer) = peer.scram_256("anna@grace.test", "wrong horse").await;
    assert_eq!(answer, NO);
    let (nobody, answer) = peer.scram_256("nobody@grace.test", PASSWORD).await;
    assert_eq!((answer.as_str(), nobody.len()), (NO, salt.len()));
    assert_ne!(nobody, salt);
    let (again, _) = peer.scram_256("NOBODY@grace.test", PASSWORD).await;
    assert_eq!(again, nobody);
    let (same, answer) = peer.scram_256("Anna@Grace.Test", PASSWORD).await;
    assert_eq!((answer.as_str(), &same), (WELCOME, &salt));
    assert_eq!(peer.ask("MAIL FROM:<anna@grace.test>").await, "250 2.1.0 sender ok\r\n");
    // Neither another password nor the end of the account shows in the salt.
    let directory = &house.services.directory;
    let other = Zeroizing::new("battery staple".to_owned());
    directory.set_password("anna@grace.test", other, "test").await.unwrap();
    let mut peer = client(&house).await;
    assert_eq!(peer.scram_256("anna@grace.test", PASSWORD).await, (salt.clone(), NO.to_owned()));
    directory.delete_account("anna@grace.test", "test").await.unwrap();
    assert_eq!(peer.scram_256("anna@grace.test", PASSWORD).await, (salt, NO.to_owned()));
    house.close().await;
}

#[tokio::test]
async fn an_account_from_before_gets_keys_at_its_next_login() {
    let house = House::open(Service::Submission).await;
    let db = &house.services.db;
    let anna: Person = person(&house, "anna@grace.test");
    db.write(|tx| tx.delete::<ScramKeyRow>(&anna.id)).unwrap().await.unwrap();
    let mut peer = client(&house).await;
    let (salt, answer) = peer.scram_256("anna@grace.test", PASSWORD).await;
    assert_eq!(answer, NO);
    assert_eq!(peer.plain("anna@grace.test", PASSWORD).await, WELCOME);
    let mut peer = client(&house).await;
    assert_eq!(peer.scram_256("anna@grace.test", PASSWORD).await, (salt, WELCOME.to_owned()));
    house.close().await;
}

#[tokio::test]
async fn logins_are_tied_to_their_connection() {
    let house = House::open(Service::Submissions).await;
    let anna = ("anna@grace.test", PASSWORD);
    let mut peer = secure_client(&house).await;
    let ehlo = peer.ask("EHLO x").await;
    assert!(ehlo.contains("AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN\r\n"), "{ehlo}");
    let (_, session) = peer.stream.get_ref();
    let exporter = session.export_keying_material([0; 32], EXPORTER_LABEL, None).unwrap();
    let certificate = session.peer_certificates().unwrap()[0].clone();
    let header = "p=tls-exporter,,";
    let plus = "SCRAM-SHA-256-PLUS";
    // Somebody between us has another connection to us than to the client.
    let (_, answer) = peer.scram((plus, header, &[0; 32]), anna).await;
    assert!(answer.starts_with("535 5.7.8 the channel binding is not"), "{answer}");
    let (_, answer) = peer.scram(("SCRAM-SHA-256", "y,,", b""), anna).await;
    assert!(answer.starts_with("535 5.7.8 channel binding is offered"), "{answer}");
    assert_eq!(peer.scram((plus, header, &exporter), anna).await.1, WELCOME);
    let mut peer = secure_client(&house).await;
    let end_point = server_end_point(&certificate).unwrap();
    let answer = peer.scram((plus, "p=tls-server-end-point,,", &end_point), anna).await;
    assert_eq!(answer.1, WELCOME);
    house.close().await;
}

fn person(house: &House, address: &str) -> Person {
    match house.services.directory.resolve(&address.parse().unwrap()) {
        Ok(Destination::Account(person)) => person,
        other => panic!("{address}: {other:?}"),
    }
}

async fn app_password(house: &House, name: &str, scope: Scope) -> Zeroizing<String> {
    let directory = &house.services.directory;
    directory.create_app_password("anna@grace.test", name, scope, "test").await.unwrap()
}

fn app_row(house: &House, name: &str) -> AppPasswordRow {
    let rows = house.services.directory.app_passwords("anna@grace.test").unwrap();
    rows.into_iter().find(|row| row.name == name).unwrap()
}

#[tokio::test]
async fn an_application_password_is_good_for_what_it_is_for() {
    let house = House::open(Service::Submission).await;
    let sends = app_password(&house, "laptop", Scope::Smtp).await;
    let reads = app_password(&house, "reader", Scope::Imap).await;
    assert_ne!(*sends, *reads);
    assert_eq!(app_row(&house, "laptop").used_us, 0);
    for typed in [sends.to_string(), sends.replace('-', "").to_uppercase()] {
        let mut peer = client(&house).await;
        assert_eq!(peer.plain("anna@grace.test", &typed).await, WELCOME, "{typed}");
    }
    let row = app_row(&house, "laptop");
    assert_eq!(row.used_from, "127.0.0.1");
    assert!(now_us_is_near(row.used_us), "{}", row.used_us);
    let mut peer = client(&house).await;
    assert_eq!(peer.plain("bob@grace.test", &sends).await, NO, "it is anna's");
    assert_eq!(peer.plain("anna@grace.test", &reads).await, NO);
    let wrong = |e: &EventKind| {
        matches!(e, EventKind::LoginFailed { reason, .. }
        if reason == "the application password is not for this")
    };
    house.event(wrong).await;
    assert_eq!(peer.scram_256("anna@grace.test", &reads).await.1, NO);
    assert_eq!(peer.scram_256("anna@grace.test", &sends).await.1, WELCOME);
    let mut peer = client(&house).await;
    assert_eq!(peer.scram_256("anna@grace.test", PASSWORD).await.1, WELCOME, "her own still is");
    house.close().await;
}

fn now_us_is_near(time_us: u64) -> bool {
    now_ms().saturating_sub(time_us / 1_000) < 60_000
}

#[tokio::test]
async fn application_passwords_are_counted_and_named() {
    let house = House::open(Service::Submission).await;
    app_password(&house, "phone", Scope::Both).await;
    let directory = &house.services.directory;
    let make = async |address: &str, name: &str| {
        let made = directory.create_app_password(address, name, Scope::Both, "test").await;
        made.map(drop).map_err(|e| e.to_string())
    };
    let taken = make("anna@grace.test", "phone").await.unwrap_err();
    assert_eq!(taken, "the application password \"phone\" exists already");
    assert!(make("nobody@grace.test", "phone").await.is_err());
    assert_eq!(make("bob@grace.test", "phone").await, Ok(()), "his own");
    for number in 1..20 {
        assert_eq!(make("anna@grace.test", &format!("n{number}")).await, Ok(()));
    }
    let full = make("anna@grace.test", "one more").await.unwrap_err();
    assert!(full.contains("limits.app_passwords_max"), "{full}");
    let delete = directory.delete_app_password("anna@grace.test", "unknown", "test").await;
    assert!(delete.is_err());
    house.close().await;
}

#[tokio::test]
async fn a_login_that_is_not_good_any_more_ends_its_sessions() {
    let house = House::open(Service::Submission).await;
    let directory = &house.services.directory;
    let phone = app_password(&house, "phone", Scope::Both).await;
    let mut own = client(&house).await;
    assert_eq!(own.plain("anna@grace.test", PASSWORD).await, WELCOME);
    let mut by_phone = client(&house).await;
    assert_eq!(by_phone.plain("anna@grace.test", &phone).await, WELCOME);
    let bye = "421 4.7.0 your login is not valid any more, closing\r\n";
    directory.delete_app_password("anna@grace.test", "phone", "test").await.unwrap();
    assert_eq!(line(&mut by_phone.stream).await, bye);
    assert_eq!(own.ask("NOOP").await, "250 2.0.0 ok\r\n");
    let other = Zeroizing::new("battery staple".to_owned());
    directory.set_password("anna@grace.test", other, "test").await.unwrap();
    assert_eq!(line(&mut own.stream).await, bye);
    let mut peer = client(&house).await;
    assert_eq!(peer.plain("anna@grace.test", PASSWORD).await, NO, "nothing remembers it");
    assert_eq!(peer.plain("anna@grace.test", &phone).await, NO);
    assert_eq!(peer.plain("anna@grace.test", "battery staple").await, WELCOME);
    directory.set_address("anna@grace.test", "state", "no-login", "test").await.unwrap();
    assert_eq!(line(&mut peer.stream).await, bye);
    let mut bob = client(&house).await;
    assert_eq!(bob.plain("bob@grace.test", PASSWORD).await, WELCOME);
    directory.set_domain("grace.test", "disabled", "yes", "test").await.unwrap();
    assert_eq!(line(&mut bob.stream).await, bye);
    let mut bob = client(&house).await;
    assert_eq!(bob.plain("bob@grace.test", PASSWORD).await, NO);
    assert_eq!(bob.scram_256("bob@grace.test", PASSWORD).await.1, NO);
    house.close().await;
}

/// Somebody from elsewhere: on loopback nobody is banned.
fn guest(house: &House, address: &str) -> Guest {
    let ip: IpAddr = address.parse().unwrap();
    let (directory, porter) = (house.services.directory.clone(), house.services.porter.clone());
    Guest::new(directory, porter, Service::Submission, (ip, 4_711).into(), TraceId(1))
}

async fn tries(guest: &mut Guest, login: &str, password: &str) -> Verdict {
    guest.password("PLAIN", login, Zeroizing::new(password.as_bytes().to_vec())).await
}

#[tokio::test]
async fn an_office_is_not_banned_for_one_of_its_people() {
    let house = House::open(Service::Submission).await;
    let (mut anna, mut bot) = (guest(&house, "192.0.2.1"), guest(&house, "192.0.2.1"));
    let welcome = tries(&mut anna, "anna@grace.test", PASSWORD).await;
    assert!(matches!(welcome, Verdict::Welcome(..)), "{welcome:?}");
    for _ in 0..30 {
        let old = tries(&mut bot, "bob@grace.test", "an old one").await;
        assert!(matches!(old, Verdict::No), "the same again is no other guess: {old:?}");
    }
    for number in 0..19 {
        tries(&mut bot, "bob@grace.test", &number.to_string()).await;
    }
    house
        .event(|e| {
            matches!(e, EventKind::LoginFailed { reason, .. }
        if reason.contains("its address is kept out for 3600 s"))
        })
        .await;
    let right = tries(&mut bot, "bob@grace.test", PASSWORD).await;
    assert!(matches!(right, Verdict::Limited), "{right:?}");
    assert!(guest(&house, "192.0.2.1").keys("SCRAM-SHA-256", "bob@grace.test").await.is_none());
    let known = tries(&mut guest(&house, "192.0.2.1"), "anna@grace.test", PASSWORD).await;
    assert!(matches!(known, Verdict::Welcome(..)), "{known:?}");
    let elsewhere = tries(&mut guest(&house, "192.0.2.2"), "bob@grace.test", PASSWORD).await;
    assert!(matches!(elsewhere, Verdict::Welcome(..)), "{elsewhere:?}");
    house.close().await;
}
