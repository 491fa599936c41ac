//! How messages are taken apart, case by case.

#![expect(clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use grace_mail::mime::{DEPTH_MAX, PARTS_MAX, Part, Tree};
use grace_mail::section::{Section, SectionError, What};

/// Takes `message` apart with LF and with CRLF and compares the tree: one line per part, children
/// indented, the body of leaves quoted. `|` at the start of a line keeps our source tidy.
fn check(message: &str, expected: &str) {
    let plain = |text: &str| -> String {
        text.lines()
            .filter_map(|line| line.trim_start().strip_prefix('|'))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let (message, expected) = (plain(message), plain(expected));
    for message in [message.clone(), message.replace('\n', "\r\n")] {
        common::assert_sound(message.as_bytes(), "case");
        let tree = Tree::parse(message.as_bytes());
        let mut shown = String::new();
        show(message.as_bytes(), &tree, tree.root(), &mut shown);
        let shown = shown.replace("\\r\\n", "\\n");
        assert_eq!(shown.trim_end(), expected, "for {message:?}");
    }
}

fn show(raw: &[u8], tree: &Tree, part: &Part, out: &mut String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    out.push_str(&" ".repeat(part.depth * 2));
    out.push_str(&format!("{}/{}", text(&part.media.kind), text(&part.media.subtype)));
    if tree.children(part).next().is_none() {
        out.push_str(&format!(" {:?}", text(&raw[part.body.clone()])));
    }
    out.push('\n');
    for child in tree.children(part) {
        show(raw, tree, child, out);
    }
}

#[test]
fn simple_messages() {
    check(
        "|Subject: x
         |
         |hello
         |",
        r#"|text/plain "hello\n""#,
    );
    check("|", r#"|text/plain """#);
    check("|Subject: x", r#"|text/plain """#);
    check("|\n|body", r#"|text/plain "body""#);
}

#[test]
fn a_multipart_with_preamble_and_epilogue() {
    check(
        "|Content-Type: multipart/mixed; boundary=\"b\"
         |
         |preamble
         |--b
         |
         |one
         |
         |--b
         |Content-Type: text/html
         |
         |two
         |--b--
         |epilogue
         |--b
         |not a part",
        r#"|multipart/mixed
           |  text/plain "one\n"
           |  text/html "two""#,
    );
}

#[test]
fn multiparts_nest() {
    check(
        "|Content-Type: multipart/mixed; boundary=out
         |
         |--out
         |Content-Type: multipart/alternative; boundary=out-in
         |
         |--out-in
         |
         |one
         |--out-in
         |Content-Type: text/html
         |
         |two
         |--out-in--
         |
         |--out
         |Content-Type: image/png
         |
         |three
         |--out--",
        r#"|multipart/mixed
           |  multipart/alternative
           |    text/plain "one"
           |    text/html "two"
           |  image/png "three""#,
    );
}

#[test]
fn messages_inside_messages() {
    check(
        "|Content-Type: multipart/mixed; boundary=b
         |
         |--b
         |Content-Type: message/rfc822
         |
         |Subject: inner
         |Content-Type: multipart/mixed; boundary=c
         |
         |--c
         |
         |deep
         |--b
         |Content-Type: message/global
         |
         |Subject: other
         |
         |text
         |--b--",
        r#"|multipart/mixed
           |  message/rfc822
           |    multipart/mixed
           |      text/plain "deep"
           |  message/global
           |    text/plain "text""#,
    );
    check(
        "|Content-Type: message/rfc822
         |
         |Content-Type: message/rfc822
         |
         |Subject: third
         |",
        r#"|message/rfc822
           |  message/rfc822
           |    text/plain """#,
    );
}

#[test]
fn in_a_digest_parts_are_messages() {
    check(
        "|Content-Type: multipart/digest; boundary=b
         |
         |--b
         |
         |Subject: one
         |
         |first
         |--b
         |Content-Type: text/plain
         |
         |second
         |--b--",
        r#"|multipart/digest
           |  message/rfc822
           |    text/plain "first"
           |  text/plain "second""#,
    );
}

#[test]
fn boundaries_are_compared_as_rfc_2046_says() {
    // White space may follow, then anything; another boundary with the same beginning is another
    // one.
    check(
        "|Content-Type: multipart/mixed; boundary=b
         |
         |--b \t
         |
         |one --b
         | --b
         |--bb
         |--B
         |-b
         |--b junk
         |
         |two
         |--b--  \t
         |three",
        r#"|multipart/mixed
           |  text/plain "one --b\n --b\n--bb\n--B\n-b"
           |  text/plain "two""#,
    );
    // A boundary may be the beginning of the one inside, or the other way round.
    check(
        "|Content-Type: multipart/mixed; boundary=bb
         |
         |--bb
         |Content-Type: multipart/mixed; boundary=b
         |
         |--b
         |
         |one
         |--bb
         |
         |two
         |--bb--",
        r#"|multipart/mixed
           |  multipart/mixed
           |    text/plain "one"
           |  text/plain "two""#,
    );
    // The same boundary inside and outside: the innermost open one takes the line.
    check(
        "|Content-Type: multipart/mixed; boundary=b
         |
         |--b
         |Content-Type: multipart/mixed; boundary=b
         |
         |--b
         |
         |one
         |--b--
         |--b
         |
         |two
         |--b--",
        r#"|multipart/mixed
           |  multipart/mixed
           |    text/plain "one"
           |  text/plain "two""#,
    );
}

#[test]
fn boundaries_in_strange_spellings() {
    for spelling in [
        "boundary=\"a b\"",
        "boundary=\"a\n  b\"",
        "BOUNDARY = \"a b\" (c)",
        "boundary=\"a\\ b  \"",
        "boundary*0=\"a \"; boundary*1=b",
        "boundary*=us-ascii''a%20b",
    ] {
        let spelling = spelling.replace("a\n  b", "a\n b");
        let message = format!("Content-Type: multipart/x; {spelling}\n\n--a b\n\none\n--a b--\n");
        let tree = Tree::parse(message.as_bytes());
        let bodies: Vec<_> =
            tree.children(tree.root()).map(|part| &message[part.body.clone()]).collect();
        assert_eq!(bodies, ["one"], "{spelling}");
    }
}

#[test]
fn delimiters_that_are_missing() {
    // No closing delimiter, neither inside nor outside.
    check(
        "|Content-Type: multipart/mixed; boundary=b
         |
         |--b
         |Content-Type: multipart/mixed; boundary=c
         |
         |--c
         |
         |one
         |",
        r#"|multipart/mixed
           |  multipart/mixed
           |    text/plain "one\n""#,
    );
    // Never opened, no boundary, an empty boundary: the reader still gets the text.
    for parameter in ["; boundary=b", "", "; boundary=\"\""] {
        check(
            &format!("|Content-Type: multipart/mixed{parameter}\n|\n|--x\n|some text\n|--x--"),
            r#"|multipart/mixed
               |  text/plain "--x\nsome text\n--x--""#,
        );
    }
    // Only a closing delimiter.
    check(
        "|Content-Type: multipart/mixed; boundary=b
         |
         |text
         |--b--
         |more",
        r#"|multipart/mixed
           |  text/plain "text\n--b--\nmore""#,
    );
}

#[test]
fn parts_that_are_empty() {
    check(
        "|Content-Type: multipart/mixed; boundary=b
         |
         |--b
         |--b
         |
         |--b
         |Content-Type: text/html
         |--b
         |Content-Type: message/rfc822
         |
         |--b
         |Content-Type: message/rfc822
         |--b
         |Content-Type: multipart/x; boundary=c
         |
         |--c
         |--b--",
        r#"|multipart/mixed
           |  text/plain ""
           |  text/html ""
           |  message/rfc822
           |    text/plain ""
           |  message/rfc822
           |    text/plain ""
           |  multipart/x
           |    text/plain """#,
    );
}

#[test]
fn headers_that_are_broken() {
    // No header at all.
    check("|Hello,\n|this is text\n|\n|more", r#"|text/plain "Hello,\nthis is text\n\nmore""#);
    check(
        "|Content-Type: multipart/mixed; boundary=b
         |
         |--b
         |Hello, no blank line
         |https://example.org
         |
         |--b--",
        r#"|multipart/mixed
           |  text/plain "Hello, no blank line\nhttps://example.org\n""#,
    );
    // The blank line after the header is missing.
    check(
        "|Received: by mx.example.org
         |Dear all,
         |see https://example.org
         |https://example.org: look
         |
         |Bye",
        r#"|text/plain "Dear all,\nsee https://example.org\nhttps://example.org: look\n\nBye""#,
    );
    // A first line of white space; a delimiter where there was no blank line.
    check("|  \t\n|Subject: x\n|Content-Type: text/html\n|\n|<p>", r#"|text/html "<p>""#);
    check("|  \n|Hello\n|", r#"|text/plain "  \nHello\n""#);
    check(
        "|Content-Type: multipart/mixed; boundary=b
         |MIME-Version: 1.0
         |--b
         |Content-Type: text/html
         |
         |<p>
         |--b--",
        r#"|multipart/mixed
           |  text/html "<p>""#,
    );
    // A line that lost its indentation is not the end of the header.
    check(
        "|Subject: a long
         |and broken one
         |Content-Type: text/html
         |
         |<p>",
        r#"|text/html "<p>""#,
    );
    // The line of an mbox file.
    check(
        "|From ann@example.org Mon Nov 23 19:00:00 2026
         |Content-Type: text/html
         |
         |<p>",
        r#"|text/html "<p>""#,
    );
    check(
        "|From here on it is text,
         |for no header follows.
         |
         |more",
        r#"|text/plain "From here on it is text,\nfor no header follows.\n\nmore""#,
    );
    // A header with no blank line, cut by a delimiter.
    check(
        "|Content-Type: multipart/mixed; boundary=b
         |
         |--b
         |Content-Type: text/html
         |and some text
         |--b
         |Content-Type: multipart/mixed; boundary=c
         |and some text
         |--c
         |
         |two
         |--b--",
        r#"|multipart/mixed
           |  text/html "and some text"
           |  multipart/mixed
           |    text/plain "two""#,
    );
}

#[test]
fn bytes_that_are_no_text() {
    for raw in
        [&b"\0"[..], b"\xff\xfe\n\n\0", b"\r", b"\r\r\n\r", b"\n", b"--", b"A:\r\r\n\r\n\x80"]
    {
        common::assert_sound(raw, "junk");
    }
    let raw = b"Content-Type: multipart/mixed; boundary=\"\xff\"\n\n--\xff\n\n\0\xfe\n--\xff--";
    let tree = Tree::parse(raw);
    let part = tree.child(tree.root(), 1).expect("one part");
    assert_eq!(&raw[part.body.clone()], b"\0\xfe");
}

#[test]
fn line_ends_belong_to_the_delimiter_and_lines_are_counted() {
    let raw = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n\
        --b\r\n\r\none\r\ntwo\r\n--b\n\nx\n--b--\r\n";
    let tree = Tree::parse(raw);
    let seen: Vec<_> =
        tree.children(tree.root()).map(|p| (&raw[p.body.clone()], p.lines)).collect();
    assert_eq!(seen, [(&b"one\r\ntwo"[..], 1), (&b"x"[..], 0)]);
    assert_eq!(tree.root().lines, 8);
}

#[test]
fn sections_of_the_rfc() {
    // The example of RFC 9051 6.4.5.1, with the type of each part as its body.
    let raw = "Subject: root\nContent-Type: multipart/mixed; boundary=a\n\n\
        --a\nContent-Type: text/plain\n\n1\n\
        --a\nContent-Type: application/octet-stream\n\n2\n\
        --a\nContent-Type: message/rfc822\nX-Mime: 3\n\n\
        Subject: three\nContent-Type: multipart/mixed; boundary=b\n\n\
        --b\n\n3.1\n--b\nContent-Type: application/octet-stream\n\n3.2\n--b--\n\
        --a\nContent-Type: multipart/mixed; boundary=c\n\n\
        --c\nContent-Type: image/gif\n\n4.1\n\
        --c\nContent-Type: message/rfc822\n\n\
        Subject: four\nTo: x@example.org\nContent-Type: multipart/mixed; boundary=d\n\n\
        --d\n\n4.2.1\n\
        --d\nContent-Type: multipart/alternative; boundary=e\n\n\
        --e\n\n4.2.2.1\n--e\nContent-Type: text/richtext\n\n4.2.2.2\n--e--\n--d--\n--c--\n--a--\n";
    let tree = Tree::parse(raw.as_bytes());
    let get = |name: &str| {
        let section = Section::parse(name.as_bytes()).unwrap_or_else(|e| panic!("{name}: {e}"));
        section
            .bytes(raw.as_bytes(), &tree)
            .map(|bytes| String::from_utf8(bytes.into_owned()).unwrap())
    };
    for leaf in ["1", "2", "3.1", "3.2", "4.1", "4.2.1", "4.2.2.1", "4.2.2.2"] {
        assert_eq!(get(leaf).as_deref(), Some(leaf));
    }
    assert_eq!(get("").as_deref(), Some(raw));
    assert_eq!(get("HEADER").as_deref(), raw.find("--a").and_then(|end| raw.get(..end)));
    assert_eq!(get("text").as_deref(), raw.find("--a").and_then(|start| raw.get(start..)));
    assert_eq!(get("3.MIME").as_deref(), Some("Content-Type: message/rfc822\nX-Mime: 3\n\n"));
    assert_eq!(get("3.HEADER.FIELDS (SUBJECT)").as_deref(), Some("Subject: three\n\n"));
    assert_eq!(
        get("4.2.header.fields.not (Content-Type Subject)").as_deref(),
        Some("To: x@example.org\n\n")
    );
    assert_eq!(
        get("3.TEXT").as_deref(),
        Some("--b\n\n3.1\n--b\nContent-Type: application/octet-stream\n\n3.2\n--b--")
    );
    assert_eq!(
        get("4.2.2.MIME").as_deref(),
        Some("Content-Type: multipart/alternative; boundary=e\n\n")
    );
    assert_eq!(get("4.2.2.1.MIME").as_deref(), Some("\n"));
    for missing in
        ["5", "1.1", "1.2", "3.3", "4.2.3", "1.HEADER", "2.TEXT", "4.HEADER", "4.2.2.HEADER"]
    {
        assert_eq!(get(missing), None, "{missing}");
    }
}

#[test]
fn a_message_that_is_no_multipart_has_part_one() {
    let raw = b"Subject: x\n\nhello";
    let tree = Tree::parse(raw);
    let get = |name: &str| {
        Section::parse(name.as_bytes()).unwrap().bytes(raw, &tree).map(std::borrow::Cow::into_owned)
    };
    assert_eq!(get("1"), Some(b"hello".to_vec()));
    assert_eq!(get("1.MIME"), Some(b"Subject: x\n\n".to_vec()));
    assert_eq!((get("2"), get("1.1"), get("1.TEXT")), (None, None, None));
}

#[test]
fn sections_that_are_none() {
    for (text, error) in [
        ("0", SectionError::Number),
        ("01", SectionError::Number),
        ("4294967296", SectionError::Number),
        ("1x", SectionError::Number),
        ("1.", SectionError::Word),
        (".1", SectionError::Word),
        ("MIME", SectionError::Word),
        ("HEADERS", SectionError::Word),
        ("TEXT x", SectionError::Word),
        ("HEADER.FIELDS", SectionError::Names),
        ("HEADER.FIELDS ()", SectionError::Names),
        ("HEADER.FIELDS (a  b)", SectionError::Names),
        ("1.HEADER.FIELDS.NOT a", SectionError::Names),
    ] {
        assert_eq!(Section::parse(text.as_bytes()), Err(error), "{text}");
    }
    let deep = vec!["1"; DEPTH_MAX + 2].join(".");
    assert_eq!(Section::parse(deep.as_bytes()), Err(SectionError::TooDeep));
    let max = Section::parse(b"4294967295.MIME");
    assert_eq!(max, Ok(Section { path: vec![u32::MAX], what: What::Mime }));
}

#[test]
fn depth_and_number_of_parts_are_limited() {
    let mut deep = String::new();
    for level in 0..DEPTH_MAX * 3 {
        deep.push_str(&format!(
            "Content-Type: multipart/mixed; boundary=b{level}x\n\n--b{level}x\n"
        ));
    }
    deep.push_str("\ninnermost\n");
    let tree = Tree::parse(deep.as_bytes());
    assert!(tree.is_cut());
    let last = tree.parts().last().expect("parts");
    assert_eq!(last.depth, DEPTH_MAX);
    assert!(last.media.is(b"application", b"octet-stream"));
    assert!(deep[last.body.clone()].ends_with("innermost\n"));
    common::assert_sound(deep.as_bytes(), "deep");

    let nested = "Content-Type: message/rfc822\n\n".repeat(DEPTH_MAX * 3);
    assert!(Tree::parse(nested.as_bytes()).is_cut());
    common::assert_sound(nested.as_bytes(), "messages in messages");

    let wide = format!(
        "Content-Type: multipart/mixed; boundary=b\n\n{}--b--\n",
        "--b\n\nx\n".repeat(PARTS_MAX * 2)
    );
    let tree = Tree::parse(wide.as_bytes());
    assert!(tree.is_cut());
    assert_eq!(tree.parts().len(), PARTS_MAX);
    assert_eq!(tree.root().body.end, wide.len());
    common::assert_sound(wide.as_bytes(), "wide");
}
