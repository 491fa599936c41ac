//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677): a login in which the password itself
//! is never sent, and both sides prove that they know it.
//!
//! ```text
//!   client                                    server                     driver
//!   n,,n=anna,r=<client nonce>       ──▶      ClientFirst     ──asks──▶  keys of anna, a nonce
//!   r=<both nonces>,s=<salt>,i=60000 ◀──      Challenge       ◀──────
//!   c=biws,r=<both nonces>,p=<proof> ──▶      checked here    ──tells─▶  right or wrong
//!   v=<our signature>                ◀──
//! ```
//! Invariants: what is kept of a password ([`StoredKeys`]) is never printed and wiped when it is
//! dropped; a login that nobody has is answered like one with a wrong password, step by step;
//! comparisons of what is secret take the same time whatever they find.
//! Not here: the lines this travels in (`login`), where keys are kept (`server::directory`), random
//! numbers (the driver brings them).

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine as _;
use zeroize::Zeroizing;

use crate::channel_binding::ChannelBindings;
use crate::login::BASE64;
use crate::reply::{Reply, fixed};
use crate::saslprep::{self, Unpreparable};

/// Length of every hash, key and proof here, in bytes: that of SHA-256.
pub const KEY_BYTES: usize = 32;
/// Length of the salt to make keys with, in bytes. All have the same, those of [`made_up`] too.
pub const SALT_BYTES: usize = 16;
/// Random bytes of our nonce.
pub const NONCE_RANDOM_BYTES: usize = 18;
/// Iterations to make keys with. RFC 7677 4 asks for 4096 at least; the client must do as many at
/// each login, and those with Cyrus SASL refuse more than 65,536.
pub const ITERATIONS: NonZeroU32 = NonZeroU32::MIN.saturating_add(60_000 - 1);
/// Longest nonce of a client, in bytes: 18 random bytes are 24, nobody needs ten times that.
const CLIENT_NONCE_BYTES_MAX: usize = 256;

const _: () = assert!(4_096 <= ITERATIONS.get() && ITERATIONS.get() <= 65_536);

/// What is kept of the passwords of one login for SCRAM (RFC 5802 3). They share salt and
/// iterations, for a client hears those before it shows which password it knows. Who reads them can
/// try passwords, much faster than with Argon2id, and can pretend to be this server; but they are
/// not enough to log in.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredKeys {
    /// Bytes that make equal passwords of different logins different.
    pub salt: Vec<u8>,
    /// How often each password was hashed.
    pub iterations: NonZeroU32,
    /// One for each password.
    pub pairs: Vec<KeyPair>,
}

/// What is kept of one password.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// `StoredKey`, to check the client with.
    pub stored_key: Zeroizing<[u8; KEY_BYTES]>,
    /// `ServerKey`, to prove ourselves with.
    pub server_key: Zeroizing<[u8; KEY_BYTES]>,
}

impl fmt::Debug for StoredKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredKeys")
            .field("iterations", &self.iterations)
            .field("pairs", &self.pairs.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").finish_non_exhaustive()
    }
}

/// Makes the keys of a password (RFC 5802 3). Takes tens of milliseconds with [`ITERATIONS`].
///
/// # Errors
/// SASLprep cannot prepare the password: there is no SCRAM with it.
pub fn derive(
    password: &str,
    salt: &[u8],
    iterations: NonZeroU32,
) -> Result<KeyPair, Unpreparable> {
    let prepared = saslprep::prepare(password)?;
    let mut salted = Zeroizing::new([0; KEY_BYTES]);
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::derive(algorithm, iterations, salt, prepared.as_bytes(), salted.as_mut_slice());
    let client_key = mac(salted.as_slice(), b"Client Key");
    Ok(KeyPair {
        stored_key: hash(client_key.as_slice()),
        server_key: mac(salted.as_slice(), b"Server Key"),
    })
}

