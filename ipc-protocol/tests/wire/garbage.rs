//! Bytes from outside never panic and never take more memory than they are worth.
//!
//! Every round is made from a seed; a failure prints it.

use std::time::Instant;

use grace_ipc::codec;
use grace_ipc::frame::{self, Decoder, FROM_SERVER_BYTES_MAX, TO_SERVER_BYTES_MAX};
use grace_ipc::hello::{ClientHello, ServerHello};
use grace_ipc::message::{Request, ServerMessage};
use grace_ipc::role::Role;
use grace_ipc::session::asker::Greeting;
use grace_ipc::session::server::{Session, Settings, Step};

use crate::samples;

/// A small generator (SplitMix64): the standard library has none, and a seed must mean the same
/// bytes for ever.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.roll().to_le_bytes()[0]).collect()
    }

    /// Damages bytes in one of the ways a bad peer or a bad cable would.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len());
        match self.below(5) {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << self.below(8),
            2 => bytes[at] = 0xff,
            3 => {
                let extra = self.bytes(8);
                bytes.splice(at..at, extra);
            }
            _ => {
                let long = [0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
                bytes.splice(at..=at, long);
            }
        }
    }
}

fn conversation() -> Vec<u8> {
    let mut bytes = Greeting::new("test 1", Role::Owner).to_bytes();
    for (_, request) in samples::requests() {
        frame::write(&codec::encode(&request).unwrap(), TO_SERVER_BYTES_MAX, &mut bytes).unwrap();
    }
    bytes
}

/// Feeds a session as a careful driver does and answers what it asks.
fn serve(bytes: &[u8], step: usize) -> usize {
    let now = Instant::now();
    let settings = Settings {
        software: "graced test".into(),
        allowed: Some(Role::Owner),
        busy: false,
        events_kept_max: 4,
    };
    let mut session = Session::new(settings, now);
    let mut asks = 0;
    for piece in bytes.chunks(step.max(1)) {
        session.receive(now, piece);
        loop {
            let written = session.fill().len();
            assert!(written <= 2 * FROM_SERVER_BYTES_MAX);
            session.sent(written);
            match session.poll(now) {
                None => break,
                Some(Step::Close { .. }) => return asks,
                Some(Step::Ask { id, .. }) => {
                    asks += 1;
                    session.done(id, grace_ipc::message::Answer::Done);
                }
                Some(step @ Step::BeginEvents { .. }) => session.begin_events(&step, &[]),
                Some(Step::StatsDue) => session.offer_stats(now, &samples::stats()),
                Some(Step::Opened { .. } | Step::Cancel { .. }) => {}
            }
        }
    }
    asks
}

#[test]
fn a_whole_conversation_survives_every_cut() {
    let bytes = conversation();
    let whole = serve(&bytes, bytes.len());
    assert_eq!(whole, 77, "requests that reach the driver");
    for step in 1..=bytes.len() {
        assert_eq!(serve(&bytes, step), whole, "in pieces of {step}");
    }
}

#[test]
fn a_session_survives_damage() {
    for seed in 0..20_000 {
        let mut dice = Dice(seed);
        let mut bytes = conversation();
        for _ in 0..=dice.below(3) {
            if !bytes.is_empty() {
                dice.damage(&mut bytes);
            }
        }
        let step = 1 + dice.below(400);
        let caught = std::panic::catch_unwind(|| serve(&bytes, step));
        assert!(caught.is_ok(), "seed {seed}");
    }
}

#[test]
fn a_session_survives_noise() {
    for seed in 0..5_000 {
        let mut dice = Dice(seed);
        let mut bytes = Greeting::new("test 1", Role::Owner).to_bytes();
        if seed % 2 == 0 {
            bytes.clear();
        }
        let noise = dice.below(300);
        bytes.extend(dice.bytes(noise));
        let caught = std::panic::catch_unwind(|| serve(&bytes, 64));
        assert!(caught.is_ok(), "seed {seed}");
    }
}

#[test]
fn messages_survive_damage() {
    let bodies: Vec<Vec<u8>> = samples::answers()
        .iter()
        .chain(&samples::event_pushes())
        .map(|(_, message)| codec::encode(message).unwrap())
        .collect();
    for seed in 0..50_000 {
        let mut dice = Dice(seed);
        let mut body = bodies[dice.below(bodies.len())].clone();
        dice.damage(&mut body);
        // Whatever it is now: no panic, and no more than one way to write it.
        if let Ok(message) = codec::decode::<ServerMessage>(&body) {
            let again = codec::encode(&message).unwrap();
            assert_eq!(codec::decode::<ServerMessage>(&again).unwrap(), message, "seed {seed}");
        }
        let _ = codec::decode::<Request>(&body);
        let _ = ClientHello::take(&body);
        let _ = ServerHello::take(&body);
    }
}

/// A list that claims four thousand million rows is refused by its claim.
#[test]
fn a_claimed_length_takes_no_memory() {
    // Reply, id 1, Part, Domains, then a count.
    for count in [
        &[0xfc, 0xff, 0xff, 0xff, 0xff][..],
        &[0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    ] {
        let mut body = vec![0, 1, 0, 0];
        body.extend_from_slice(count);
        let error = codec::decode::<ServerMessage>(&body).unwrap_err();
        assert!(matches!(error, codec::CodecError::Decode(_)), "{error}");
    }
    let mut decoder = Decoder::new(TO_SERVER_BYTES_MAX);
    decoder.push(&0x7fff_ffff_u32.to_le_bytes());
    assert!(decoder.next().is_err());
    assert!(decoder.capacity_bytes() < 1_024);
}

#[test]
fn nothing_hides_behind_a_message() {
    let (_, request) = &samples::requests()[0];
    let mut body = codec::encode(request).unwrap();
    body.push(0);
    let error = codec::decode::<Request>(&body).unwrap_err();
    assert_eq!(error.to_string(), "1 bytes follow the message in its frame");
}
