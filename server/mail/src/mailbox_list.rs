//! Lists of addresses in header fields: `Ann <ann@example.org>, Team: bob@example.org;`.
//!
//! Reads RFC 5322 3.4 and the obsolete forms of 4.4 (routes, white space around dots), and makes
//! the best of the rest. Values are the bytes that were written, unquoted, without comments, not
//! decoded (RFC 2047).
//! Invariants: every [`Address::GroupStart`] has its [`Address::GroupEnd`], groups do not nest.
//! Not here: addresses one may send to; those are checked and typed in the envelope of SMTP.

use crate::header;

/// Most addresses read from one list. RFC 5321 4.5.3.1.8 asks servers to take 100 recipients; lists
/// in headers reach a few thousand.
pub const ADDRESSES_MAX: usize = 10_000;

/// One entry of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Somebody.
    Mailbox {
        /// The display name or, as older mail has it, the comment behind the address.
        name: Option<Vec<u8>>,
        /// The source route of an obsolete address, `@a,@b`.
        route: Option<Vec<u8>>,
        /// What stands before the `@`.
        local: Vec<u8>,
        /// What stands behind it; empty if there was no `@`.
        host: Vec<u8>,
    },
    /// All up to the next [`Address::GroupEnd`] are members of this group.
    GroupStart {
        /// The group's name.
        name: Vec<u8>,
    },
    /// The group ends.
    GroupEnd,
}

/// Reads an unfolded list.
#[must_use]
pub fn parse(value: &[u8]) -> Vec<Address> {
    let mut parser = Parser::default();
    let mut lexer = Lexer { bytes: value, at: 0 };
    while parser.out.len() < ADDRESSES_MAX
        && let Some(token) = lexer.next_token()
    {
        parser.take(token);
    }
    parser.entry_ends();
    parser.group_ends();
    parser.out
}

#[derive(Debug)]
enum Kind {
    /// Atoms, quoted strings, domain literals.
    Word,
    Comment,
    Special(u8),
}

#[derive(Debug)]
struct Token {
    kind: Kind,
    text: Vec<u8>,
    /// White space or a comment stands before it.
    spaced: bool,
}

#[derive(Default)]
struct Parser {
    out: Vec<Address>,
    in_group: bool,
    /// Words, `@` and stray specials since the last separator; inside `<…>`: since the `<`.
    words: Vec<Token>,
    /// There is an `@` among them. (Asking the words anew at each colon would be quadratic.)
    has_at: bool,
    comment: Option<Vec<u8>>,
    /// Set from `<` on: the name before it.
    name: Option<Vec<u8>>,
    in_angle: bool,
    route: Option<Vec<u8>>,
    /// The address has been closed by `>`.
    angled: Option<(Vec<u8>, Vec<u8>)>,
}

impl Parser {
    fn take(&mut self, token: Token) {
        match token.kind {
            Kind::Comment => self.comment = Some(token.text),
            Kind::Special(b',') if self.in_angle && self.starts_with_at() => self.words.push(token),
            Kind::Special(b',') => self.entry_ends(),
            Kind::Special(b';') => {
                self.entry_ends();
                self.group_ends();
            }
            Kind::Special(b':') if self.in_angle && self.starts_with_at() => {
                self.route = Some(joined(&self.words, false));
                self.words.clear();
            }
            Kind::Special(b':') if !self.in_angle && !self.in_group && !self.has_at => {
                let name = joined(&self.words, true);
                self.words.clear();
                self.comment = None;
                self.out.push(Address::GroupStart { name });
                self.in_group = true;
            }
            Kind::Special(b'<') if !self.in_angle && self.angled.is_none() => {
                self.name = Some(joined(&self.words, true)).filter(|name| !name.is_empty());
                self.forget_words();
                self.in_angle = true;
            }
            Kind::Special(b'>') if self.in_angle => self.angle_ends(),
            // A second `<`, a `>` alone: nothing a reader would miss.
            Kind::Special(b'<' | b'>') => {}
            // After `<…>` only a comment can still say something.
            Kind::Word | Kind::Special(_) if self.angled.is_some() => {}
            Kind::Word | Kind::Special(_) => {
                self.has_at |= is_at(&token);
                self.words.push(token);
            }
        }
    }

    fn forget_words(&mut self) {
        self.words.clear();
        self.has_at = false;
    }

    fn starts_with_at(&self) -> bool {
        self.words.first().is_some_and(is_at)
    }

    fn angle_ends(&mut self) {
        let at = self.words.iter().rposition(is_at).unwrap_or(self.words.len());
        let (local, host) = self.words.split_at_checked(at).unwrap_or((&self.words, &[]));
        let host = host.get(1..).unwrap_or(&[]);
        self.angled = Some((joined(local, false), joined(host, false)));
        self.forget_words();
        self.in_angle = false;
    }

