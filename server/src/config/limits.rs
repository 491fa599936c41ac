//! Every setting that is a number or a choice: name, default, bounds, unit and reason in one place.
//!
//! Invariant: a [`Limits`] or [`Store`] in anyone's hands has every value inside its bounds.
//! Not here: limits of a format (those stand as constants beside the parser that holds them).

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;

use super::lists::{DnsList, RelayNetwork};
use super::names::{Domain, Nameserver, Network, SourceV4, SourceV6, Span};

/// What the reference page says about one setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Name as written in the file, below its section.
    pub name: &'static str,
    /// What it may be.
    pub values: Values,
    /// What it is for, and why the default is what it is.
    pub help: &'static str,
}

/// What a setting may be, and what it is where the file says nothing.
#[derive(Debug, Clone, Copy)]
pub enum Values {
    /// A number.
    Number {
        /// Value where the file says nothing.
        default: u64,
        /// Smallest allowed value.
        min: u64,
        /// Largest allowed value.
        max: u64,
        /// What it counts.
        unit: &'static str,
    },
    /// A word.
    Word {
        /// Value where the file says nothing.
        default: &'static str,
        /// The words allowed; none: any.
        choices: &'static [&'static str],
    },
    /// A list.
    List {
        /// What is in it where the file says nothing.
        default: &'static [&'static str],
        /// What one of them looks like.
        form: &'static str,
    },
}

/// The items of a list's default. A test holds that all of them can be read.
fn parsed<T: FromStr>(items: &[&str]) -> Vec<T> {
    items.iter().flat_map(|item| item.parse()).collect()
}

