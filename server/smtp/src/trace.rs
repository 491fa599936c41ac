//! The header lines a receiving server writes: `Received:` and `Return-Path:` (RFC 5321 4.4).
//!
//! Invariants: pure; a peer's words cannot leave the line they are put in; lines are folded well
//! below the 998 bytes of RFC 5322 2.1.1.
//! Not here: reading them.

use std::fmt::Write as _;
use std::net::IpAddr;

use grace_mail::address::Host;
use grace_mail::date::Date;

use crate::command::Hello;
use crate::parameters::MailParameters;
use crate::path::{Recipient, ReversePath};
use crate::receiver::{EnvelopeRecipient, Session, TlsFacts};

/// What a `Received:` line is made of.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// What is known about the session.
    pub session: &'a Session,
    /// Where the bytes came from.
    pub peer: IpAddr,
    /// Our name.
    pub hostname: &'a str,
    /// The message's number with us.
    pub queue_id: &'a str,
    /// What MAIL said about the message.
    pub parameters: &'a MailParameters,
    /// The recipients of the message. `for` is written for a single one, lest the others' names get
    /// out (RFC 5321 4.4, 7.6).
    pub recipients: &'a [EnvelopeRecipient],
    /// When.
    pub date: Date,
}

impl Received<'_> {
    /// The whole field with its CRLF.
    pub fn line(&self) -> String {
        let peer = Host::Literal(self.peer.to_canonical());
        let mut line = format!("Received: from {} ({peer})\r\n", self.from(&peer));
        let _ = write!(line, "\tby {} (Grace) with {}", self.hostname, self.protocol());
        if let Some(TlsFacts { version, cipher, .. }) = &self.session.tls {
            let _ = write!(line, "\r\n\t({version} {cipher})");
        }
        let _ = write!(line, "\r\n\tid {}", self.queue_id);
        if let [EnvelopeRecipient { address: Recipient::Mailbox(address), .. }] = self.recipients {
            let _ = write!(line, "\r\n\tfor <{address}>");
        }
        // RFC 6710 6: who reads the trace can see what the message was given.
        if let Some(priority) = self.parameters.priority {
            let _ = write!(line, "\r\n\tPRIORITY {priority}");
        }
        let _ = write!(line, ";\r\n\t{}\r\n", self.date.to_rfc5322());
        line
    }

    /// The name the peer gave, where it can stand in a header; its address otherwise.
    fn from(&self, peer: &Host) -> String {
        let is_safe = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        match &self.session.hello {
            Some(Hello { claim, .. }) if claim.chars().all(is_safe) => claim.clone(),
            _ => peer.to_string(),
        }
    }

    /// The registered word for what was spoken (RFC 3848, RFC 6531 4.3).
    fn protocol(&self) -> &'static str {
        let extended = self.session.hello.as_ref().is_some_and(|hello| hello.extended);
        let (tls, login) = (self.session.tls.is_some(), self.session.login.is_some());
        #[rustfmt::skip]
        let word = match (self.parameters.utf8, extended, tls, login) {
            (true,  _,     false, false) => "UTF8SMTP",
            (true,  _,     true,  false) => "UTF8SMTPS",
            (true,  _,     false, true)  => "UTF8SMTPA",
            (true,  _,     true,  true)  => "UTF8SMTPSA",
            (false, false, false, false) => "SMTP",
            (false, true,  false, false) => "ESMTP",
            // There is no word for HELO inside TLS.
            (false, _,     true,  false) => "ESMTPS",
            (false, _,     false, true)  => "ESMTPA",
            (false, _,     true,  true)  => "ESMTPSA",
        };
        word
    }
}

/// `Return-Path: <...>` with its CRLF, for the top of a message at its final delivery.
pub fn return_path(sender: &ReversePath) -> String {
    format!("Return-Path: <{sender}>\r\n")
}

#[cfg(test)]
mod tests {
    use grace_mail::address::{Charset, Mailbox};

    use super::*;
    use crate::channel_binding::ChannelBindings;
    use crate::parameters::RcptParameters;

    fn to(address: &str) -> EnvelopeRecipient {
        let address = Mailbox::parse(address, Charset::Ascii).unwrap();
        EnvelopeRecipient {
            address: Recipient::Mailbox(address),
            parameters: RcptParameters::default(),
        }
    }

    #[track_caller]
    fn check(
        session: &Session,
        parameters: &MailParameters,
        recipients: &[EnvelopeRecipient],
        expected: &str,
    ) {
        let received = Received {
            session,
            peer: "::ffff:192.0.2.1".parse().unwrap(),
            hostname: "mx.grace.test",
            queue_id: "7f3a",
            parameters,
            recipients,
            date: Date::from_timestamp(0).unwrap(),
        };
        assert_eq!(received.line().replace("\r\n\t", "~"), expected);
    }

    #[test]
    fn received() {
        let hello = |claim: &str, extended| Some(Hello { extended, claim: claim.to_owned() });
        let mut session = Session { hello: hello("mail.example", false), tls: None, login: None };
        let mut parameters = MailParameters::default();
        check(
            &session,
            &parameters,
            &[to("a@x.example")],
            "Received: from mail.example ([192.0.2.1])~by mx.grace.test (Grace) with SMTP~id 7f3a\
             ~for <a@x.example>;~Thu, 1 Jan 1970 00:00:00 +0000\r\n",
        );
        session.hello = hello("a (b)\u{7f}", true);
        session.login = Some("a".to_owned());
        session.tls = Some(TlsFacts {
            version: "TLS1.3".to_owned(),
            cipher: "AES_256".to_owned(),
            bindings: ChannelBindings::default(),
            is_certified: false,
        });
        check(
            &session,
            &parameters,
            &[to("a@x.example"), to("b@x.example")],
            "Received: from [192.0.2.1] ([192.0.2.1])~by mx.grace.test (Grace) with ESMTPSA\
             ~(TLS1.3 AES_256)~id 7f3a;~Thu, 1 Jan 1970 00:00:00 +0000\r\n",
        );
        parameters = MailParameters { priority: Some(-3), utf8: true, ..parameters };
        check(
            &session,
            &parameters,
            &[to("a@x.example")],
            "Received: from [192.0.2.1] ([192.0.2.1])~by mx.grace.test (Grace) with UTF8SMTPSA\
             ~(TLS1.3 AES_256)~id 7f3a~for <a@x.example>~PRIORITY -3\
             ;~Thu, 1 Jan 1970 00:00:00 +0000\r\n",
        );
    }

    #[test]
    fn return_paths() {
        assert_eq!(return_path(&ReversePath::Null), "Return-Path: <>\r\n");
    }
}
