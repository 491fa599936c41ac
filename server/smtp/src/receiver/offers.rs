//! What EHLO offers now, and whether what MAIL asks for can be had (RFC 5321 4.1.1.1).
//!
//! Invariants: what is offered is taken, and what is not offered is refused; the limits that EHLO
//! names are those that are kept.
//! Not here: reading the parameters (`crate::parameters`).

use grace_mail::date::Date;

use crate::login::Mechanism;
use crate::parameters::{ByMode, Hold, MailParameters, Offered};
use crate::receiver::Receiver;
use crate::reply::{Reply, fixed};

impl Receiver {
    /// Which parameters are taken. REQUIRETLS is known before TLS, and then refused with a reason.
    pub(super) fn offered(&self) -> Offered {
        let extensions = &self.settings.extensions;
        let submission = self.settings.role.needs_login();
        Offered {
            dsn: extensions.dsn,
            binary_mime: extensions.binary_mime,
            require_tls: extensions.require_tls,
            future_release: submission && extensions.future_release.is_some(),
            deliver_by: submission && extensions.deliver_by.is_some(),
            mt_priority: submission && extensions.mt_priority,
        }
    }

    /// The lines of EHLO behind our name.
    pub(super) fn extensions(&self) -> Vec<String> {
        let offered = self.offered();
        let (settings, has_tls) = (&self.settings, self.session.tls.is_some());
        let mut lines = Vec::new();
        let mut offer = |is_offered: bool, line: &str| {
            if is_offered {
                lines.push(line.to_owned());
            }
        };
        offer(true, "PIPELINING");
        offer(true, &format!("SIZE {}", settings.message_bytes_max));
        offer(true, "8BITMIME");
        offer(offered.binary_mime, "BINARYMIME");
        offer(true, "SMTPUTF8");
        offer(true, "ENHANCEDSTATUSCODES");
        offer(true, "CHUNKING");
        offer(offered.dsn, "DSN");
        // RFC 9422 3: what is more than that is refused, so a client need not try.
        let (messages, recipients) = (settings.messages_max, settings.recipients_max);
        let limits = format!("LIMITS MAILMAX={messages} RCPTMAX={recipients}");
        offer(settings.extensions.limits, &limits);
        if let Some(line) = self.future_release() {
            offer(offered.future_release, &line);
        }
        if let Some(limits) = &settings.extensions.deliver_by {
            offer(offered.deliver_by, &format!("DELIVERBY {}", limits.return_min_s));
        }
        offer(offered.mt_priority, "MT-PRIORITY");
        // RFC 8689 3: only in a session that has TLS.
        offer(offered.require_tls && has_tls, "REQUIRETLS");
        offer(settings.starttls && !has_tls, "STARTTLS");
        // RFC 4954 4: not offered where it would be refused, or to who is in already.
        let may_log_in = settings.role.needs_login() && self.may_log_in();
        let auth = format!("AUTH {}", self.mechanism_names());
        offer(may_log_in && self.session.login.is_none(), &auth);
        lines
    }

    /// The ways to log in that are offered, the strongest first.
    pub(super) fn mechanisms(&self) -> Vec<Mechanism> {
        let tls = self.session.tls.as_ref();
        let has_binding = tls.is_some_and(|tls| !tls.bindings.is_empty());
        let mut mechanisms = Vec::new();
        let mut offer = |is_offered: bool, mechanism| {
            if is_offered {
                mechanisms.push(mechanism);
            }
        };
        offer(tls.is_some_and(|tls| tls.is_certified), Mechanism::External);
        offer(self.settings.scram && has_binding, Mechanism::ScramSha256Plus);
        offer(self.settings.scram, Mechanism::ScramSha256);
        // RFC 7628 4: TLS is required, even on loopback.
        offer(self.settings.oauth_bearer && tls.is_some(), Mechanism::OauthBearer);
        offer(true, Mechanism::Plain);
        offer(true, Mechanism::Login);
        mechanisms
    }

    /// The same in one line.
    pub(super) fn mechanism_names(&self) -> String {
        self.mechanisms().into_iter().map(Mechanism::name).collect::<Vec<_>>().join(" ")
    }

    /// `FUTURERELEASE max-interval max-date-time` (RFC 4865 3).
    fn future_release(&self) -> Option<String> {
        let limits = self.settings.extensions.future_release.as_ref()?;
        let until_s = self.now_s(limits.began_s).saturating_add_unsigned(limits.hold_max.as_secs());
        let Date { year, month, day, hour, minute, second, .. } = Date::from_timestamp(until_s)?;
        let seconds = limits.hold_max.as_secs();
        let date = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z");
        Some(format!("FUTURERELEASE {seconds} {date}"))
    }

    /// The time of day, in seconds since 1970, when it was `began_s` at the session's begin.
    fn now_s(&self, began_s: i64) -> i64 {
        let passed = self.now.saturating_duration_since(self.began);
        began_s.saturating_add_unsigned(passed.as_secs())
    }

    /// Whether the message can have what MAIL asks for.
    pub(super) fn check_parameters(&self, parameters: &MailParameters) -> Result<(), Reply> {
        // RFC 1870 6.1: say no before the message is sent, where we can.
        if parameters.size_bytes.is_some_and(|size| size > self.settings.message_bytes_max) {
            return Err(fixed::TOO_LARGE);
        }
        // RFC 8689 4.1: whoever sends it to us in the clear has broken the promise already.
        if parameters.require_tls && self.session.tls.is_none() {
            return Err(fixed::TLS_FOR_REQUIRETLS);
        }
        if !parameters.hold.is_none_or(|hold| self.can_hold(hold)) {
            return Err(fixed::HOLD_TOO_LONG);
        }
        let extensions = &self.settings.extensions;
        if let (Some(by), Some(limits)) = (parameters.deliver_by, &extensions.deliver_by)
            && by.mode == ByMode::Return
            && i64::from(by.time_s) < i64::from(limits.return_min_s)
        {
            return Err(fixed::BY_TOO_SOON);
        }
        Ok(())
    }

    /// RFC 4865 4: within what EHLO said, and not in the past.
    fn can_hold(&self, hold: Hold) -> bool {
        let Some(limits) = &self.settings.extensions.future_release else { return false };
        let now_s = self.now_s(limits.began_s);
        let latest_s = now_s.saturating_add_unsigned(limits.hold_max.as_secs());
        (now_s..=latest_s).contains(&hold.release_s(now_s))
    }
}