    fn entry_ends(&mut self) {
        if self.in_angle {
            self.angle_ends();
        }
        let comment = self.comment.take();
        let (name, route) = (self.name.take(), self.route.take());
        if let Some((local, host)) = self.angled.take() {
            self.out.push(Address::Mailbox { name: name.or(comment), route, local, host });
        } else if !self.words.is_empty() {
            let (name, local, host) = bare_address(&self.words);
            self.forget_words();
            self.out.push(Address::Mailbox { name: name.or(comment), route, local, host });
        }
    }

    fn group_ends(&mut self) {
        if std::mem::take(&mut self.in_group) {
            self.out.push(Address::GroupEnd);
        }
    }
}

fn is_at(token: &Token) -> bool {
    matches!(token.kind, Kind::Special(b'@'))
}

/// An address without `<…>`: the words around the last `@`. Words further off are the name somebody
/// forgot to set apart (`Ann Example ann@example.org`).
fn bare_address(words: &[Token]) -> (Option<Vec<u8>>, Vec<u8>, Vec<u8>) {
    let Some(at) = words.iter().rposition(is_at) else {
        return (None, joined(words, true), Vec::new());
    };
    let (before, after) = words.split_at_checked(at).unwrap_or((words, &[]));
    // RFC 5322 4.4: white space may stand on both sides of a dot.
    let starts = |token: &Token, next: &Token| {
        next.spaced && !token.text.ends_with(b".") && !next.text.starts_with(b".")
    };
    let gap = before.windows(2).rposition(|pair| matches!(pair, [a, b] if starts(a, b)));
    let (name, local) =
        before.split_at_checked(gap.map_or(0, |gap| gap + 1)).unwrap_or((&[], before));
    let host = after.get(1..).unwrap_or(&[]);
    let gap = host.windows(2).position(|pair| matches!(pair, [a, b] if starts(a, b)));
    let host = host.get(..gap.map_or(host.len(), |gap| gap + 1)).unwrap_or(host);
    let name = Some(joined(name, true)).filter(|name| !name.is_empty());
    (name, joined(local, false), joined(host, false))
}

/// Puts words together; white space between them becomes one space, in an address none beside a
/// dot.
fn joined(words: &[Token], is_phrase: bool) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new();
    for word in words {
        let at_dot = out.ends_with(b".") || word.text.starts_with(b".");
        let glued = !is_phrase && (at_dot || is_at(word) || out.ends_with(b"@"));
        if word.spaced && !out.is_empty() && !glued {
            out.push(b' ');
        }
        out.extend_from_slice(&word.text);
    }
    out
}

struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Lexer<'_> {
    fn next_token(&mut self) -> Option<Token> {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        let after_comment = start > 0 && self.bytes.get(start - 1) == Some(&b')');
        let spaced = self.at > start || after_comment;
        let first = *self.bytes.get(self.at)?;
        let (kind, text) = match first {
            b'"' => (Kind::Word, header::quoted_string(self.bytes, &mut self.at)),
            b'(' => (Kind::Comment, self.comment()),
            b'[' => (Kind::Word, self.run(|byte| byte != b']', true)),
            b'<' | b'>' | b',' | b';' | b':' | b'@' | b')' | b']' | b'\\' => {
                self.at += 1;
                (Kind::Special(first), vec![first])
            }
            _ => (Kind::Word, self.run(is_atom_byte, false)),
        };
        Some(Token { kind, text, spaced })
    }

    /// The bytes while `goes_on`, and with `and_next` the one after them.
    fn run(&mut self, goes_on: impl Fn(u8) -> bool, and_next: bool) -> Vec<u8> {
        let rest = self.bytes.get(self.at..).unwrap_or(&[]);
        let len = rest.iter().position(|&byte| !goes_on(byte)).unwrap_or(rest.len());
        let len = (len + usize::from(and_next)).min(rest.len());
        self.at += len;
        rest.get(..len).unwrap_or(&[]).to_vec()
    }

    /// RFC 5322 3.2.2; comments nest, and one that never ends goes to the end.
    fn comment(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        let mut depth = 0_usize;
        while let Some(&byte) = self.bytes.get(self.at) {
            self.at += 1;
            match byte {
                b'(' if depth == 0 => depth = 1,
                b'(' => depth += 1,
                b')' if depth == 1 => break,
                b')' => depth -= 1,
                _ => {}
            }
            if byte == b'\\' {
                text.extend(self.bytes.get(self.at));
                self.at += 1;
            } else if !(byte == b'(' && depth == 1 && text.is_empty()) {
                text.push(byte);
            }
        }
        text.trim_ascii().to_vec()
    }
}

