//! Conversations about SCRAM-SHA-256, its -PLUS and OAUTHBEARER. The client's nonce is `abc` and
//! ours `xyz`, so that every message is known beforehand.

use base64::Engine as _;

use super::*;
use crate::login::BASE64;

const GREETED: &str = "S: 220 mx.grace.test ESMTP Grace
    C: HELO x
    S: 250 mx.grace.test
    ";

/// What anna's client sends and hears, each line in base64: first message, challenge, proof,
/// our signature.
struct Lines {
    first: String,
    challenge: String,
    proof: String,
    signature: String,
}

fn lines(login: &str, password: &str, header: &str, binding: &[u8]) -> Lines {
    let bare = format!("n={login},r=abc");
    let salt = BASE64.encode(&keys(login).salt);
    let challenge = format!("r=abcxyz,s={salt},i=10");
    let bound = [header.as_bytes(), binding].concat();
    let (proof, signature) = scram::tests::client(password, &bare, &challenge, &bound);
    Lines {
        first: BASE64.encode(format!("{header}{bare}")),
        challenge: BASE64.encode(challenge),
        proof: BASE64.encode(proof),
        signature: BASE64.encode(signature),
    }
}

fn anna(header: &str, binding: &[u8]) -> Lines {
    lines("anna", "secret", header, binding)
}