/// The salt of a login, whether somebody has it or not: if that of an account were another, or
/// changed with its password, it would show that there is one. `secret` and `login` are those of
/// [`made_up`].
#[must_use]
pub fn salt(secret: &[u8], login: &str) -> Vec<u8> {
    made_of(secret, "salt", login).iter().copied().take(SALT_BYTES).collect()
}

/// Keys for a login that nobody has, so that nobody can find out by asking: the same for a login
/// each time, and no password fits them. `secret` is the server's, at least 32 random bytes that
/// stay the same as long as the accounts do. Give `login` in the form accounts are compared in, and
/// the iterations that real accounts have.
#[must_use]
pub fn made_up(secret: &[u8], login: &str, iterations: NonZeroU32) -> StoredKeys {
    let pair = KeyPair {
        stored_key: made_of(secret, "stored key", login),
        server_key: made_of(secret, "server key", login),
    };
    StoredKeys { salt: salt(secret, login), iterations, pairs: vec![pair] }
}

fn made_of(secret: &[u8], purpose: &str, login: &str) -> Zeroizing<[u8; KEY_BYTES]> {
    mac(secret, format!("{purpose}\0{login}").as_bytes())
}

/// Our half of the nonce: different in every login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonce(String);

impl Nonce {
    /// Makes it of random bytes.
    #[must_use]
    pub fn from_random(bytes: &[u8; NONCE_RANDOM_BYTES]) -> Self {
        Self(BASE64.encode(bytes))
    }
}

/// What the connection gives to a login.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Channel {
    /// What the login can be tied to.
    pub(crate) bindings: ChannelBindings,
    /// Whether EHLO offered SCRAM-SHA-256-PLUS.
    pub(crate) plus_offered: bool,
}

/// The client's first message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientFirst {
    login: String,
    /// `client-first-message-bare`.
    bare: String,
    nonce: String,
    /// What `c=` must say: `gs2-header` and, if the login is tied, the binding.
    binding: Vec<u8>,
}

impl ClientFirst {
    /// Reads `gs2-header client-first-message-bare` (RFC 5802 7).
    pub(crate) fn parse(message: &str, plus: bool, channel: &Channel) -> Result<Self, Reply> {
        let (flag, rest) = message.split_once(',').ok_or(fixed::AUTH_BAD_MESSAGE)?;
        let (authzid, bare) = rest.split_once(',').ok_or(fixed::AUTH_BAD_MESSAGE)?;
        let binding = channel.binding(flag, plus)?;
        // RFC 5802 5.1: `m=` is for extensions that must be understood, and we know none.
        let (name, rest) = bare.split_once(',').ok_or(fixed::AUTH_BAD_MESSAGE)?;
        let login = name.strip_prefix("n=").and_then(decode_name);
        let login = login.filter(|login| !login.is_empty()).ok_or(fixed::AUTH_BAD_MESSAGE)?;
        let nonce = before_extensions(rest).and_then(|nonce| nonce.strip_prefix("r="));
        let nonce = nonce.filter(|nonce| is_nonce(nonce)).ok_or(fixed::AUTH_BAD_MESSAGE)?;
        // Nobody acts for somebody else here.
        match authzid.strip_prefix("a=").map(decode_name) {
            None if authzid.is_empty() => {}
            Some(Some(other)) if other.eq_ignore_ascii_case(&login) => {}
            Some(Some(_)) => return Err(fixed::BAD_LOGIN),
            None | Some(None) => return Err(fixed::AUTH_BAD_MESSAGE),
        }
        let header = format!("{flag},{authzid},");
        Ok(Self {
            login,
            bare: bare.to_owned(),
            nonce: nonce.to_owned(),
            binding: [header.as_bytes(), binding].concat(),
        })
    }

    /// Who wants to log in.
    pub(crate) fn login(&self) -> &str {
        &self.login
    }
}

