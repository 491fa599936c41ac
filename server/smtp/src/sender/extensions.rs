//! What a peer offers in its reply to EHLO (RFC 5321 4.1.1.1).
//!
//! Invariants: what is not well-formed is not offered; keywords are read whatever their case.
//! Not here: what is done with it (`opening`, `transaction`).

/// What a peer offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extensions {
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// SIZE (RFC 1870).
    pub size: bool,
    /// The largest message it takes, in bytes, if it said so (RFC 1870 3).
    pub size_bytes_max: Option<u64>,
    /// 8BITMIME (RFC 6152).
    pub eight_bit: bool,
    /// SMTPUTF8 (RFC 6531).
    pub utf8: bool,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
    /// BINARYMIME (RFC 3030). Only ever with CHUNKING.
    pub binary: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// REQUIRETLS (RFC 8689).
    pub require_tls: bool,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    pub enhanced_codes: bool,
    /// DELIVERBY (RFC 2852).
    pub deliver_by: bool,
    /// The shortest time it takes with by-mode R, in seconds, if it said so (RFC 2852 3).
    pub deliver_by_min_s: Option<u32>,
    /// MT-PRIORITY (RFC 6710). Known, not used.
    pub priority: bool,
    /// FUTURERELEASE (RFC 4865). Known, not used.
    pub future_release: bool,
    /// AUTH PLAIN (RFC 4954, RFC 4616).
    pub auth_plain: bool,
    /// AUTH LOGIN.
    pub auth_login: bool,
    /// LIMITS (RFC 9422).
    pub limits: Limits,
}

/// What a peer says it takes at most (RFC 9422 4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// MAILMAX: transactions of one session.
    pub transactions_max: Option<u32>,
    /// RCPTMAX: recipients of one transaction.
    pub recipients_max: Option<u32>,
    /// RCPTDOMAINMAX: domains among all recipients of one session.
    pub domains_max: Option<u32>,
}

impl Extensions {
    /// Reads the lines of the reply, without codes; the first has the peer's name.
    pub(super) fn parse(lines: &[String]) -> Self {
        let mut extensions = Self::default();
        for line in lines.iter().skip(1) {
            extensions.add(line);
        }
        extensions.binary &= extensions.chunking;
        extensions
    }

    fn add(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let Some(keyword) = words.next() else { return };
        let keyword = keyword.to_ascii_uppercase();
        match keyword.as_str() {
            "PIPELINING" => self.pipelining = true,
            "SIZE" => {
                self.size = true;
                // RFC 1870 3: 0 is no fixed maximum.
                let bytes_max = words.next().and_then(|word| word.parse().ok());
                self.size_bytes_max = bytes_max.filter(|bytes| *bytes > 0);
            }
            "8BITMIME" => self.eight_bit = true,
            "SMTPUTF8" => self.utf8 = true,
            "STARTTLS" => self.starttls = true,
            "CHUNKING" => self.chunking = true,
            "BINARYMIME" => self.binary = true,
            "DSN" => self.dsn = true,
            "REQUIRETLS" => self.require_tls = true,
            "ENHANCEDSTATUSCODES" => self.enhanced_codes = true,
            "DELIVERBY" => {
                self.deliver_by = true;
                self.deliver_by_min_s = words.next().and_then(|word| word.parse().ok());
            }
            "MT-PRIORITY" => self.priority = true,
            "FUTURERELEASE" => self.future_release = true,
            "LIMITS" => words.for_each(|word| self.limits.add(word)),
            "AUTH" => words.for_each(|word| self.add_mechanism(word)),
            // How servers wrote it before RFC 2554, and some still do.
            _ => {
                if let Some(first) = keyword.strip_prefix("AUTH=") {
                    self.add_mechanism(first);
                    words.for_each(|word| self.add_mechanism(word));
                }
            }
        }
    }

    fn add_mechanism(&mut self, word: &str) {
        match word.to_ascii_uppercase().as_str() {
            "PLAIN" => self.auth_plain = true,
            "LOGIN" => self.auth_login = true,
            _ => {}
        }
    }
}

impl Limits {
    /// One `name=value`. RFC 9422 3: a value is one to six digits and not 0, and what a client does
    /// not understand it ignores.
    fn add(&mut self, word: &str) {
        let Some((name, value)) = word.split_once('=') else { return };
        let is_value = value.len() <= 6 && value.bytes().all(|b| b.is_ascii_digit());
        let Some(value) = value.parse().ok().filter(|value| is_value && *value > 0) else { return };
        match name.to_ascii_uppercase().as_str() {
            "MAILMAX" => self.transactions_max = Some(value),
            "RCPTMAX" => self.recipients_max = Some(value),
            "RCPTDOMAINMAX" => self.domains_max = Some(value),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Extensions {
        let lines: Vec<String> = text.split('|').map(str::to_owned).collect();
        Extensions::parse(&lines)
    }

    #[test]
    fn what_is_offered() {
        let all = parse(
            "mx.example|PIPELINING|SIZE 10485760|8bitmime|SMTPUTF8|STARTTLS|CHUNKING|BINARYMIME|\
             DSN|REQUIRETLS|ENHANCEDSTATUSCODES|DELIVERBY 240|MT-PRIORITY MIXER|FUTURERELEASE 1 2|\
             AUTH GSSAPI LOGIN plain|LIMITS RCPTMAX=20 MAILMAX=5 RCPTDOMAINMAX=1|HELP|X-NEW",
        );
        let limits =
            Limits { transactions_max: Some(5), recipients_max: Some(20), domains_max: Some(1) };
        assert_eq!(
            all,
            Extensions {
                pipelining: true,
                size: true,
                size_bytes_max: Some(10_485_760),
                eight_bit: true,
                utf8: true,
                starttls: true,
                chunking: true,
                binary: true,
                dsn: true,
                require_tls: true,
                enhanced_codes: true,
                deliver_by: true,
                deliver_by_min_s: Some(240),
                priority: true,
                future_release: true,
                auth_plain: true,
                auth_login: true,
                limits,
            }
        );
    }

    #[test]
    fn what_is_not() {
        // The first line is the name, whatever it looks like.
        assert_eq!(parse("PIPELINING"), Extensions::default());
        assert_eq!(parse("x||  |PIPELINE|8BIT MIME|X-DSN"), Extensions::default());
        assert_eq!(parse("x|BINARYMIME"), Extensions::default());
        assert_eq!(parse("x|AUTH GSSAPI XOAUTH2"), Extensions::default());
        for size in ["SIZE", "SIZE 0", "SIZE big", "SIZE -1"] {
            let expected = Extensions { size: true, ..Extensions::default() };
            assert_eq!(parse(&format!("x|{size}")), expected, "{size}");
        }
        for limits in
            ["", "RCPTMAX", "RCPTMAX=0", "RCPTMAX=1234567", "RCPTMAX=+5", "RCPTMAX=", "NEW=1"]
        {
            assert_eq!(parse(&format!("x|LIMITS {limits}")), Extensions::default(), "{limits}");
        }
    }

    #[test]
    fn the_old_way_to_offer_a_login() {
        let old = parse("x|AUTH=LOGIN PLAIN");
        assert!(old.auth_login && old.auth_plain);
    }
}
