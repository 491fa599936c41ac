//! What fuzzers feed bytes to: both machines of SMTP, and everything that reads what peers wrote.
//!
//! ```text
//!   seeds(target) ─▶ inputs to begin with ─▶ a fuzzer ─▶ run(target, input) ─▶ panics, or does not
//! ```
//! Each target says what must hold beyond not to panic. An input of a machine begins with one byte
//! that chooses settings; [`ESCAPE`] among the peer's bytes and the byte after it are what the
//! driver, or time, does in between.
//! Not here: the machines' rules (tests of `grace-smtp`), random bytes on sockets (`tests/`).

mod machines;
mod receiver;
mod sender;
mod texts;

/// What reads the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A command line.
    Command,
    /// An address.
    Path,
    /// The parameters of MAIL and RCPT.
    Parameters,
    /// Replies of another server.
    Reply,
    /// The header of a message.
    Header,
    /// The receiving machine.
    Receiver,
    /// The sending machine.
    Sender,
    /// A notification, of what others wrote.
    Dsn,
}

/// Every target.
pub const TARGETS: [Target; 8] = [
    Target::Command,
    Target::Path,
    Target::Parameters,
    Target::Reply,
    Target::Header,
    Target::Receiver,
    Target::Sender,
    Target::Dsn,
];

/// Not a byte of UTF-8: in the input of a machine the next byte is not the peer's.
pub const ESCAPE: u8 = 0xF5;

/// Most bytes of an input that are looked at.
const INPUT_BYTES_MAX: usize = 64 << 10;

/// Feeds an input to a target.
///
/// # Panics
/// When something does not hold.
pub fn run(target: Target, input: &[u8]) {
    let input = input.get(..INPUT_BYTES_MAX).unwrap_or(input);
    match target {
        Target::Command => texts::command(input),
        Target::Path => texts::path(input),
        Target::Parameters => texts::parameters(input),
        Target::Reply => sender::replies(input),
        Target::Header => texts::header(input),
        Target::Receiver => receiver::sessions(input),
        Target::Sender => sender::sessions(input),
        Target::Dsn => texts::notification(input),
    }
}

/// Inputs to begin with.
#[must_use]
pub fn seeds(target: Target) -> Vec<Vec<u8>> {
    let texts: &[&[u8]] = match target {
        Target::Command => texts::COMMANDS,
        Target::Path => texts::PATHS,
        Target::Parameters => texts::PARAMETERS,
        Target::Reply => sender::REPLIES,
        Target::Header => texts::HEADERS,
        Target::Receiver => receiver::SESSIONS,
        Target::Sender => sender::SESSIONS,
        Target::Dsn => texts::NOTIFICATIONS,
    };
    texts.iter().map(|text| text.to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seeds hold what must hold, and so do their halves and their doubles.
    #[test]
    fn seeds_are_sound() {
        for target in TARGETS {
            for seed in seeds(target) {
                for end in 0..=seed.len() {
                    run(target, &seed[..end]);
                    run(target, &[&seed[..end], &seed[end / 2..]].concat());
                }
            }
        }
    }
}
