//! Everything that reads mail takes linear time, also on mail made to hurt.
//!
//! Eight times the input must not take more than some sixteen times the time. A busy machine is
//! allowed for by the best of three runs and by a second of slack, which a quadratic reader of
//! 1.6 MB passes by far: that is 10^12 steps.

use std::hint::black_box;
use std::time::{Duration, Instant};

use grace_mail::mime::Tree;
use grace_mail::text::{self, Needle};
use grace_mail::{encoded_word, envelope::Envelope, header, mailbox_list, media, transfer};

const SMALL: usize = 200_000;
const GROWTH: usize = 8;
const SLACK: Duration = Duration::from_secs(1);

/// Runs `read` over what `shape` makes of a size.
fn check(name: &str, shape: impl Fn(usize) -> String, read: impl Fn(&[u8])) {
    let time = |size: usize| -> Duration {
        let input = shape(size);
        let run = || {
            let start = Instant::now();
            read(input.as_bytes());
            start.elapsed()
        };
        (0..3).map(|_| run()).min().unwrap_or_default()
    };
    let (small, large) = (time(SMALL), time(SMALL * GROWTH));
    let bound = small * 16 + SLACK;
    assert!(
        large <= bound,
        "{name}: {small:?} for {SMALL} bytes, {large:?} for {GROWTH} times as many"
    );
}

#[test]
fn trees() {
    let tree = |name: &str, shape: fn(usize) -> String| {
        check(name, shape, |raw| {
            black_box(Tree::parse(raw));
        });
    };
    tree("nested multiparts that share a prefix", |n| {
        let nest = |level: usize| {
            let boundary = "b".repeat(level);
            format!("Content-Type: multipart/x; boundary={boundary}\n\n--{boundary}\n")
        };
        let head: String = (1..=90).map(nest).collect();
        head + &format!("\n{}", format!("--{}\n", "b".repeat(99)).repeat(n / 100))
    });
    tree("boundaries of great length", |n| {
        let long = "b".repeat(n / 10);
        let nest = |end: &str| {
            format!("Content-Type: multipart/x; boundary={long}{end}\n\n--{long}{end}\n")
        };
        format!("{}{}\n--{long}\n--{long}\n--{long}\n", nest("1"), nest("2"))
    });
    tree("delimiters without parts", |n| {
        format!("Content-Type: multipart/x; boundary=b\n\n{}", "--b\n".repeat(n / 4))
    });
    tree("delimiters with empty parts", |n| {
        format!("Content-Type: multipart/x; boundary=b\n\n{}", "--b\n\n".repeat(n / 5))
    });
    tree("a header that may not be one", |n| {
        format!("A: 1\n{}", "junk\nhttp: junk\n".repeat(n / 16))
    });
    tree("many headers that may not be", |n| {
        let part = "--b\nA: 1\njunk\nhttp: x\n";
        format!("Content-Type: multipart/x; boundary=b\n\n{}", part.repeat(n / part.len()))
    });
    tree("messages in messages", |n| "Content-Type: message/rfc822\njunk\n".repeat(n / 34));
    tree("one long line", |n| format!("A: {}", "x".repeat(n)));
    tree("lines of white space", |n| " \n".repeat(n / 2));
}

#[test]
fn fields() {
    let field = |name: &str, shape: fn(usize) -> String| {
        check(name, shape, |raw| {
            black_box(media::Media::of_header(raw, false));
            black_box(Envelope::of_header(raw));
            black_box(header::select(raw, &["x", "y"], true));
            black_box(text::of_header(raw));
        });
    };
    field("folded parameters", |n| format!("Content-Type: a/b{}", ";\n x=(\n \" y".repeat(n / 10)));
    field("bare parameters", |n| format!("Content-Type: a/b{}", "; x=y z".repeat(n / 7)));
    field("junk for parameters", |n| format!("Content-Type: a/b;{}", "=?(".repeat(n / 3)));
    field("languages", |n| format!("Content-Language: {}", "en,(".repeat(n / 4)));
    field("many fields", |n| "From:\nContent-Type:\nTo: a@b\n".repeat(n / 29));
    field("folded lines", |n| format!("Subject:{}", "\n =?".repeat(n / 4)));
}

#[test]
fn values() {
    let value = |name: &str, shape: fn(usize) -> String| {
        check(name, shape, |raw| {
            black_box(mailbox_list::parse(raw));
            black_box(encoded_word::decode(raw));
            black_box(transfer::base64(raw));
            black_box(transfer::quoted_printable(raw));
            black_box(header::unfold(raw));
        });
    };
    value("words and colons", |n| format!("{}@{}", "w ".repeat(n / 4), ":".repeat(n / 2)));
    value("angles and colons", |n| "<@a:".repeat(n / 4));
    value("commas and semicolons", |n| "a:;,".repeat(n / 4));
    value("nested comments", |n| "(".repeat(n));
    value("open quotes", |n| "\"\\".repeat(n / 2));
    value("routes", |n| format!("<@a{}", ",@a".repeat(n / 3)));
    value("encoded words", |n| "=?x?q?y?=".repeat(n / 9));
    value("open encoded words", |n| "=?x?q?y".repeat(n / 7));
    value("white space", |n| " ".repeat(n) + "=");
}

#[test]
fn searches() {
    check(
        "a needle that almost fits",
        |n| format!("Subject: x\n\n{}", "a".repeat(n)),
        |raw| {
            let needle = Needle::new(&format!("{}b", "a".repeat(raw.len() / 20)));
            black_box(text::message_contains(raw, &Tree::parse(raw), &needle));
        },
    );
}
