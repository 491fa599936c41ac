//! OAUTHBEARER (RFC 7628): a login by a token that somebody else gave out.
//!
//! ```text
//!   n,a=user@example.com,^Ahost=server.example.com^Aport=587^Aauth=Bearer vF9dft4qmTc2…^A^A
//! ```
//! Invariant: a token is wiped when it is dropped and never printed.
//! Not here: whether a token is good (whoever drives the receiver asks who gave it out).

use crate::login::Secret;
use crate::scram;

/// What a token that is refused is answered with, in JSON (RFC 7628 3.2.2). Who asks for the place
/// where tokens are given out is told nothing: clients are set up with it.
pub(crate) const REFUSED: &str = r#"{"status":"invalid_token"}"#;

/// What the peer showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Whose token it says it is. Only the token itself can prove it.
    pub login: Option<String>,
    /// The token, as it was sent.
    pub token: Secret,
}

/// Reads the client's message: `gs2-header kvsep *kvpair kvsep` (RFC 7628 3.1).
pub(crate) fn parse(message: &str) -> Option<Token> {
    let (header, pairs) = message.split_once('\u{1}')?;
    let (flag, rest) = header.split_once(',')?;
    let authzid = rest.strip_suffix(',')?;
    // RFC 7628 3.1: there is no channel binding here.
    if !matches!(flag, "n" | "y") {
        return None;
    }
    let login = match authzid {
        "" => None,
        _ => Some(scram::decode_name(authzid.strip_prefix("a=")?)?),
    };
    let mut token = None;
    for pair in pairs.strip_suffix("\u{1}\u{1}")?.split('\u{1}') {
        // Host and port are what the client believes to talk to: nothing to rely on.
        if let ("auth", value) = pair.split_once('=')? {
            let (scheme, value) = value.split_once(' ')?;
            let is_bearer = scheme.eq_ignore_ascii_case("Bearer") && is_token(value);
            if !is_bearer || token.replace(Secret::new(value.to_owned())).is_some() {
                return None;
            }
        }
    }
    token.map(|token| Token { login, token })
}

/// `b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="` (RFC 6750 2.1).
fn is_token(text: &str) -> bool {
    let stem = text.trim_end_matches('=');
    !stem.is_empty() && stem.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &str, expected: Option<(Option<&str>, &str)>) {
        let found = parse(&message.replace('^', "\u{1}"));
        let found = found.as_ref().map(|t| (t.login.as_deref(), t.token.expose()));
        assert_eq!(found, expected, "{message:?}");
    }

    #[test]
    fn messages() {
        check(
            "n,a=user@example.com,^host=server.example.com^port=143^auth=Bearer vF9dft4q==^^",
            Some((Some("user@example.com"), "vF9dft4q==")),
        );
        check("y,,^auth=bearer a.b-c_d~e+f/g^^", Some((None, "a.b-c_d~e+f/g")));
        check("n,a=a=2Cb,^auth=Bearer x^^", Some((Some("a,b"), "x")));
    }

    #[test]
    fn what_is_none() {
        let wrong = [
            "",
            "n,,",
            "n,,^^",
            "n,,^auth=Bearer x^",
            "n,,^auth=Bearer x",
            "p=tls-exporter,,^auth=Bearer x^^",
            "n,b=user,^auth=Bearer x^^",
            "n,a=a=b,^auth=Bearer x^^",
            "n,,^host=x^^",
            "n,,^auth=Basic x^^",
            "n,,^auth=Bearer ^^",
            "n,,^auth=Bearer =^^",
            "n,,^auth=Bearer x y^^",
            "n,,^auth=Bearer x^auth=Bearer y^^",
            "n,,^auth^^",
            "n^auth=Bearer x^^",
            "n,a=u^auth=Bearer x^^",
        ];
        for message in wrong {
            check(message, None);
        }
    }

    #[test]
    fn tokens_are_not_printed() {
        let token = parse("n,,\u{1}auth=Bearer vF9dft4q\u{1}\u{1}").unwrap();
        assert!(!format!("{token:?}").contains("vF9"));
    }
}