impl Channel {
    /// What `gs2-cbind-flag` ties the login to (RFC 5802 6).
    fn binding(&self, flag: &str, plus: bool) -> Result<&[u8], Reply> {
        match flag {
            "n" if !plus => Ok(&[]),
            // The client could tie the login, and saw no offer to. If we made one, somebody on the
            // way took it out.
            "y" if !plus && self.plus_offered => Err(fixed::SCRAM_DOWNGRADE),
            "y" if !plus => Ok(&[]),
            _ => match flag.strip_prefix("p=") {
                Some(name) if plus => self.bindings.get(name).ok_or(fixed::NO_BINDING),
                _ => Err(fixed::AUTH_BAD_MESSAGE),
            },
        }
    }
}

/// A login that was sent its salt, and owes its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    first: ClientFirst,
    /// `server-first-message`.
    message: String,
    nonce: String,
    keys: StoredKeys,
}

/// What the proof of a client showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The client knows the password with the keys in this place. The text is
    /// `server-final-message`.
    Right { login: String, place: usize, message: String },
    /// It knows none.
    Wrong { login: String },
}

impl Challenge {
    pub(crate) fn new(first: ClientFirst, keys: StoredKeys, nonce: &Nonce) -> Self {
        let nonce = format!("{}{}", first.nonce, nonce.0);
        let message = format!("r={nonce},s={},i={}", BASE64.encode(&keys.salt), keys.iterations);
        Self { first, message, nonce, keys }
    }

    /// What is sent to the client.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Checks `client-final-message` (RFC 5802 3, 7).
    pub(crate) fn finish(self, message: &str) -> Result<Verdict, Reply> {
        let (stem, proof) = message.rsplit_once(",p=").ok_or(fixed::AUTH_BAD_MESSAGE)?;
        let proof = BASE64.decode(proof).ok().filter(|proof| proof.len() == KEY_BYTES);
        let proof = Zeroizing::new(proof.ok_or(fixed::AUTH_BAD_MESSAGE)?);
        let (binding, rest) = stem.split_once(',').ok_or(fixed::AUTH_BAD_MESSAGE)?;
        let binding = binding.strip_prefix("c=").and_then(|text| BASE64.decode(text).ok());
        let binding = binding.ok_or(fixed::AUTH_BAD_MESSAGE)?;
        let nonce = before_extensions(rest).and_then(|nonce| nonce.strip_prefix("r="));
        // Another nonce is an answer to another challenge.
        if nonce != Some(self.nonce.as_str()) {
            return Err(fixed::AUTH_BAD_MESSAGE);
        }
        if binding != self.first.binding {
            return Err(fixed::WRONG_BINDING);
        }
        let signed = format!("{},{},{stem}", self.first.bare, self.message);
        let login = self.first.login;
        let mut right = None;
        // All are tried, so that the time it takes does not tell which one fits.
        for (place, pair) in self.keys.pairs.iter().enumerate() {
            if pair.is_proven(&proof, signed.as_bytes()) {
                right = Some((place, pair));
            }
        }
        let Some((place, pair)) = right else { return Ok(Verdict::Wrong { login }) };
        let ours = mac(pair.server_key.as_slice(), signed.as_bytes());
        let message = format!("v={}", BASE64.encode(ours.as_slice()));
        Ok(Verdict::Right { login, place, message })
    }
}

impl KeyPair {
    /// Whether who made this proof knows the password (RFC 5802 3).
    fn is_proven(&self, proof: &[u8], signed: &[u8]) -> bool {
        let signature = mac(self.stored_key.as_slice(), signed);
        let mut client_key = Zeroizing::new([0; KEY_BYTES]);
        for (key, (proof, mask)) in client_key.iter_mut().zip(proof.iter().zip(signature.iter())) {
            *key = proof ^ mask;
        }
        let found = hash(client_key.as_slice());
        verify_slices_are_equal(found.as_slice(), self.stored_key.as_slice()).is_ok()
    }
}

/// `saslname`: a comma and an equals sign are written `=2C` and `=3D` (RFC 5802 5.1).
pub(crate) fn decode_name(text: &str) -> Option<String> {
    if text.contains([',', '\0']) {
        return None;
    }
    let mut pieces = text.split('=');
    let mut name = pieces.next()?.to_owned();
    for piece in pieces {
        let (sign, rest) = match piece.strip_prefix("2C") {
            Some(rest) => (',', rest),
            None => ('=', piece.strip_prefix("3D")?),
        };
        name.push(sign);
        name.push_str(rest);
    }
    Some(name)
}

