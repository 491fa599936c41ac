//! The words of IMAP's grammar (RFC 9051 9): atoms, strings, numbers, lists, read from one complete
//! command whose literals stand in place (`{3}\r\nabc`).
//!
//! Invariants: never reads past its input; every method either succeeds and moves on or fails with
//! a text that says what was expected and where.
//! Not here: what the words mean (`grammar`), where a command ends (`framer`).

use std::fmt;

use crate::response::Code;

/// Why a command was refused before it was run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The client broke the grammar: `BAD`.
    Bad(String),
    /// The same, with a code.
    BadWith(Code, String),
    /// Well said, but it cannot be done: `NO`.
    No(Option<Code>, String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Bad(text) | Self::BadWith(_, text) | Self::No(_, text)) = self;
        f.write_str(text)
    }
}

/// What parsing gives.
pub type Parsed<T> = Result<T, Refusal>;

/// A place in a command.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    input: &'a [u8],
    at: usize,
}

/// atom-specials of RFC 9051 9, `]` apart: it is legal in an astring.
fn is_atom_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"(){%*\"\\]".contains(&byte)
}

fn is_astring_byte(byte: u8) -> bool {
    is_atom_byte(byte) || byte == b']'
}

fn is_list_byte(byte: u8) -> bool {
    is_astring_byte(byte) || byte == b'%' || byte == b'*'
}

impl<'a> Cursor<'a> {
    /// The start of a command.
    pub fn new(input: &'a [u8]) -> Self {
        Self { input, at: 0 }
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.input.get(self.at..).unwrap_or_default()
    }

    /// The next byte.
    pub fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    /// Takes the next byte if it is this one.
    pub fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Takes a text, in any case, if it comes next.
    pub fn eat_text(&mut self, text: &str) -> bool {
        let next = self.rest().get(..text.len());
        let found = next.is_some_and(|next| next.eq_ignore_ascii_case(text.as_bytes()));
        self.at += if found { text.len() } else { 0 };
        found
    }

    /// A failure here.
    pub fn fail<T>(&self, expected: &str) -> Parsed<T> {
        let column = self.at + 1;
        Err(Refusal::Bad(match self.peek() {
            None => format!("expected {expected}, but the command ends"),
            Some(byte) if byte.is_ascii_graphic() => {
                format!("expected {expected}, found '{}' in column {column}", char::from(byte))
            }
            Some(b' ') => format!("expected {expected}, found a space in column {column}"),
            Some(byte) => {
                format!("expected {expected}, found byte 0x{byte:02x} in column {column}")
            }
        }))
    }

    /// This byte must come next.
    pub fn expect(&mut self, byte: u8, name: &str) -> Parsed<()> {
        if self.eat(byte) { Ok(()) } else { self.fail(name) }
    }

    /// A space.
    pub fn space(&mut self) -> Parsed<()> {
        self.expect(b' ', "a space")
    }

    /// The end of the command. Spaces before it are forgiven: several clients send one.
    pub fn end(&mut self) -> Parsed<()> {
        while self.eat(b' ') {}
        if self.peek().is_none() { Ok(()) } else { self.fail("the end of the command") }
    }

    fn run(&mut self, fits: fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let length = rest.iter().position(|byte| !fits(*byte)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    fn ascii(&mut self, fits: fn(u8) -> bool, expected: &str) -> Parsed<&'a str> {
        match std::str::from_utf8(self.run(fits)) {
            Ok(text) if !text.is_empty() => Ok(text),
            _ => self.fail(expected),
        }
    }

    /// `tag`: an astring's bytes without `+`.
    pub fn tag(&mut self) -> Parsed<&'a str> {
        self.ascii(|byte| is_astring_byte(byte) && byte != b'+', "a tag")
    }

    /// An atom in upper case, for command names, items and keys.
    pub fn word(&mut self, expected: &str) -> Parsed<String> {
        self.ascii(is_atom_byte, expected).map(str::to_ascii_uppercase)
    }

