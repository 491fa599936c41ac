//! Whether what the machine said is IMAP: lines that end with CRLF, literals as long as they say,
//! balanced brackets.
//!
//! Not here: what it means.

/// Goes through everything that was said.
///
/// # Panics
/// When it is not IMAP.
pub(crate) fn are_sound(mut said: &[u8]) {
    let whole = said;
    while !said.is_empty() {
        said = response(said).unwrap_or_else(|why| {
            panic!("{why} in {}", whole.escape_ascii());
        });
    }
}

/// Takes one response off the front.
fn response(said: &[u8]) -> Result<&[u8], &'static str> {
    let mut rest = said;
    let mut depth = 0i32;
    // Free text has brackets and quotes as it likes.
    let is_data = said.starts_with(b"* ") && !is_status(said);
    loop {
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or("a line without an end")?;
        let line = rest.get(..end + 1).unwrap_or_default();
        rest = rest.get(end + 1..).unwrap_or_default();
        let text = line.strip_suffix(b"\r\n").ok_or("a bare LF")?;
        if text.iter().any(|byte| matches!(byte, 0 | b'\r')) {
            return Err("NUL or CR in a line");
        }
        if is_data {
            depth += balance(text)?;
        }
        let Some(length) = literal(text) else { break };
        rest = rest.get(length..).ok_or("a literal that ends early")?;
    }
    if depth != 0 {
        return Err("brackets that do not close");
    }
    Ok(rest)
}

fn is_status(said: &[u8]) -> bool {
    let words: [&[u8]; 4] = [b"* OK", b"* NO", b"* BAD", b"* BYE"];
    words.iter().any(|word| said.starts_with(word))
}

fn literal(text: &[u8]) -> Option<usize> {
    let start = text.iter().rposition(|byte| *byte == b'{')? + 1;
    let digits = text.get(start..)?.strip_suffix(b"}")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// How many brackets a piece of a line opens.
fn balance(text: &[u8]) -> Result<i32, &'static str> {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for byte in text {
        match (quoted, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => quoted = !quoted,
            (false, b'(') => depth += 1,
            (false, b')') => depth -= 1,
            _ => {}
        }
    }
    if quoted { Err("a quote that does not close") } else { Ok(depth) }
}