/// Atoms of RFC 5322 3.2.3, dots (obs-phrase, 4.1) and 8-bit.
fn is_atom_byte(byte: u8) -> bool {
    !byte.is_ascii_whitespace() && !b"\"()<>,;:@[]\\".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Renders a list as `name|route|local@host`, `{group` and `}`.
    fn check(value: &str, expected: &str) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let shown: Vec<String> = parse(value.as_bytes())
            .iter()
            .map(|address| match address {
                Address::Mailbox { name, route, local, host } => {
                    let name = name.as_ref().map(|n| text(n) + "|").unwrap_or_default();
                    let route = route.as_ref().map(|r| text(r) + "|").unwrap_or_default();
                    format!("{name}{route}{}@{}", text(local), text(host))
                }
                Address::GroupStart { name } => format!("{{{}", text(name)),
                Address::GroupEnd => "}".to_owned(),
            })
            .collect();
        assert_eq!(shown.join(" ; "), expected, "{value:?}");
    }

    #[test]
    fn plain_lists() {
        check("", "");
        check("ann@example.org", "ann@example.org");
        check("<ann@example.org>", "ann@example.org");
        check(
            "Ann Example <ann@example.org>, bob@example.org",
            "Ann Example|ann@example.org ; bob@example.org",
        );
        check("\"Example, Ann\" <ann@example.org>", "Example, Ann|ann@example.org");
        check("\"Ann \\\"A\\\" Example\" <a@example.org>", "Ann \"A\" Example|a@example.org");
        check("Ann X. Example <a@example.org>", "Ann X. Example|a@example.org");
        check("=?utf-8?Q?=C3=84nn?= <a@example.org>", "=?utf-8?Q?=C3=84nn?=|a@example.org");
        check("\"a b\"@example.org", "a b@example.org");
        check("a@[192.0.2.1]", "a@[192.0.2.1]");
    }

    #[test]
    fn comments_name_the_nameless() {
        check("ann@example.org (Ann Example)", "Ann Example|ann@example.org");
        check("Ann (work) <ann@example.org>", "Ann|ann@example.org");
        check("<ann@example.org> (Ann)", "Ann|ann@example.org");
        check("ann@example.org ((nested) deep)", "(nested) deep|ann@example.org");
        check("ann(c)@(c)example.org", "c|ann@example.org");
    }

    #[test]
    fn groups() {
        check(
            "Team: ann@example.org, Bob <bob@example.org>;",
            "{Team ; ann@example.org ; Bob|bob@example.org ; }",
        );
        check("undisclosed-recipients:;", "{undisclosed-recipients ; }");
        check("A: x@example.org; , y@example.org", "{A ; x@example.org ; } ; y@example.org");
        check("A: x@example.org", "{A ; x@example.org ; }");
        check("\"A B\": ;", "{A B ; }");
        check("A: B: x@example.org;", "{A ; B:|x@example.org ; }");
    }

    #[test]
    fn obsolete_forms() {
        check("<@a.example,@b.example:joe@example.org>", "@a.example,@b.example|joe@example.org");
        check("joe . doe @ example . org", "joe.doe@example.org");
        check(",, ann@example.org ,,", "ann@example.org");
    }

    #[test]
    fn sloppy_lists() {
        check("root", "root@");
        check("Ann Example", "Ann Example@");
        check("Ann Example ann@example.org", "Ann Example|ann@example.org");
        check("ann@example.org <ann@example.org>", "ann@example.org|ann@example.org");
        check("Ann <ann@example.org", "Ann|ann@example.org");
        check("ann@example.org>", "ann@example.org");
        check("Ann <>", "Ann|@");
        check("<<ann@example.org>>", "ann@example.org");
        check("a@example.org; b@example.org", "a@example.org ; b@example.org");
        check("Ann <ann@example.org> junk, b@example.org", "Ann|ann@example.org ; b@example.org");
        check("\"never ends <a@example.org>", "never ends <a@example.org>@");
        check("(never ends", "");
        check("a@b@example.org", "a@b@example.org");
        check("J\u{f6}rg <j@example.org>", "J\u{f6}rg|j@example.org");
    }

    #[test]
    fn a_long_list_is_cut_and_its_group_closed() {
        let list = parse(format!("G:{}", "a@b,".repeat(ADDRESSES_MAX * 2)).as_bytes());
        assert!(list.len() <= ADDRESSES_MAX + 2);
        assert_eq!(list.last(), Some(&Address::GroupEnd));
    }
}
