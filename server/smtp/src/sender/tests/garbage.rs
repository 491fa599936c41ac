//! Random peers, by seed: nothing panics, memory stays bounded, and every job gets its outcome.

use super::*;
use crate::testing::Random;

/// What a server may offer.
const OFFERS: &[&[u8]] = &[
    b"250 x\r\n",
    b"250-x\r\n250-PIPELINING\r\n250-SIZE 9999\r\n250-8BITMIME\r\n250 DSN\r\n",
    b"250-x\r\n250-CHUNKING\r\n250-BINARYMIME\r\n250-PIPELINING\r\n250 LIMITS RCPTMAX=2\r\n",
    b"250-x\r\n250-STARTTLS\r\n250-SMTPUTF8\r\n250 AUTH LOGIN\r\n",
    b"250-x\r\n250-LIMITS RCPTDOMAINMAX=1 MAILMAX=3\r\n250 AUTH PLAIN\r\n",
];

/// Words that fit nowhere, or somewhere else.
const WORDS: &[&[u8]] = &[
    b"220 x\r\n",
    b"250 2.0.0 ok\r\n250 2.1.5 ok\r\n250 ok\r\n354 go\r\n",
    b"354 go\r\n",
    b"334 VXNlcm5hbWU6\r\n",
    b"552 too big\r\n",
    b"503 no\r\n",
    b"421 bye\r\n",
    b"250-",
    b"25",
    b"\r\n",
    b"\n",
    b"HTTP/1.0 400\r\n",
    b"\xff\x00",
];

const JOBS: &[&str] = &[
    "send a@x.example b@y.example",
    "send a@x.example b@y.example,c@y.example,d@z.example 8bit | .a\\r\\n.\\r\\nb",
    "send <> b@y.example binary | \\0\\n\\n.",
    "send a@x.example grüße@y.example,b@y.example",
    "send a@x.example b@y.example by-hand",
];

fn random_settings(random: &mut Random) -> Settings {
    let policies = [TlsPolicy::Never, TlsPolicy::Opportunistic, TlsPolicy::Required];
    let mut settings = if random.below(4) == 0 { with_login() } else { settings() };
    settings.tls = policies[random.below(policies.len())];
    settings.login_without_tls = random.below(2) == 0;
    settings.chunking_preferred = random.below(2) == 0;
    settings.recipients_max = 1 + random.below(3);
    settings.transactions_max = 1 + u32::try_from(random.below(5)).unwrap();
    settings
}

/// What the peer does next: mostly what a server would answer, so that sessions come far.
fn peer_bytes(world: &World, random: &mut Random) -> Vec<u8> {
    match random.below(60) {
        0 => return (0..random.below(3_000)).map(|_| random.next().to_le_bytes()[0]).collect(),
        1 => return vec![b'x'; random.below(5_000)],
        2 => return b"250-x\r\n".repeat(random.below(200)),
        3..6 => return WORDS[random.below(WORDS.len())].to_vec(),
        _ => {}
    }
    let Some(asked) = world.sender.unanswered.front() else { return Vec::new() };
    let refusals: &[&[u8]] = &[b"550 5.1.1 no\r\n", b"451 no\r\n", b"452 4.5.3 too many\r\n"];
    let good: &[u8] = match asked {
        Asked::Greeting | Asked::StartTls => b"220 x\r\n",
        Asked::Ehlo => OFFERS[random.below(OFFERS.len())],
        Asked::Auth(opening::Login::Verdict) => b"235 ok\r\n",
        Asked::Auth(_) => b"334 VXNlcm5hbWU6\r\n",
        Asked::Data => b"354 go\r\n",
        _ => b"250 ok\r\n",
    };
    let word = if random.below(10) == 0 { refusals[random.below(refusals.len())] } else { good };
    word.to_vec()
}

fn driver_moves(world: &mut World, random: &mut Random) {
    if world.sender.phase == Phase::Tls {
        world.command(["tls", "tls verified", "tls failed"][random.below(3)]);
    } else if world.needs_body {
        world.command(["body .\\r\\n", "end", "unreadable", "body x"][random.below(4)]);
    } else if world.job.is_none() && random.below(2) == 0 {
        world.command(JOBS[random.below(JOBS.len())]);
    }
    match random.below(200) {
        0 => world.command("quit"),
        1 => world.command("gone"),
        2 => world.pass(Duration::from_secs(700)),
        _ => world.pass(Duration::from_secs(1)),
    }
}

/// `World` looks after each step that nothing grew, that there is a deadline, and that no job is
/// left without an outcome.
#[test]
fn random_sessions() {
    let (mut settled, mut delivered) = (0, 0);
    for seed in 0..4_000_u64 {
        let mut random = Random(seed);
        let settings = random_settings(&mut random);
        let piece = 1 + random.below(5);
        let mut world = World::new(settings, None, piece);
        for _ in 0..150 {
            if world.closed {
                break;
            }
            driver_moves(&mut world, &mut random);
            if world.closed || world.sender.room() == 0 {
                continue;
            }
            let bytes = peer_bytes(&world, &mut random);
            let step = 1 + random.below(2 * bytes.len().max(1));
            hear_some(&mut world, &bytes, step);
        }
        // Whatever state it is in, silence ends it.
        for _ in 0..4 {
            world.pass(Duration::from_secs(10_000));
        }
        assert!(world.closed, "seed {seed}: {:?}", world.sender);
        settled += world.events.iter().filter(|event| event.contains('@')).count();
        delivered += world.events.iter().filter(|event| event.contains(" delivered")).count();
    }
    assert!(delivered > 500 && settled > 2 * delivered, "{delivered} of {settled}: too shallow");
}

/// As a driver does: while TLS is to be started nothing is read.
fn hear_some(world: &mut World, bytes: &[u8], step: usize) {
    for piece in bytes.chunks(step) {
        let mut piece = piece;
        while !piece.is_empty() && !world.closed && world.sender.room() > 0 {
            let taken = world.sender.receive(world.now, piece);
            piece = &piece[taken..];
            world.drive();
        }
    }
}
