//! Every numeric limit of the daemon: name, default, bounds, unit and reason in one place.
//!
//! Invariant: a [`Limits`] in anyone's hands has every value inside its bounds.
//! Not here: limits of a format (those stand as constants beside the parser that holds them).

use serde::Deserialize;

/// What the reference page says about one setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Name as written in the file, below `[limits]`.
    pub name: &'static str,
    /// Value where the file says nothing.
    pub default: u64,
    /// Smallest allowed value.
    pub min: u64,
    /// Largest allowed value.
    pub max: u64,
    /// What it counts.
    pub unit: &'static str,
    /// What it is for, and why the default is what it is.
    pub help: &'static str,
}

/// Declares the limits once and derives the checked struct, the written struct, and the reference.
macro_rules! limits {
    ($(
        $name:ident = $default:literal, $min:literal ..= $max:literal, $unit:literal, $help:literal;
    )+) => {
        /// The checked limits.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Limits {
            $(#[doc = $help] pub $name: u64,)+
        }

        /// The limits as written: absent means the default.
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct Written {
            $($name: Option<u64>,)+
        }

        /// Every limit, in the order of the reference page.
        pub const SETTINGS: &[Setting] = &[
            $(Setting {
                name: stringify!($name), default: $default, min: $min, max: $max,
                unit: $unit, help: $help,
            },)+
        ];

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl Limits {
            /// Checks each written value against its bounds.
            ///
            /// # Errors
            /// Names the first setting outside its bounds, and the bounds.
            pub(super) fn check(written: &Written) -> Result<Self, String> {
                let mut limits = Self::default();
                $(if let Some(value) = written.$name {
                    let bounds: std::ops::RangeInclusive<u64> = $min..=$max;
                    if !bounds.contains(&value) {
                        return Err(format!(
                            "limits.{}: {value} is not between {} and {} ({})",
                            stringify!($name), bounds.start(), bounds.end(), $unit,
                        ));
                    }
                    limits.$name = value;
                })+
                Ok(limits)
            }
        }
    };
}

limits! {
    connections_max = 10_000, 1..=1_000_000, "connections",
        "Open connections over all doors. The next one is turned away until one ends.";
    connections_per_address_max = 100, 1..=1_000_000, "connections",
        "Open connections from one IP address. Mail clients open about five each; an office behind one address still fits.";
    tls_handshake_s = 30, 1..=600, "seconds",
        "How long a TLS handshake may take.";
    message_bytes_max = 52_428_800, 65_536..=1_073_741_824, "bytes",
        "Largest message accepted by SMTP and by IMAP APPEND. 50 MiB is what large providers accept at most.";
    recipients_max = 1_000, 100..=10_000, "recipients",
        "Recipients of one message. RFC 5321 4.5.3.1.8 asks for at least 100.";
    smtp_errors_max = 10, 1..=1_000, "commands",
        "Refused or unknown commands in one SMTP session before it is ended.";
    smtp_recipients_refused_max = 100, 1..=10_000, "recipients",
        "Refused recipients in one SMTP session before it is ended. A mailing to people who left meets dozens, who tries names meets thousands.";
    smtp_idle_commands_max = 100, 10..=10_000, "commands",
        "Commands between two messages that bring no mail closer (NOOP, RSET, VRFY, EHLO) before the session is ended.";
    smtp_messages_max = 1_000, 1..=1_000_000, "messages",
        "Messages in one SMTP session; a sender then opens another connection.";
    smtp_command_s = 300, 10..=3_600, "seconds",
        "How long an SMTP client may take for its next command. RFC 5321 4.5.3.2.7 asks for at least 5 minutes.";
    smtp_data_s = 180, 10..=3_600, "seconds",
        "How long an SMTP client may take for its next piece of a message (RFC 5321 4.5.3.2.5).";
    smtp_idle_probe_s = 60, 5..=3_600, "seconds",
        "How long a client that has not yet said a valid EHLO or HELO may take. Scanners connect and say nothing.";
    smtp_message_s = 3_600, 60..=86_400, "seconds",
        "How long one whole message may take to come in by SMTP: the largest one at 15 kB/s. Raise it with `message_bytes_max`.";
    smtp_login_s = 60, 10..=3_600, "seconds",
        "How long an SMTP client may take for its next line of a login. People do not type it.";
    smtp_greet_pause_ms = 0, 0..=60_000, "milliseconds",
        "Wait before the greeting on the door for other servers; whoever talks before it is turned away. Legitimate servers wait minutes, many bots do not.";
    imap_login_s = 60, 10..=3_600, "seconds",
        "How long an IMAP client may take to log in.";
    imap_idle_s = 1_860, 1_800..=86_400, "seconds",
        "How long a logged-in IMAP client may say nothing, in IDLE too. RFC 9051 5.4 asks for at least 30 minutes.";
    imap_errors_max = 20, 1..=1_000, "commands",
        "Bad commands in one IMAP session before it is ended.";
    write_s = 120, 5..=3_600, "seconds",
        "How long a client may take to read what was sent to it before it is given up.";
    login_failures_max = 5, 1..=100, "attempts",
        "Failed logins in one session before it is ended.";
    login_failure_delay_ms = 1_000, 0..=60_000, "milliseconds",
        "Wait before a failed login is answered; it doubles with each failure in a session, up to 8 times.";
    password_checks_max = 2, 1..=64, "checks",
        "Passwords checked at once. Each takes 46 MiB and some 40 ms of one core (Argon2id).";
    mailboxes_per_account_max = 10_000, 10..=1_000_000, "mailboxes",
        "Mailboxes one account may have.";
    events_kept = 1_000, 100..=1_000_000, "events",
        "Events kept in memory for a console that connects late or reads slowly; at most half a kilobyte each.";
    admin_sessions_max = 32, 1..=1_000, "sessions",
        "Open admin sessions: consoles, command lines and scripts.";
    shutdown_s = 10, 1..=600, "seconds",
        "How long a stop waits for sessions to finish what was acknowledged before they are cut off.";
    journal_segment_bytes = 33_554_432, 1_048_576..=4_294_967_296, "bytes",
        "Size of one journal segment of the database.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_lie_within_their_bounds() {
        for setting in SETTINGS {
            assert!(setting.min <= setting.default, "{}", setting.name);
            assert!(setting.default <= setting.max, "{}", setting.name);
        }
    }

    #[test]
    fn a_value_outside_its_bounds_is_named() {
        let written = Written { recipients_max: Some(5), ..Written::default() };
        let error = Limits::check(&written).expect_err("5 is below 100");
        assert_eq!(error, "limits.recipients_max: 5 is not between 100 and 10000 (recipients)");
    }
}