    /// An atom as written.
    pub fn atom(&mut self, expected: &str) -> Parsed<&'a str> {
        self.ascii(is_atom_byte, expected)
    }

    /// A word of letters, digits, `.`, `-` and `=` alone, in upper case: a FETCH item's name ends
    /// at `[`, which an atom may hold.
    pub fn item_name(&mut self, expected: &str) -> Parsed<String> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-=".contains(&byte);
        self.ascii(fits, expected).map(str::to_ascii_uppercase)
    }

    /// A decimal number up to `u64`.
    pub fn number64(&mut self, expected: &str) -> Parsed<u64> {
        let start = self.clone();
        let digits = self.ascii(|byte| byte.is_ascii_digit(), expected)?;
        match digits.parse() {
            Ok(number) => Ok(number),
            Err(_) => start.fail(&format!("{expected} below 2^64")),
        }
    }

    /// A decimal number up to `u32`.
    pub fn number(&mut self, expected: &str) -> Parsed<u32> {
        let start = self.clone();
        let number = self.number64(expected)?;
        u32::try_from(number).or_else(|_| start.fail(&format!("{expected} below 2^32")))
    }

    /// A decimal number from 1 on.
    pub fn positive(&mut self, expected: &str) -> Parsed<u32> {
        let start = self.clone();
        match self.number(expected)? {
            0 => start.fail(&format!("{expected} from 1 on")),
            number => Ok(number),
        }
    }

    /// `string`: quoted or literal.
    pub fn string(&mut self) -> Parsed<Vec<u8>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{' | b'~') => self.literal(),
            _ => self.fail("a string"),
        }
    }

    /// `astring`: a string, or an atom that may hold `]`.
    pub fn astring(&mut self, expected: &str) -> Parsed<Vec<u8>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal(),
            _ => self.ascii(is_astring_byte, expected).map(|text| text.as_bytes().to_vec()),
        }
    }

    /// `list-mailbox`: a string, or bytes that may hold wildcards.
    pub fn list_mailbox(&mut self) -> Parsed<Vec<u8>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal(),
            _ => self.ascii(is_list_byte, "a mailbox pattern").map(|text| text.as_bytes().to_vec()),
        }
    }

    /// `nstring`: a string or NIL.
    pub fn nstring(&mut self) -> Parsed<Option<Vec<u8>>> {
        if self.eat_text("NIL") { Ok(None) } else { self.string().map(Some) }
    }

    /// A string or astring that must be text.
    pub fn text(&mut self, expected: &str) -> Parsed<String> {
        let start = self.clone();
        let bytes = self.astring(expected)?;
        String::from_utf8(bytes).or_else(|_| start.fail(&format!("{expected} in UTF-8")))
    }

    fn quoted(&mut self) -> Parsed<Vec<u8>> {
        let start = self.clone();
        self.expect(b'"', "a quoted string")?;
        let mut text = Vec::new();
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                // RFC 6855 3: what is no UTF-8 is BAD, wherever it stands.
                b'"' if std::str::from_utf8(&text).is_err() => break,
                b'"' => return Ok(text),
                // RFC 9051 9: only quoted-specials are escaped.
                b'\\' => match self.peek() {
                    Some(special @ (b'"' | b'\\')) => {
                        text.push(special);
                        self.at += 1;
                    }
                    _ => return self.fail("\" or \\ after a backslash in a quoted string"),
                },
                0 | b'\r' | b'\n' => break,
                byte => text.push(byte),
            }
        }
        start.fail("a quoted string in UTF-8 that is closed on its line")
    }

    /// A literal whose bytes stand in place.
    fn literal(&mut self) -> Parsed<Vec<u8>> {
        let start = self.clone();
        self.eat(b'~');
        self.expect(b'{', "a literal")?;
        let size = self.number("a literal's size")?;
        self.eat(b'+');
        self.expect(b'}', "'}' after a literal's size")?;
        self.eat(b'\r');
        self.expect(b'\n', "the end of the line after a literal's size")?;
        let bytes = usize::try_from(size).ok().and_then(|size| self.rest().get(..size));
        let Some(bytes) = bytes else {
            return start.fail("a literal as long as it says");
        };
        self.at += bytes.len();
        Ok(bytes.to_vec())
    }

    /// `( item SP item … )`, with at least `least` items.
    pub fn list<T>(
        &mut self,
        least: usize,
        mut item: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        self.expect(b'(', "'('")?;
        let mut items = Vec::new();
        if least == 0 && self.eat(b')') {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if self.eat(b')') {
                return Ok(items);
            }
            if !self.eat(b' ') {
                return self.fail("a space or ')'");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_in_every_spelling() {
        let check = |input: &str, expected: Result<&str, &str>| {
            let mut cursor = Cursor::new(input.as_bytes());
            let read = cursor.astring("a word").map_err(|refusal| refusal.to_string());
            let read = read.map(|bytes| String::from_utf8(bytes).expect("text"));
            assert_eq!(read.as_deref().map_err(String::as_str), expected, "{input}");
        };
        check("abc]d rest", Ok("abc]d"));
        check("\"a b\\\"\\\\\" rest", Ok("a b\"\\"));
        check("{3}\r\na b rest", Ok("a b"));
        check("{3+}\r\n\"\r\n", Ok("\"\r\n"));
        check("{0}\r\n", Ok(""));
        check("\"\"", Ok(""));
        check("", Err("expected a word, but the command ends"));
        check("(", Err("expected a word, found '(' in column 1"));
        check(
            "\"open",
            Err(
                "expected a quoted string in UTF-8 that is closed on its line, found '\"' in column 1",
            ),
        );
        let latin1 = Cursor::new(b"\"gr\xfc\xdfe\"").astring("a word");
        assert!(latin1.is_err(), "{latin1:?}");
        check("{4}\r\nab", Err("expected a literal as long as it says, found '{' in column 1"));
    }

    #[test]
    fn numbers_are_bounded() {
        let number = |input: &str| Cursor::new(input.as_bytes()).number("a number").ok();
        assert_eq!(number("4294967295"), Some(u32::MAX));
        assert_eq!(number("4294967296"), None);
        assert_eq!(number("99999999999999999999999"), None);
        assert!(Cursor::new(b"0").positive("a number").is_err());
    }
}
