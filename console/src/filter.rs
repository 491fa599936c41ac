//! What a typed text lets through.
//!
//! ```text
//! otto 550        both words, anywhere, in any case
//! -imap           without this word
//! trace:4f2a      only this connection
//! ```
//! Invariants: an empty filter lets everything through; no text is an error. Not here: typing it.

use grace_ipc::event::TraceId;

/// A text made ready to be compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    with: Vec<String>,
    without: Vec<String>,
    trace: Option<TraceId>,
}

impl Filter {
    pub(crate) fn parse(text: &str) -> Self {
        let mut filter = Self::default();
        for word in text.to_lowercase().split_whitespace() {
            if let Some(hex) = word.strip_prefix("trace:")
                && let Ok(trace) = u64::from_str_radix(hex, 16)
            {
                filter.trace = Some(TraceId(trace));
            } else if let Some(rest) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) {
                filter.without.push(rest.to_owned());
            } else {
                filter.with.push(word.to_owned());
            }
        }
        filter
    }

    /// The text that shows one connection only.
    pub(crate) fn trace(trace: TraceId) -> String {
        format!("trace:{:x}", trace.0)
    }

    /// Whether something with this text, in lower case, passes.
    pub(crate) fn passes(&self, text: &str, trace: TraceId) -> bool {
        self.trace.is_none_or(|wanted| wanted == trace)
            && self.with.iter().all(|word| text.contains(word))
            && !self.without.iter().any(|word| text.contains(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(filter: &str, text: &str, passes: bool) {
        assert_eq!(Filter::parse(filter).passes(text, TraceId(0x4f)), passes, "{filter:?}");
    }

    #[test]
    fn filters() {
        check("", "anything", true);
        check("  ", "anything", true);
        check("OTTO", "login otto imap", true);
        check("otto imap", "login otto imap", true);
        check("otto smtp", "login otto imap", false);
        check("-imap", "login otto imap", false);
        check("otto -smtp", "login otto imap", true);
        check("-", "a - b", true);
        check("größe", "die größe", true);
        check("trace:4f", "anything", true);
        check("trace:50", "anything", false);
        check("trace:xyz", "anything", false);
        assert!(Filter::parse(&Filter::trace(TraceId(0xabc))).passes("", TraceId(0xabc)));
    }
}