#[test]
fn a_login_without_a_password_on_the_wire() {
    let Lines { first, challenge, proof, signature } = anna("n,,", b"");
    let rest = format!(
        "S: 334 {challenge}
         C: {proof}
         S: 334 {signature}
         C:
         S: 235 2.7.0 you are logged in
         -- Proof {{ mechanism: ScramSha256, login: \"anna\", right: Some(0) }}
         C: MAIL FROM:<anna@grace.test>
         S: 250 2.1.0 sender ok"
    );
    check(Role::Submissions, &format!("{GREETED} C: AUTH SCRAM-SHA-256 {first}\n {rest}"));
    check(
        Role::Submissions,
        &format!("{GREETED} C: auth scram-sha-256\n S: 334 \n C: {first}\n {rest}"),
    );
}

#[test]
fn a_login_tied_to_its_connection() {
    let Lines { first, challenge, proof, signature } = anna("p=tls-exporter,,", &[7; 32]);
    check(
        Role::Submissions,
        &format!(
            "{GREETED}
             C: AUTH SCRAM-SHA-256-PLUS {first}
             S: 334 {challenge}
             C: {proof}
             S: 334 {signature}
             C:
             S: 235 2.7.0 you are logged in
             -- Proof {{ mechanism: ScramSha256Plus, login: \"anna\", right: Some(0) }}"
        ),
    );
    let Lines { first, challenge, proof, .. } = anna("p=tls-exporter,,", &[8; 32]);
    let not_ours = "535 5.7.8 the channel binding is not that of this connection";
    let hidden = anna("y,,", b"").first;
    let end_point = anna("p=tls-server-end-point,,", b"").first;
    check(
        Role::Submissions,
        &format!(
            "{GREETED}
             C: AUTH SCRAM-SHA-256-PLUS {first}
             S: 334 {challenge}
             C: {proof}
             S: {not_ours}
             N: AUTH SCRAM-SHA-256-PLUS | {not_ours}
             C: AUTH SCRAM-SHA-256 {hidden}
             S: 535 5.7.8 channel binding is offered, somebody hides it from you
             C: AUTH SCRAM-SHA-256-PLUS {end_point}
             S: 535 5.7.8 this channel binding is not supported here
             C: AUTH SCRAM-SHA-256 {first}
             S: 501 5.5.2 cannot read the response
             C: AUTH SCRAM-SHA-256-PLUS {hidden}
             S: 501 5.5.2 cannot read the response
             C: MAIL FROM:<anna@grace.test>
             S: 530 5.7.0 log in first"
        ),
    );
}

#[test]
fn a_wrong_password_and_a_login_that_nobody_has_look_alike() {
    let strict = Settings { login_failures_max: 2, ..settings(Role::Submissions) };
    let wrong = lines("anna", "Secret", "n,,", b"");
    let nobody = lines("nobody", "secret", "n,,", b"");
    assert_eq!(wrong.challenge.len(), nobody.challenge.len());
    check_with(
        &strict,
        &format!(
            "{GREETED}
             C: AUTH SCRAM-SHA-256 {}
             S: 334 {}
             C: {}
             S: 535 5.7.8 wrong login or password
             -- Proof {{ mechanism: ScramSha256, login: \"anna\", right: None }}
             C: AUTH SCRAM-SHA-256 {}
             S: 334 {}
             C: {}
             S: 535 5.7.8 wrong login or password
             S: 421 4.7.0 too many failed logins, closing
             -- Proof {{ mechanism: ScramSha256, login: \"nobody\", right: None }}
             -- closed: too many failed logins",
            wrong.first, wrong.challenge, wrong.proof, nobody.first, nobody.challenge, nobody.proof
        ),
    );
}

#[test]
fn logins_that_are_broken_off() {
    let Lines { first, challenge, proof, signature } = anna("n,,", b"");
    let other = BASE64.encode("n,a=bob,n=anna,r=abc");
    let extended = BASE64.encode("n,,m=1,n=anna,r=abc");
    let later = BASE64.encode("n,,n=later,r=abc");
    check(
        Role::Submissions,
        &format!(
            "{GREETED}
             C: AUTH SCRAM-SHA-256 {first}
             S: 334 {challenge}
             C: *
             S: 501 5.7.0 authentication canceled
             C: AUTH SCRAM-SHA-256 {first}
             S: 334 {challenge}
             C: {proof}
             S: 334 {signature}
             C: *
             S: 501 5.7.0 authentication canceled
             C: AUTH SCRAM-SHA-256 {first}
             S: 334 {challenge}
             C: {proof}
             S: 334 {signature}
             C: {proof}
             S: 501 5.5.2 cannot read the response
             C: AUTH SCRAM-SHA-256 {first}
             S: 334 {challenge}
             C: {first}
             S: 501 5.5.2 cannot read the response
             C: AUTH SCRAM-SHA-256 {other}
             S: 535 5.7.8 wrong login or password
             C: AUTH SCRAM-SHA-256 {extended}
             S: 501 5.5.2 cannot read the response
             C: AUTH SCRAM-SHA-256 =
             S: 501 5.5.2 cannot read the response
             C: AUTH SCRAM-SHA-256 {later}
             S: 454 4.7.0 cannot check the password now
             C: MAIL FROM:<anna@grace.test>
             S: 530 5.7.0 log in first"
        ),
    );
}

#[test]
fn what_is_offered() {
    let plain = Settings { scram: false, ..settings(Role::Submissions) };
    let Lines { first, .. } = anna("n,,", b"");
    check_with(
        &plain,
        &format!(
            "{GREETED}
             C: AUTH SCRAM-SHA-256 {first}
             S: 504 5.5.4 mechanisms: PLAIN LOGIN
             C: AUTH OAUTHBEARER
             S: 504 5.5.4 mechanisms: PLAIN LOGIN"
        ),
    );
    // Without TLS there is nothing that a login could be tied to, and no token may pass.
    let local =
        Settings { login_without_tls: true, oauth_bearer: true, ..settings(Role::Submission) };
    let unbound = anna("y,,", b"");
    check_with(
        &local,
        &format!(
            "{GREETED}
             C: AUTH SCRAM-SHA-256-PLUS
             S: 504 5.5.4 mechanisms: SCRAM-SHA-256 PLAIN LOGIN
             C: AUTH SCRAM-SHA-256 {}
             S: 334 {}",
            unbound.first, unbound.challenge
        ),
    );
}

#[test]
fn tokens() {
    let bearer = Settings { oauth_bearer: true, ..settings(Role::Submissions) };
    let show = |token: &str| BASE64.encode(format!("n,a=anna,\x01auth=Bearer {token}\x01\x01"));
    let (good, bad, later) = (show("good"), show("bad"), show("later"));
    let reason = BASE64.encode(r#"{"status":"invalid_token"}"#);
    check_with(
        &bearer,
        &format!(
            "{GREETED}
             C: AUTH OAUTHBEARER {bad}
             S: 334 {reason}
             C: AQ==
             S: 535 5.7.8 wrong login or password
             C: AUTH OAUTHBEARER {bad}
             S: 334 {reason}
             C: *
             S: 535 5.7.8 wrong login or password
             C: AUTH OAUTHBEARER AQ==
             S: 501 5.5.2 cannot read the response
             N: AUTH OAUTHBEARER | 501 5.5.2 cannot read the response
             C: AUTH OAUTHBEARER {later}
             S: 454 4.7.0 cannot check the password now
             C: AUTH OAUTHBEARER
             S: 334 
             C: {good}
             S: 235 2.7.0 you are logged in"
        ),
    );
}
