//! Submits many messages for other servers over some connections, as fast as they are taken.
//!
//! Invariant: what is returned was acknowledged; a connection that breaks ends its share.
//! Not here: mail programs nobody here wrote ([`crate::script`]).

use std::ops::Range;
use std::thread;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::house::Account;
use crate::wire::Wire;

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub struct Load<'a> {
    /// Who sends.
    pub from: &'a Account,
    /// Who it is for.
    pub to: &'a str,
    /// Bytes of each body.
    pub bytes: usize,
    /// Connections at once.
    pub connections: usize,
}

/// Submits messages with these numbers, which stand in their subjects, to the port for submission;
/// returns those that were acknowledged.
///
/// # Panics
/// When the login is refused.
#[must_use]
pub fn submit(port: u16, load: Load<'_>, numbers: &Range<u64>) -> Vec<u64> {
    let lane = |first: u64| {
        let share = numbers.clone().skip(usize::try_from(first).unwrap_or(usize::MAX));
        send(port, load, share.step_by(load.connections))
    };
    thread::scope(|scope| {
        let lanes: Vec<_> =
            (0..load.connections as u64).map(|first| scope.spawn(move || lane(first))).collect();
        lanes.into_iter().flat_map(|lane| lane.join().expect("a lane ends by itself")).collect()
    })
}

fn send(port: u16, load: Load<'_>, numbers: impl Iterator<Item = u64>) -> Vec<u64> {
    let Account { address, password } = load.from;
    let secret = BASE64_STANDARD.encode(format!("\0{address}\0{password}"));
    let mut wire = Wire::connect(port);
    wire.check("S: 220 *\nC: EHLO client.example.org\nS: 250 *");
    wire.check(&format!("C: AUTH PLAIN {secret}\nS: 235 *"));
    let body = body(load.bytes);
    let mut acknowledged = Vec::new();
    for number in numbers {
        let envelope =
            format!("MAIL FROM:<{address}>\r\nRCPT TO:<{}>\r\nDATA\r\n", load.to).into_bytes();
        wire.send(&envelope);
        if ["250", "250", "354"].iter().any(|code| !last_line(&mut wire).starts_with(code)) {
            break;
        }
        let head = format!("From: <{address}>\r\nSubject: number {number}\r\n\r\n");
        wire.send(&[head.as_bytes(), body.as_bytes(), b".\r\n"].concat());
        if !last_line(&mut wire).starts_with("250") {
            break;
        }
        acknowledged.push(number);
    }
    acknowledged
}

/// A body of about so many bytes.
#[must_use]
pub fn body(bytes: usize) -> String {
    let line = format!("{}\r\n", "x".repeat(70));
    line.repeat(bytes.div_ceil(line.len()))
}

fn last_line(wire: &mut Wire) -> String {
    wire.reply().pop().unwrap_or_default()
}
