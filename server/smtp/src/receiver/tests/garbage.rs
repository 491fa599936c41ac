//! Peers that are no mail servers: other protocols, and random bytes by seed.

use super::*;

#[test]
fn other_protocols_are_hung_up_on() {
    let foreign = [
        ("R: GET / HTTP/1.0\\r\\n\\r\\n", "GET / HTTP/1.0"),
        ("R: POST / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\nMAIL FROM:<a@b>\\r\\n", "POST / HTTP/1.1"),
        ("R: OPTIONS sip:nm SIP/2.0\\r\\n", "OPTIONS sip:nm SIP/2.0"),
        ("R: \\x16\\x03\\x01\\x02\\0\\x01", ""),
        ("R: \\x80\\x9e\\x01\\x03\\x01", ""),
        ("R: \\x1b%-12345X@PJL\\r\\n", ""),
        ("R: \\0\\x1e\\0\\x06", ""),
    ];
    for (sent, noted) in foreign {
        let note = if noted.is_empty() {
            String::new()
        } else {
            format!("N: {noted} | 500 5.5.1 this is a mail server speaking SMTP, closing")
        };
        check(
            Role::Mx,
            &format!(
                "S: 220 mx.grace.test ESMTP Grace
                 {sent}
                 S: 500 5.5.1 this is a mail server speaking SMTP, closing
                 {note}
                 -- closed: not SMTP"
            ),
        );
    }
}

/// A small generator, so that a seed is a bug report (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }
}

/// Words that lead deep into the machine.
const WORDS: &[&[u8]] = &[
    b"EHLO x\r\n",
    b"HELO \r\n",
    b"MAIL FROM:<a@x.example>\r\n",
    b"MAIL FROM:<nospace@x.example> SMTPUTF8\r\n",
    b"MAIL FROM:<nobegin@x.example> SIZE=5\r\n",
    b"MAIL FROM:<nostore@x.example>\r\n",
    b"RCPT TO:<anna@grace.test>\r\n",
    b"RCPT TO:<b@x>\r\n",
    b"DATA\r\n",
    b"BDAT 10\r\n",
    b"BDAT 3 LAST\r\n",
    b"BDAT 5000\r\n",
    b".\r\n",
    b"\r\n.\r\n",
    b"\n",
    b"\r",
    b"RSET\r\n",
    b"AUTH PLAIN\r\n",
    b"AUTH PLAIN AGFubmEAc2VjcmV0\r\n",
    b"AUTH LOGIN\r\n",
    b"YW5uYQ==\r\n",
    b"*\r\n",
    b"STARTTLS\r\n",
    b"MAIL FROM:<\"",
    b"RCPT TO:<@",
    b">",
    b"\xff\x00",
];

/// Random sessions: nothing panics, buffers stay bounded (`World::drive` looks), every body that
/// was begun ended or was dropped.
#[test]
fn random_sessions() {
    for seed in 0..3_000_u64 {
        let mut random = Random(seed);
        let roles = [Role::Mx, Role::Submission, Role::Submissions];
        let role = roles[random.below(roles.len())];
        let mut settings = Settings { message_bytes_max: 3_000, ..settings(role) };
        settings.errors_max = 200;
        settings.login_without_tls = random.below(2) == 0;
        let mut world = World::new(settings);
        for _ in 0..random.below(80) {
            let bytes = match random.below(12) {
                0 => (0..random.below(3_000)).map(|_| random.next().to_le_bytes()[0]).collect(),
                1 => vec![b'x'; random.below(5_000)],
                _ => WORDS[random.below(WORDS.len())].to_vec(),
            };
            let step = 1 + random.below(2 * bytes.len().max(1));
            world.send(&bytes, step);
            if random.below(300) == 0 {
                world.pass(Duration::from_secs(10_000));
            }
        }
        assert!(world.closed || world.replies.len() < 1_000_000, "seed {seed}");
        if world.closed {
            assert!(world.envelope.is_none(), "a body was forgotten, seed {seed}");
        }
    }
}