/// Declares the settings of a section once and derives the checked struct, the written struct, and
/// the reference. `gone` are names of earlier programs, with where to find them now.
macro_rules! settings {
    (
        $section:literal, $(#[$about:meta])* $checked:ident, $written:ident, $table:ident;
        gone { $($gone:ident => $now:literal;)* }
        lists { $(
            $list:ident: $item:ty = [$($list_default:literal)*], $form:literal, $list_help:literal;
        )* }
        words { $(
            $word:ident = $word_default:literal, [$($choice:literal)*], $word_help:literal;
        )* }
        numbers { $(
            $name:ident = $default:literal, $min:literal ..= $max:literal, $unit:literal,
                $help:literal;
        )* }
    ) => {
        $(#[$about])*
        pub struct $checked {
            $(#[doc = $list_help] pub $list: Vec<$item>,)*
            $(#[doc = $word_help] pub $word: String,)*
            $(#[doc = $help] pub $name: u64,)*
        }

        /// The section as written: absent means the default.
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct $written {
            $($gone: Option<toml::Value>,)*
            $($list: Option<Vec<String>>,)*
            $($word: Option<String>,)*
            $($name: Option<u64>,)*
        }

        /// Every setting of the section, in the order of the reference page.
        pub const $table: &[Setting] = &[
            $(Setting {
                name: stringify!($list),
                values: Values::List { default: &[$($list_default),*], form: $form },
                help: $list_help,
            },)*
            $(Setting {
                name: stringify!($word),
                values: Values::Word { default: $word_default, choices: &[$($choice),*] },
                help: $word_help,
            },)*
            $(Setting {
                name: stringify!($name),
                values: Values::Number { default: $default, min: $min, max: $max, unit: $unit },
                help: $help,
            },)*
        ];

        impl Default for $checked {
            fn default() -> Self {
                Self {
                    $($list: parsed(&[$($list_default),*]),)*
                    $($word: $word_default.to_owned(),)*
                    $($name: $default,)*
                }
            }
        }

        impl $checked {
            /// Checks each written value against its bounds.
            ///
            /// # Errors
            /// Names the first setting outside its bounds, and the bounds.
            pub(super) fn check(written: &$written) -> Result<Self, String> {
                let mut checked = Self::default();
                $(if written.$gone.is_some() {
                    return Err(format!(
                        "{}.{} is {} now; write it there, or leave it out for the default",
                        $section, stringify!($gone), $now,
                    ));
                })*
                $(if let Some(items) = &written.$list {
                    let item = |item: &String| item.parse::<$item>().map_err(|_| format!(
                        "{}.{}: {item:?} is not {}", $section, stringify!($list), $form,
                    ));
                    checked.$list = items.iter().map(item).collect::<Result<_, _>>()?;
                })*
                $(if let Some(value) = &written.$word {
                    let choices: &[&str] = &[$($choice),*];
                    if !choices.is_empty() && !choices.contains(&value.as_str()) {
                        return Err(format!(
                            "{}.{}: {value:?} is not one of {choices:?}",
                            $section, stringify!($word),
                        ));
                    }
                    checked.$word.clone_from(value);
                })*
                $(if let Some(value) = written.$name {
                    let bounds: std::ops::RangeInclusive<u64> = $min..=$max;
                    if !bounds.contains(&value) {
                        return Err(format!(
                            "{}.{}: {value} is not between {} and {} ({})",
                            $section, stringify!($name), bounds.start(), bounds.end(), $unit,
                        ));
                    }
                    checked.$name = value;
                })*
                Ok(checked)
            }
        }
    };
}

settings! {
    "limits",
    /// The checked limits.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    Limits, LimitsWritten, LIMITS;
    gone { journal_segment_bytes => "store.segment_bytes"; }
    lists {}
    words {}
    numbers {
        connections_max = 10_000, 1..=1_000_000, "connections",
            "Open connections over all doors. The next one is turned away until one ends.";
        connections_per_address_max = 100, 1..=1_000_000, "connections",
            "Open connections from one IP address. Mail clients open about five each; an office behind one address still fits.";
        tls_handshake_s = 30, 1..=600, "seconds",
            "How long a TLS handshake may take.";
        message_bytes_max = 52_428_800, 65_536..=1_073_741_824, "bytes",
            "Largest message accepted by SMTP and by IMAP APPEND. 50 MiB is what large providers accept at most.";
        header_bytes_max = 524_288, 16_384..=4_194_304, "bytes",
            "Largest header block of a message that comes by SMTP: it is held in memory until the message is whole. Those of long threads have some 30 KiB.";
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
        imap_notify_mailboxes_max = 1_000, 10..=100_000, "mailboxes",
            "Mailboxes one IMAP session is told of unasked (NOTIFY). Each takes some 300 bytes, and with each change all are looked through; beyond, the client is told that there are too many.";
        imap_errors_max = 20, 1..=1_000, "commands",
            "Bad commands in one IMAP session before it is ended.";
        write_s = 120, 5..=3_600, "seconds",
            "How long a client may take to read what was sent to it before it is given up.";
        login_failures_max = 5, 1..=100, "attempts",
            "Failed logins in one session before it is ended.";
        login_failure_delay_ms = 1_000, 0..=60_000, "milliseconds",
            "Wait before a failed login is answered; it doubles with each failure in a session, up to 8 times.";
        login_failures_ban = 20, 0..=10_000, "attempts",
            "Wrong passwords from one address, over all its sessions, before nobody logs in from there any more but those known there (`login_known_days`). The same one again for the same login counts once, a success takes back those for its login. 0: never. Loopback is not counted.";
        login_failures_window_s = 3_600, 60..=86_400, "seconds",
            "How long they are counted together, from the first one on.";
        login_ban_s = 3_600, 60..=2_592_000, "seconds",
            "How long such an address is kept out.";
        login_known_days = 30, 0..=365, "days",
            "How long a login that succeeded from an address is known there: it is not kept out by what others try from the same address. 0: it is.";
        login_cache_s = 300, 0..=3_600, "seconds",
            "How long a password that was right is remembered, as a hash with a key of this process, so that the next connection need not check it again: mail programs open five. 0: not at all.";
        app_passwords_max = 20, 1..=100, "passwords",
            "Application passwords of one account. Each login tries all of them.";
        password_checks_max = 2, 1..=64, "checks",
            "Passwords checked at once. Each takes 46 MiB and some 40 ms of one core (Argon2id).";
        hops_max = 50, 10..=1_000, "servers",
            "Servers a message may have passed (its `Received` fields) before it is taken for one that goes in circles (RFC 5321 6.3: 100 are known).";
        srs_days = 21, 5..=365, "days",
            "How long a notification of a forwarded message finds its sender: the address that stands for him (SRS) is good for so long. Servers try for five days, and some tell of delays and of failures long after.";
        mailboxes_per_account_max = 10_000, 10..=1_000_000, "mailboxes",
            "Mailboxes one account may have.";
        mailbox_pictures_mib = 64, 0..=65_536, "MiB",
            "Memory for what mailboxes hold (UIDs and flags, some 13 bytes a message, and 8 for each order they were sorted in), shared by those who have one open and kept for those who open it next: five million messages. 0: each reads it anew.";
        events_kept = 1_000, 100..=1_000_000, "events",
            "Events kept in memory for a console that connects late or reads slowly; some 200 bytes each, and a few kilobytes at most.";
        admin_sessions_max = 32, 1..=1_000, "sessions",
            "Open admin sessions: consoles, command lines and scripts.";
        shutdown_s = 10, 1..=600, "seconds",
            "How long a stop waits for sessions to finish what was acknowledged before they are cut off.";
    }
}

settings! {
    "door",
    /// Who is let in and may send, checked.
    #[derive(Debug, Clone, PartialEq, Eq)]
    DoorRules, DoorRulesWritten, DOOR;
    gone {}
    lists {
        trusted_networks: Network = ["127.0.0.0/8" "::1"],
            "a network such as \"192.0.2.0/24\" or one address",
            "Who is neither limited nor checked here: programs on this machine, monitors, gateways of ours. Limits of accounts hold for them, too: a webmail on this machine is where a stolen password is used.";
        relay_networks: RelayNetwork = [],
            "a network such as \"192.0.2.0/24\" or one address, no larger than a /8",
            "Who may send to anywhere through port 25 without a login: printers, programs, other servers of ours. Their mail is not checked; it is signed where its author's domain is ours, and nothing is added to it but `Received`.";
        allow_networks: Network = [],
            "a network such as \"192.0.2.0/24\" or one address",
            "Whose mail is taken though a block list has them, and without greylisting.";
        block_lists: DnsList = [],
            "a DNS list such as \"bl.example.org\", or with the answers that count, \"bl.example.org=127.0.0.2-127.0.0.11,127.0.0.20\"",
            "DNS lists of addresses that mail is not taken from (RFC 5782), asked while the peer talks; all at once, and each answer is kept for as long as it says. Each has terms of use; most do not answer public resolvers, see `dns.resolvers`.";
        allow_lists: DnsList = [],
            "a DNS list such as \"list.example.org\", or with the answers that count",
            "DNS lists of addresses whose mail is taken though a block list has them, and without greylisting.";
    }
    words {
        listed = "refuse", ["refuse" "tag"],
            "What happens to mail from an address that a block list has. `refuse`: each recipient is answered `554 5.7.1` with what the list says. `tag`: it is taken, and `x-dnsbl=fail` stands in its `Authentication-Results`.";
        postmaster = "accept", ["accept" "refuse"],
            "What happens to mail for the postmaster from an address that would be refused for a block list or its name. RFC 5321 4.5.1: whoever is listed by mistake must reach somebody.";
        helo_own = "refuse", ["refuse" "accept"],
            "A peer that introduces itself with our name or address, from elsewhere and without a login: `refuse` answers its recipients `550 5.7.1`.";
        helo_impossible = "refuse_recipients", ["accept" "refuse_recipients" "refuse_hello"],
            "Another server that introduces itself with what no host can be called: its recipients are answered `550 5.7.1`, or its EHLO `501`.";
        helo_mismatch = "tag", ["ignore" "tag" "refuse"],
            "Another server whose name in EHLO is not that of its address in the DNS. `tag`: `x-helo=fail` stands in `Authentication-Results`. `refuse`: its recipients are answered `550 5.7.1`; many honest servers have such a name (RFC 5321 4.1.4 forbids to refuse for it).";
        iprev_missing = "tag", ["tag" "refuse"],
            "Another server whose address has no name that has the address (iprev, RFC 8601 3): it stands in `Authentication-Results`, or its recipients are answered `550 5.7.25`. Large providers refuse it.";
        hasty = "tolerate", ["tolerate" "refuse"],
            "A peer that sends on where it must wait for our answer (RFC 2920 3.1). Bots do; so do some honest programs.";
        mailbox_full = "later", ["later" "refuse"],
            "What happens to mail for an account that keeps as much as it may (`gracectl quota`). `later`: `452 4.2.2`, so that it comes again for some days. `refuse`: `552 5.2.2`, so that its sender hears at once.";
        greylisting = "off", ["off" "on"],
            "Whether mail from strangers waits: the first attempt is answered `451 4.7.1` (RFC 6647). Servers come again, most bots do not. Whoever one of our people wrote to does not wait, nor a network or (by SPF) a domain that came again often enough.";
    }
    numbers {
        connections_per_network_max = 500, 0..=1_000_000, "connections",
            "Open connections from one network (`ipv4_network_bits`, `ipv6_network_bits`). Large providers send from one /24 with some dozens. 0: any number. One address: `limits.connections_per_address_max`.";
        connections_per_minute_address = 600, 0..=1_000_000, "connections",
            "New connections a minute from one address, over all doors. 0: any number.";
        connections_per_minute_network = 1_200, 0..=1_000_000, "connections",
            "Likewise from one network.";
        ipv4_network_bits = 24, 8..=32, "bits",
            "How many leading bits make addresses of IPv4 one network: the smallest that is routed on its own.";
        ipv6_address_bits = 64, 32..=128, "bits",
            "How many leading bits make addresses of IPv6 one address: one customer usually has a /64 whole (RFC 6177 2).";
        ipv6_network_bits = 48, 16..=64, "bits",
            "How many leading bits make addresses of IPv6 one network: what one site has at most (RFC 6177).";
        messages_per_hour_address = 10_000, 0..=10_000_000, "messages",
            "Messages an hour from one address on the door for other servers; the next one is answered `451 4.7.1`. 0: any number.";
        recipients_per_hour_address = 50_000, 0..=10_000_000, "recipients",
            "Recipients an hour from one address likewise (`452 4.7.1`).";
        messages_per_hour_account = 1_000, 0..=10_000_000, "messages",
            "Messages an hour from one account: a stolen password must not send more, whoever writes by hand never does. Answered `451 4.7.1`. 0: any number.";
        recipients_per_hour_account = 5_000, 0..=10_000_000, "recipients",
            "Recipients an hour from one account (`452 4.7.1`). A newsletter of a club fits.";
        counted_max = 100_000, 1_000..=10_000_000, "addresses",
            "Addresses, networks and accounts that each of these limits remembers: some 60 bytes each. Those beyond are not limited by it until there is room again, a minute later at most.";
        list_time_max_ms = 5_000, 100..=60_000, "milliseconds",
            "How long a recipient waits for what DNS lists say, and for the names of the peer. Who has not answered by then has not listed, and a name is not known.";
        list_failures_max = 3, 1..=1_000, "questions",
            "Questions in a row that a DNS list does not answer before it is left alone.";
        list_pause_s = 600, 1..=86_400, "seconds",
            "How long it is left alone; also one that refuses to answer us (127.255.255.x). The event `BlockListChanged` tells.";
        greylist_delay_s = 60, 0..=86_400, "seconds",
            "How long a stranger must wait before it comes again (RFC 6647 5: a minute at least).";
        greylist_window_hours = 24, 1..=168, "hours",
            "How long it has to come again (RFC 6647 5: a day).";
        greylist_days = 36, 1..=400, "days",
            "How long who came again is known: a newsletter comes once a month (RFC 6647 5: a week at least).";
        greylist_learn_after = 5, 1..=1_000, "messages",
            "Messages that came again from one network, or from servers that speak for one domain (SPF), before nothing from there waits any more.";
        greylist_rows_max = 1_000_000, 1_000..=100_000_000, "rows",
            "What waits, and what is known, at most: each some 60 bytes on disk. While there is no room nobody waits.";
        proxy_header_s = 10, 1..=60, "seconds",
            "How long a proxy (`listen.proxy_networks`) may take to say whom it speaks for.";
        tarpit_recipients_free = 10, 0..=10_000, "recipients",
            "Refused recipients of a session that are answered at once; each further one waits. Ten are a mailing to people who left, hundreds are somebody who tries names.";
        tarpit_wait_ms = 1_000, 0..=60_000, "milliseconds",
            "The first wait; it doubles each time. 0: none.";
        tarpit_wait_max_ms = 5_000, 0..=120_000, "milliseconds",
            "The longest wait. A sender may take us for dead after 5 minutes (RFC 5321 4.5.3.2.3).";
    }
}

settings! {
    "quota",
    /// What may be kept where nobody set a limit, checked.
    #[derive(Debug, Clone, PartialEq, Eq)]
    QuotaRules, QuotaRulesWritten, QUOTA;
    gone {}
    lists {}
    words {}
    numbers {
        account_bytes = 0, 0..=1_000_000_000_000_000, "bytes",
            "What an account may keep for which `gracectl quota` sets no limit. 0: any number. What is there stays; nothing more is let in.";
        account_messages = 0, 0..=1_000_000_000, "messages",
            "The same in messages, each counted in every mailbox it is in.";
        domain_bytes = 0, 0..=1_000_000_000_000_000, "bytes",
            "What may be kept in a domain as a whole for which `gracectl quota` sets no limit. 0: any number.";
        domain_messages = 0, 0..=1_000_000_000, "messages",
            "The same in messages.";
    }
}

settings! {
    "store",
    /// How the database is kept, checked.
    #[derive(Debug, Clone, PartialEq, Eq)]
    Store, StoreWritten, STORE;
    gone {}
    lists {}
    words {
        key = "store.key", [],
            "File with the key that the mail is encrypted with, relative to `data`; made at the first start. `none`: what is written is not encrypted. Without the key nobody can read the mail: keep a copy elsewhere. `gracectl db change-key --new-key` puts another one in its place; should that be cut short, the key stays beside it (`store.key.new`), and is found there. With a key and without its database (a drive that is not mounted) nothing starts.";
        journal_io = "direct", ["direct" "buffered"],
            "How the journal is written. `direct`: past the page cache, where the file system can do that. `buffered`: through the page cache, then a sync; for file systems that are quicker so.";
    }
    numbers {
        segment_bytes = 67_108_864, 1_048_576..=4_294_967_296, "bytes",
            "Size of one journal segment of the database.";
        cache_bytes = 67_108_864, 1_048_576..=1_099_511_627_776, "bytes",
            "Memory for blocks of rows that were read. A million messages have some 150 MB of rows; what is used often stays.";
        rows_bytes = 8_388_608, 1_048_576..=1_073_741_824, "bytes",
            "Memory for new rows before they are sorted and written to disk; up to three times as much while that goes on. More makes less work in the background, and a longer start after a crash.";
        background_bytes_s = 67_108_864, 1_048_576..=1_099_511_627_776, "bytes/s",
            "Most bytes a second that tidying up writes, while it keeps up.";
        restore_hours = 24, 0..=8_760, "hours",
            "How long what was deleted or replaced stays on disk, so that the database can be brought back to any moment since (`gracectl db restore`). A wrong deletion is noticed the next day; after that its room is given back. 0: room is given back at once.";
        trace_hours = 336, 0..=87_600, "hours",
            "How long events of connections and messages are kept to be looked up. 0: none are. Questions about a message come within two weeks.";
        traces_max = 1_000_000, 10_000..=1_000_000_000, "events",
            "Events kept, however young: an attack must not fill the disk. When 16384 new ones begin, the oldest beyond this go. A message makes about six, of some 300 bytes each with what it is found by.";
        minutes_kept_hours = 48, 1..=8_760, "hours",
            "How long counts by the minute are kept: some 40 bytes each.";
        hours_kept_days = 400, 1..=36_500, "days",
            "How long counts by the hour are kept: a year, to compare with the last one.";
        chores_share_percent = 25, 1..=100, "percent",
            "How much of one core work on mailboxes may take that can wait: header fields, previews and conversations (THREADID) of mail that came before these were kept, once, and of large messages. Mail programs that ask for them sooner have them made at once.";
        thread_sweep_hours = 24, 0..=8_760, "hours",
            "How long after messages were removed the message identifiers are forgotten that lead to no conversation any more: some 60 bytes each. Looking for them reads a row of each message of the account.";
    }
}

settings! {
    "search",
    /// How texts are looked for, checked.
    #[derive(Debug, Clone, PartialEq, Eq)]
    Search, SearchWritten, SEARCH;
    gone {}
    lists {}
    words {
        index = "on", ["on" "off"],
            "Whether there is an index of the texts of messages, so that SEARCH TEXT and BODY read next to none of them. The answers are the same without. It takes on disk about a quarter of what letters without attachments do. `off`: what there is of it goes at the next start.";
    }
    numbers {
        index_share_percent = 50, 1..=100, "percent",
            "How much of one core making the index may take, while there is something to make. A message takes about a millisecond.";
        index_memory_bytes = 33_554_432, 8_388_608..=1_073_741_824, "bytes",
            "Memory for terms before they are written; making them takes as much again for a moment. More makes fewer merges of a large index that is made for the first time.";
        index_wait_messages = 20, 1..=10_000, "messages",
            "So many new messages of a mailbox wait until they are put into the index together. A search reads those that wait.";
        index_look_s = 5, 1..=3_600, "seconds",
            "How often new messages are looked for. Where there are so many mailboxes that looking takes longer than a twentieth of that, less often.";
    }
}

settings! {
    "dns",
    /// How the names of others are looked up, checked.
    #[derive(Debug, Clone, PartialEq, Eq)]
    Dns, DnsWritten, DNS;
    gone {}
    lists {
        resolvers: Nameserver = [], "an address such as \"192.0.2.53\" or \"[2001:db8::53]:5353\"",
            "Name servers to ask, which ask the rest of the world for us; port 53 where none is written. None: those of `/etc/resolv.conf`, or where that names none, the one on this machine. One on the same machine is best: it is quick, and block lists and signatures ask a lot.";
    }
    words {
        dnssec = "validate", ["validate" "off"],
            "Whether signatures of answers are checked (DNSSEC) on the way out. `validate`: servers of mail may say by DNSSEC which certificate is theirs (DANE, RFC 7672), and forged answers make mail wait. Where the name servers pass no signatures on, it is as `off`: nothing counts as signed.";
        trust_anchor = "root", [],
            "Whose signatures are believed first. `root`: those of the root of the DNS, by its keys of 2017 and 2024. Else a file with DNSKEY records of another root, as a zone file has them.";
    }
    numbers {
        timeout_ms = 3_000, 100..=60_000, "milliseconds",
            "How long one question waits for its answer before it is asked again.";
        attempts = 2, 1..=10, "questions",
            "How often a question is asked before the answer is \"not now\", and the mail waits.";
        cache_answers = 4_096, 0..=1_000_000, "answers",
            "Answers kept in memory for as long as they say themselves. Most have less than a kilobyte, the largest possible 64 KiB.";
        records_max = 100, 10..=10_000, "records",
            "Records taken from one answer; of mail servers the most preferred ones. Nobody needs more, and who sends more wants us busy.";
    }
}

settings! {
    "authenticity",
    /// How senders are checked, checked.
    #[derive(Debug, Clone, PartialEq, Eq)]
    Authenticity, AuthenticityWritten, AUTHENTICITY;
    gone {}
    lists {
        dmarc_exempt: Domain = [], "a domain such as \"example.org\"",
            "Authors' domains whose wish to have mail refused or put aside is not followed; with all domains below them. For a partner whose mail fails though it is genuine.";
        arc_trusted: Domain = [], "a domain such as \"lists.example.org\"",
            "Domains of mailing lists and forwarders whose word is taken: mail that they sealed (ARC) and found genuine (DMARC) is accepted, though it was changed on its way and fails here.";
        unchecked_networks: Network = ["127.0.0.0/8" "::1"],
            "a network such as \"192.0.2.0/24\" or one address",
            "Where mail comes from that is not checked: programs on this machine, and gateways of ours that did it before.";
    }
    words {
        dmarc = "obey", ["obey" "report"],
            "What follows when an author's domain does not stand behind a message. `obey`: what that domain asks for: refuse it, or put it into Junk. `report`: nothing, it stands in the header alone.";
        dns_failure = "later", ["later" "accept"],
            "What happens to a message whose author cannot be checked since the DNS gives no answer. `later`: the sender is asked to come again (451). `accept`: it is taken, and its header says so.";
    }
    numbers {
        time_max_s = 20, 1..=300, "seconds",
            "How long all questions about one message may take; what is not known by then counts as no answer from the DNS. The sender waits for that long after its last byte, and RFC 5321 4.5.3.2.6 gives us ten minutes.";
    }
}

settings! {
    "queue",
    /// How mail goes out, checked.
    #[derive(Debug, Clone, PartialEq, Eq)]
    Outgoing, OutgoingWritten, QUEUE;
    gone {}
    lists {
        retry_after: Span = ["1m" "5m" "15m" "30m" "1h"], "a time such as \"90s\" or \"5m\"",
            "How long to wait after the first failed attempts, one after the other. Most trouble is over in minutes: a server that starts again, one that lets strangers wait (greylisting).";
        source_ipv4: SourceV4 = [],
            "an IPv4 address such as \"192.0.2.1\", or with a name for EHLO \"192.0.2.1=out.example.org\"",
            "Addresses of this machine that mail to IPv4 servers is sent from, by turns, but always from the same one to one destination. None: the system's choice. Each should have a name that leads back to it; where that is not `hostname`, write it behind the address. `gracectl route set` gives a domain its own.";
        source_ipv6: SourceV6 = [],
            "an IPv6 address such as \"2001:db8::1\", or with a name for EHLO \"2001:db8::1=out.example.org\"",
            "The same for IPv6. Where only the other list has something, that kind of address is tried first.";
    }
    words {
        smart_host = "none", [],
            "A server that all outgoing mail goes through for which no route says otherwise (`gracectl route`), as `name` or `name:port`. `none`: mail goes to the servers that its recipients' domains name.";
    }
    numbers {
        port = 25, 1..=65_535, "port",
            "Port of other servers (RFC 5321 4.5.4.2).";
        recipients_waiting_max = 1_000_000, 1_000..=20_000_000, "recipients",
            "Recipients that may wait for delivery to other servers. Each takes some 500 bytes on disk and some 200 in memory; beyond, submission answers 452.";
        attempts_max = 200, 1..=20_000, "attempts",
            "Deliveries under way at once, to all servers together. Each takes a connection and some 100 KiB.";
        attempts_per_destination_start = 5, 1..=1_000, "attempts",
            "Deliveries at once to a destination nothing is known of. Big providers refuse a stranger who opens more than a handful of connections.";
        attempts_per_destination_max = 20, 1..=1_000, "attempts",
            "Deliveries at once to one destination at most, however well it goes; when the other side says that it is too much there are fewer.";
        attempts_per_minute_max = 0, 0..=60_000, "attempts",
            "Deliveries to one destination in a minute. 0: as many as go through.";
        recipients_per_transaction_max = 100, 1..=10_000, "recipients",
            "Recipients of one message handed over in one go (RFC 5321 4.5.3.1.8: 100 are taken everywhere).";
        retry_late_min_minutes = 120, 1..=1_440, "minutes",
            "Shortest wait when `retry_after` is used up (RFC 5321 4.5.4.1: 2 or 3 hours is the usual slow interval).";
        retry_late_max_minutes = 240, 1..=1_440, "minutes",
            "Longest wait then; chance picks one in between, so that what failed together does not come back together.";
        lifetime_hours = 120, 1..=720, "hours",
            "How long delivery is tried before the message goes back to its sender (RFC 5321 4.5.4.1: 4 to 5 days at least).";
        hold_days_max = 30, 0..=365, "days",
            "How long a sender may have a message held back before it goes out (FUTURERELEASE, RFC 4865). 0: not at all.";
        last_call_s = 300, 1..=3_599, "seconds",
            "How long before the end of its lifetime a message is tried for the last time; or, after a start that came too late, how long it still has.";
        delay_notice_hours = 4, 1..=720, "hours",
            "When a sender first hears that a message is late, if he did not ask not to (NOTIFY, RFC 3461).";
        delay_again_hours = 24, 1..=720, "hours",
            "How long until he hears it again.";
        back_off_first_s = 60, 1..=86_400, "seconds",
            "How long a destination that cannot be reached is left alone at first; it doubles each time.";
        back_off_max_s = 3_600, 1..=86_400, "seconds",
            "How long it is left alone at most.";
        connect_s = 30, 1..=600, "seconds",
            "How long one address of another server may take to accept a connection.";
        greeting_s = 300, 1..=3_600, "seconds",
            "How long another server may take to greet (RFC 5321 4.5.3.2.1: 5 minutes).";
        command_s = 300, 1..=3_600, "seconds",
            "How long it may take to answer EHLO, MAIL or RCPT (RFC 5321 4.5.3.2.2: 5 minutes).";
        data_s = 120, 1..=3_600, "seconds",
            "How long it may take to answer DATA (RFC 5321 4.5.3.2.4: 2 minutes).";
        body_s = 180, 1..=3_600, "seconds",
            "How long it may take to read a piece of a message (RFC 5321 4.5.3.2.5: 3 minutes).";
        end_s = 600, 1..=3_600, "seconds",
            "How long it may take to answer the end of a message (RFC 5321 4.5.3.2.6: 10 minutes). Who hangs up earlier delivers twice.";
        idle_s = 10, 0..=300, "seconds",
            "How long a connection to another server is kept for the next message. 0: none is.";
        hosts_max = 10, 1..=100, "hosts",
            "Servers of one destination that are tried in one attempt, in the order of their preference.";
    }
}

settings! {
    "transport",
    /// How sure other servers must be before mail goes to them, checked.
    #[derive(Debug, Clone, PartialEq, Eq)]
    Transport, TransportWritten, TRANSPORT;
    gone {}
    lists {
        required: Domain = [], "a domain such as \"example.org\"",
            "Destinations, with all below them, that get mail only over TLS and with a certificate that is surely theirs, whatever they say of themselves. Mail for them waits rather than goes otherwise.";
    }
    words {
        mta_sts = "obey", ["obey" "off"],
            "Whether policies are followed that domains publish over HTTPS (MTA-STS, RFC 8461): to which of their servers mail may go, and that those must show a good certificate. DANE stands above it, see `dns.dnssec`.";
        roots = "system", [],
            "Authorities whose certificates are believed. `system`: those this machine trusts. Else a PEM file with those to believe in their place, relative to `data`.";
    }
    numbers {
        mta_sts_port = 443, 1..=65_535, "port",
            "Port that policies are fetched from (RFC 8461 3.3).";
        mta_sts_fetch_s = 30, 1..=300, "seconds",
            "How long fetching a policy may take. The first message to a domain waits for it.";
        mta_sts_policies_max = 100_000, 100..=10_000_000, "policies",
            "Policies kept in the database, of some 200 bytes each. Beyond, further ones are fetched for every message.";
        results_kept_days = 30, 1..=3_650, "days",
            "How long it is kept how encrypting went, by day and server. Reports about a day are made the day after.";
        results_max = 100_000, 1_000..=100_000_000, "rows",
            "Rows of such results kept, of some 300 bytes each. Beyond, nothing new is counted before old ones are gone.";
    }
}

impl Transport {
    /// The file of the authorities; `None`: those of the system.
    #[must_use]
    pub fn roots_file(&self, data: &Path) -> Option<PathBuf> {
        (self.roots != "system").then(|| data.join(&self.roots))
    }
}

impl Store {
    /// The key's file; `None`: nothing is to be encrypted.
    #[must_use]
    pub fn key_file(&self, data: &Path) -> Option<PathBuf> {
        (self.key != "none").then(|| data.join(&self.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_lie_within_their_bounds() {
        let all = LIMITS
            .iter()
            .chain(DOOR)
            .chain(QUOTA)
            .chain(STORE)
            .chain(SEARCH)
            .chain(DNS)
            .chain(AUTHENTICITY)
            .chain(QUEUE)
            .chain(TRANSPORT);
        for setting in all {
            match setting.values {
                Values::Number { default, min, max, .. } => {
                    assert!((min..=max).contains(&default), "{}", setting.name);
                }
                Values::Word { default, choices } => {
                    let is_choice = choices.is_empty() || choices.contains(&default);
                    assert!(is_choice, "{}", setting.name);
                }
                Values::List { form, .. } => assert!(!form.is_empty(), "{}", setting.name),
            }
        }
    }

    #[test]
    fn a_value_outside_its_bounds_is_named() {
        let written = LimitsWritten { recipients_max: Some(5), ..LimitsWritten::default() };
        let error = Limits::check(&written).expect_err("5 is below 100");
        assert_eq!(error, "limits.recipients_max: 5 is not between 100 and 10000 (recipients)");
        let journal_io = Some("fast".to_owned());
        let written = StoreWritten { journal_io, ..StoreWritten::default() };
        let error = Store::check(&written).expect_err("no such way");
        assert_eq!(error, "store.journal_io: \"fast\" is not one of [\"direct\", \"buffered\"]");
    }

    #[test]
    fn the_items_of_defaults_are_all_read() {
        let lists =
            DOOR.iter().chain(DNS).chain(AUTHENTICITY).map(|setting| match setting.values {
                Values::List { default, .. } => default.len(),
                Values::Number { .. } | Values::Word { .. } => 0,
            });
        let (dns, authenticity) = (Dns::default(), Authenticity::default());
        let read = DoorRules::default().trusted_networks.len()
            + dns.resolvers.len()
            + authenticity.dmarc_exempt.len()
            + authenticity.arc_trusted.len()
            + authenticity.unchecked_networks.len();
        assert_eq!(read, lists.sum::<usize>());
    }

    #[test]
    fn a_list_names_the_item_it_cannot_read() {
        let written = |item: &str| {
            let resolvers = Some(vec!["127.0.0.1".to_owned(), item.to_owned()]);
            DnsWritten { resolvers, ..DnsWritten::default() }
        };
        let found = Dns::check(&written("[::1]:5353")).expect("two addresses");
        let found: Vec<String> = found.resolvers.iter().map(|at| at.0.to_string()).collect();
        assert_eq!(found, ["127.0.0.1:53", "[::1]:5353"]);
        let error = Dns::check(&written("ns.example.org")).expect_err("a name");
        assert!(
            error.starts_with("dns.resolvers: \"ns.example.org\" is not an address"),
            "{error}"
        );
    }

    #[test]
    fn the_key_lies_in_the_data_folder_unless_told_otherwise() {
        let data = Path::new("/data");
        let file = |key: &str| Store { key: key.to_owned(), ..Store::default() }.key_file(data);
        assert_eq!(Store::default().key_file(data), Some(PathBuf::from("/data/store.key")));
        assert_eq!(file("/etc/grace/key"), Some(PathBuf::from("/etc/grace/key")));
        assert_eq!(file("none"), None);
    }
}
