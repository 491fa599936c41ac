//! Lists of tags, `a=…; b=…`, as signatures are written (RFC 6376 3.2): what the library reads more
//! kindly than the RFC allows.
//!
//! Not here: what a tag means, but for those that say how to read the rest.

/// A list of tags, in its order.
pub(crate) struct Tags<'x>(Vec<(&'x [u8], &'x [u8])>);

impl<'x> Tags<'x> {
    /// Reads a list; or why it is none.
    pub(crate) fn parse(value: &'x [u8]) -> Result<Self, &'static str> {
        let mut tags = Vec::new();
        let value = value.trim_ascii();
        let value = value.strip_suffix(b";").unwrap_or(value);
        for tag in value.split(|&byte| byte == b';') {
            let Some(equals) = tag.iter().position(|&byte| byte == b'=') else {
                return Err("a tag has no value");
            };
            let (name, value) = tag.split_at_checked(equals).unwrap_or_default();
            let name = name.trim_ascii();
            let letter = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
            if !name.first().is_some_and(u8::is_ascii_alphabetic) || !name.iter().all(letter) {
                return Err("a tag has no name");
            }
            if tags.iter().any(|(known, _)| *known == name) {
                return Err("a tag stands there twice");
            }
            tags.push((name, value.get(1..).unwrap_or_default().trim_ascii()));
        }
        Ok(Self(tags))
    }

    /// The value of a tag. Names are spelled as they are, capitals are others.
    pub(crate) fn get(&self, name: &str) -> Option<&'x [u8]> {
        self.0.iter().find(|(known, _)| *known == name.as_bytes()).map(|(_, value)| *value)
    }

    /// Whether all of these are there.
    pub(crate) fn has(&self, names: &[&str]) -> bool {
        names.iter().all(|name| self.get(name).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_they_are_meant() {
        let tags = Tags::parse(b" v=1; a = rsa-sha256 ;\r\n\tb=AA\r\n\tBB==;\r\n").ok();
        let tags = tags.expect("a list");
        assert!(tags.has(&["v", "a", "b"]) && !tags.has(&["v", "V"]));
        assert_eq!(tags.get("a"), Some(&b"rsa-sha256"[..]));
        assert_eq!(tags.get("b"), Some(&b"AA\r\n\tBB=="[..]));
        for wrong in ["", ";", "a", "a=1;;b=2", "=1", "_a=1", "a b=1", "a=1; a=2", "1a=2"] {
            assert!(Tags::parse(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
    }
}