/// `printable = %x21-2B / %x2D-7E` (RFC 5802 7).
fn is_nonce(text: &str) -> bool {
    (1..=CLIENT_NONCE_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b',')
}

/// What stands before `["," extensions]`, where `extensions = attr-val *("," attr-val)`. What they
/// say is signed, and ignored (RFC 5802 5.1, 7).
fn before_extensions(text: &str) -> Option<&str> {
    let Some((head, extensions)) = text.split_once(',') else { return Some(text) };
    let is_one = |attribute: &str| {
        let mut characters = attribute.chars();
        let name = characters.next().is_some_and(|c| c.is_ascii_alphabetic());
        name && characters.next() == Some('=') && characters.next().is_some()
    };
    extensions.split(',').all(is_one).then_some(head)
}

fn mac(key: &[u8], message: &[u8]) -> Zeroizing<[u8; KEY_BYTES]> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    key_of(hmac::sign(&key, message).as_ref())
}

fn hash(bytes: &[u8]) -> Zeroizing<[u8; KEY_BYTES]> {
    key_of(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// The output of SHA-256 as an array.
fn key_of(bytes: &[u8]) -> Zeroizing<[u8; KEY_BYTES]> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    key.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    key
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Fewer iterations than RFC 7677 allows are quick; the number changes nothing.
    pub(crate) const FEW: NonZeroU32 = NonZeroU32::new(10).unwrap();

    pub(crate) fn nonce(text: &str) -> Nonce {
        Nonce(text.to_owned())
    }

    /// What a client that knows the password answers to `challenge`, and what it must hear then.
    pub(crate) fn client(
        password: &str,
        bare: &str,
        challenge: &str,
        binding: &[u8],
    ) -> (String, String) {
        let mut parts = challenge.split(',');
        let nonce = parts.next().unwrap();
        let salt = BASE64.decode(parts.next().unwrap().strip_prefix("s=").unwrap()).unwrap();
        let iterations = parts.next().unwrap().strip_prefix("i=").unwrap().parse().unwrap();
        let mut salted = [0; KEY_BYTES];
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(algorithm, iterations, &salt, password.as_bytes(), &mut salted);
        let stem = format!("c={},{nonce}", BASE64.encode(binding));
        let signed = format!("{bare},{challenge},{stem}");
        let client_key = mac(&salted, b"Client Key");
        let signature = mac(hash(client_key.as_slice()).as_slice(), signed.as_bytes());
        let proof: Vec<u8> =
            client_key.iter().zip(signature.iter()).map(|(key, mask)| key ^ mask).collect();
        let server = mac(mac(&salted, b"Server Key").as_slice(), signed.as_bytes());
        (
            format!("{stem},p={}", BASE64.encode(proof)),
            format!("v={}", BASE64.encode(server.as_slice())),
        )
    }

    /// The keys of these passwords, with one salt.
    pub(crate) fn keys(passwords: &[&str], salt: &[u8], iterations: NonZeroU32) -> StoredKeys {
        let pair = |password: &&str| derive(password, salt, iterations).unwrap();
        StoredKeys { salt: salt.to_vec(), iterations, pairs: passwords.iter().map(pair).collect() }
    }

    fn plain() -> Channel {
        Channel::default()
    }

    fn tied() -> Channel {
        let bindings =
            ChannelBindings { exporter: Some([7; 32]), server_end_point: Some(b"cert".to_vec()) };
        Channel { bindings, plus_offered: true }
    }

    #[test]
    fn the_example_of_rfc_7677() {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let keys = keys(&["pencil"], &salt, NonZeroU32::new(4_096).unwrap());
        let first = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
        let first = ClientFirst::parse(first, false, &plain()).unwrap();
        assert_eq!(first.login(), "user");
        let nonce = nonce("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
        let challenge = Challenge::new(first, keys, &nonce);
        assert_eq!(
            challenge.message(),
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let verdict = challenge.clone().finish(last);
        let message = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".to_owned();
        assert_eq!(verdict, Ok(Verdict::Right { login: "user".to_owned(), place: 0, message }));
        let wrong = last.replace("p=dHzb", "p=dHzc");
        assert_eq!(challenge.finish(&wrong), Ok(Verdict::Wrong { login: "user".to_owned() }));
    }

    /// Plays a login with `password` against the keys of `secret`, tied to `binding`.
    fn play(password: &str, flag: &str, channel: &Channel, binding: &[u8]) -> Result<bool, Reply> {
        let keys = keys(&["secret", "another"], &[5; SALT_BYTES], FEW);
        let bare = "n=anna,r=abc";
        let first = format!("{flag},,{bare}");
        let first = ClientFirst::parse(&first, flag.starts_with("p="), channel)?;
        let challenge = Challenge::new(first, keys, &nonce("xyz"));
        let bound = [format!("{flag},,").as_bytes(), binding].concat();
        let (answer, expected) = client(password, bare, challenge.message(), &bound);
        match challenge.finish(&answer)? {
            Verdict::Right { login, place, message } => {
                assert_eq!((login.as_str(), message), ("anna", expected));
                assert_eq!(place, usize::from(password == "another"));
                Ok(true)
            }
            Verdict::Wrong { login } => {
                assert_eq!(login, "anna");
                Ok(false)
            }
        }
    }

    #[test]
    fn right_and_wrong() {
        assert_eq!(play("secret", "n", &plain(), b""), Ok(true));
        assert_eq!(play("another", "n", &plain(), b""), Ok(true));
        assert_eq!(play("Secret", "n", &plain(), b""), Ok(false));
        assert_eq!(play("secret", "y", &plain(), b""), Ok(true));
        assert_eq!(play("secret", "n", &tied(), b""), Ok(true));
        assert_eq!(play("secret", "p=tls-exporter", &tied(), &[7; 32]), Ok(true));
        assert_eq!(play("secret", "p=tls-server-end-point", &tied(), b"cert"), Ok(true));
        assert_eq!(play("wrong", "p=tls-exporter", &tied(), &[7; 32]), Ok(false));
    }

    #[test]
    fn who_stands_between_is_found_out() {
        assert_eq!(play("secret", "y", &tied(), b""), Err(fixed::SCRAM_DOWNGRADE));
        let other = [8; 32];
        assert_eq!(play("secret", "p=tls-exporter", &tied(), &other), Err(fixed::WRONG_BINDING));
        assert_eq!(play("secret", "p=tls-exporter", &tied(), b""), Err(fixed::WRONG_BINDING));
        let mixed = play("secret", "p=tls-server-end-point", &tied(), &[7; 32]);
        assert_eq!(mixed, Err(fixed::WRONG_BINDING));
        assert_eq!(play("secret", "p=tls-unique", &tied(), b""), Err(fixed::NO_BINDING));
        assert_eq!(play("secret", "p=tls-exporter", &plain(), b""), Err(fixed::NO_BINDING));
        assert_eq!(play("secret", "n", &plain(), b"x"), Err(fixed::WRONG_BINDING));
    }

    #[test]
    fn first_messages_that_are_refused() {
        let bad = [
            "",
            "n",
            "n,",
            "n,,",
            "n,,n=anna",
            "n,,r=abc,n=anna",
            "n,,n=,r=abc",
            "n,,n=anna,r=",
            "n,,n=anna,r=a b",
            "n,,n=anna,r=ä",
            "n,,m=x,n=anna,r=abc",
            "n,,n=an=na,r=abc",
            "n,,n=an=2cna,r=abc",
            "n,,n=anna,r=abc,x",
            "n,,n=anna,r=abc,x=",
            "n,,n=anna,r=abc,",
            "n,anna,n=anna,r=abc",
            "n,a=an=na,n=anna,r=abc",
            "x,,n=anna,r=abc",
            "p=tls-exporter,,n=anna,r=abc",
            "F,n,,n=anna,r=abc",
            "N,,n=anna,r=abc",
        ];
        for message in bad {
            let found = ClientFirst::parse(message, false, &tied());
            assert_eq!(found, Err(fixed::AUTH_BAD_MESSAGE), "{message:?}");
        }
        let long = format!("n,,n=anna,r={}", "x".repeat(CLIENT_NONCE_BYTES_MAX + 1));
        assert_eq!(ClientFirst::parse(&long, false, &plain()), Err(fixed::AUTH_BAD_MESSAGE));
        for flag in ["n", "y"] {
            let message = format!("{flag},,n=anna,r=abc");
            let found = ClientFirst::parse(&message, true, &tied());
            assert_eq!(found, Err(fixed::AUTH_BAD_MESSAGE), "{message:?}");
        }
        let other = ClientFirst::parse("n,a=bob,n=anna,r=abc", false, &plain());
        assert_eq!(other, Err(fixed::BAD_LOGIN));
        let same = ClientFirst::parse("n,a=Anna=2C=3D,n=anna=2C=3D,r=abc,x=1", false, &plain());
        assert_eq!(same.map(|first| first.login), Ok("anna,=".to_owned()));
    }

    #[test]
    fn last_messages_that_are_refused() {
        let keys = keys(&["secret"], &[5; SALT_BYTES], FEW);
        let first = ClientFirst::parse("n,,n=anna,r=abc", false, &plain()).unwrap();
        let challenge = Challenge::new(first, keys, &nonce("xyz"));
        let proof = BASE64.encode([0; KEY_BYTES]);
        let short = BASE64.encode([0; KEY_BYTES - 1]);
        let bad = [
            String::new(),
            "c=biws,r=abcxyz".to_owned(),
            format!("c=biws,r=abcxyz,p={short}"),
            "c=biws,r=abcxyz,p=!".to_owned(),
            format!("c=biws,r=abcxyz,p={proof},x=1"),
            format!("c=!,r=abcxyz,p={proof}"),
            format!("c=biws,r=abc,p={proof}"),
            format!("c=biws,r=abcxyzz,p={proof}"),
            format!("r=abcxyz,c=biws,p={proof}"),
            format!("c=biws,p={proof}"),
            format!("c=biws,r=abcxyz,x,p={proof}"),
        ];
        for message in bad {
            let found = challenge.clone().finish(&message);
            assert_eq!(found, Err(fixed::AUTH_BAD_MESSAGE), "{message:?}");
        }
        let extended = challenge.finish(&format!("c=biws,r=abcxyz,x=1,p={proof}"));
        assert_eq!(extended, Ok(Verdict::Wrong { login: "anna".to_owned() }));
    }

    #[test]
    fn made_up_keys_stay_the_same_and_look_real() {
        let real = keys(&["secret"], &[5; SALT_BYTES], FEW);
        let one = made_up(&[1; 32], "nobody", FEW);
        assert_eq!(one, made_up(&[1; 32], "nobody", FEW));
        assert_eq!(one.salt.len(), real.salt.len());
        assert_ne!(one.salt, made_up(&[1; 32], "nobody2", FEW).salt);
        assert_ne!(one.salt, made_up(&[2; 32], "nobody", FEW).salt);
        assert_eq!(one.salt, salt(&[1; 32], "nobody"));
        assert_ne!(one.pairs[0].stored_key, one.pairs[0].server_key);
    }

    #[test]
    fn keys_are_not_printed() {
        let keys = keys(&["secret"], &[5; SALT_BYTES], FEW);
        assert_eq!(format!("{keys:?}"), "StoredKeys { iterations: 10, pairs: 1, .. }");
        assert_eq!(format!("{:?}", keys.pairs), "[KeyPair { .. }]");
        assert_eq!(derive("", &[5; SALT_BYTES], FEW), Err(Unpreparable));
        assert_eq!(Nonce::from_random(&[0; 18]).0.len(), 24);
    }
}
