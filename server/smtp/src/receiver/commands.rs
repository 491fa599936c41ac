//! Command lines: finding them, and which is allowed when (RFC 5321 4.1.4).
//!
//! Invariants: a line that is too long is read away and refused once; nothing a peer sent before
//! TLS is looked at after it; a password never gets into a note.
//! Not here: reading a line (`crate::command`), bodies (`body`), logins (`logins`), answers
//! (`asked`).

use grace_mail::address::Charset;
use zeroize::Zeroizing;

use crate::command::{self, Command, Hello};
use crate::login::Mechanism;
use crate::parameters::{BodyType, MailParameters, RcptParameters};
use crate::path::{Recipient, ReversePath};
use crate::receiver::{
    Action, Arrival, CloseReason, Envelope, EnvelopeRecipient, Incoming, Mailing, Note, Phase,
    Question, Receiver,
};
use crate::reply::{Reply, fixed, printable};
use crate::settings::{self, Haste, Role};

/// How much of a refused command a note shows, in bytes.
const COMMAND_SHOWN_BYTES_MAX: usize = 200;

/// What the input begins with.
enum Line {
    /// A line without its line end.
    Whole(Zeroizing<Vec<u8>>),
    /// A line that was too long, and is gone.
    TooLong,
    /// Not a whole line yet.
    Part,
    /// The end of a line cannot be waited for any longer.
    Endless,
}

impl Receiver {
    /// Takes one line, if there is one, and does what it says.
    pub(super) fn step_line(&mut self) -> bool {
        let in_login = matches!(self.phase, Phase::Login(..));
        if !in_login && !self.input.is_in_long_line() && command::is_binary(self.input.as_slice()) {
            self.close_foreign();
            return true;
        }
        match self.next_line(in_login) {
            Line::Part => return false,
            Line::Endless => self.close(CloseReason::TooManyErrors, &fixed::TOO_MANY_ERRORS),
            Line::TooLong if in_login => {
                self.enter(Phase::Command(Mailing::None));
                self.refuse("AUTH".to_owned(), &fixed::LOGIN_TOO_LONG);
            }
            Line::TooLong => {
                self.since = self.now;
                self.refuse("(a line that is too long)".to_owned(), &fixed::LINE_TOO_LONG);
            }
            Line::Whole(line) => {
                self.overhear(&line, in_login);
                match in_login {
                    true => self.login_line(&line),
                    false => self.command_line(&line),
                }
            }
        }
        true
    }

    /// Cuts the next line off the input. A lone LF ends a command too: people type them with `nc`,
    /// and no message ends here.
    fn next_line(&mut self, in_login: bool) -> Line {
        let input = self.input.as_slice();
        let is_auth = || command::verb(input) == "AUTH";
        let bytes_max = if in_login || is_auth() {
            settings::AUTH_LINE_BYTES_MAX
        } else {
            settings::COMMAND_LINE_BYTES_MAX
        };
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
            if self.input.is_in_long_line() || input.len() > bytes_max {
                let dropped = self.input.drop_part_of_line();
                return if dropped > settings::LONG_LINE_BYTES_MAX {
                    Line::Endless
                } else {
                    Line::Part
                };
            }
            return Line::Part;
        };
        if self.input.end_long_line() || end >= bytes_max {
            self.input.skip(end + 1);
            return Line::TooLong;
        }
        let mut line = self.input.take(end + 1);
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Line::Whole(line)
    }

    /// What came is some other protocol: say so, and end it before it can do harm.
    fn close_foreign(&mut self) {
        let start = self.input.as_slice();
        let line = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let command = shown(line);
        self.note(Note::CommandRefused { command, reply: fixed::NOT_SMTP.to_string() });
        self.close(CloseReason::NotSmtp, &fixed::NOT_SMTP);
    }

    fn command_line(&mut self, line: &[u8]) {
        let Phase::Command(mailing) = std::mem::replace(&mut self.phase, Phase::Closed) else {
            return;
        };
        if command::is_http(line) {
            self.phase = Phase::Command(mailing);
            let reply = fixed::NOT_SMTP;
            self.note(Note::CommandRefused { command: shown(line), reply: reply.to_string() });
            self.close(CloseReason::NotSmtp, &reply);
            return;
        }
        let utf8 = match &mailing {
            Mailing::None => false,
            Mailing::Begun(envelope) => envelope.parameters.utf8,
            Mailing::Chunked(incoming) => incoming.envelope.parameters.utf8,
        };
        let charset = if utf8 { Charset::Utf8 } else { Charset::Ascii };
        self.enter(Phase::Command(mailing));
        match command::parse(line, charset, self.offered()) {
            Ok(command) => {
                self.lines_hidden = 0;
                self.obey(command, line);
            }
            Err(reply) => self.refuse_unparsed(line, &reply),
        }
    }

    fn refuse_unparsed(&mut self, line: &[u8], reply: &Reply) {
        let verb = command::verb(line);
        let command = if self.lines_hidden > 0 && verb != "AUTH" {
            self.lines_hidden -= 1;
            "(not shown: it followed a refused AUTH)".to_owned()
        } else {
            shown(line)
        };
        match verb.as_str() {
            "AUTH" => self.lines_hidden = 2,
            // What follows are the bytes of a chunk, and we do not know how many.
            "BDAT" => {
                self.note(Note::CommandRefused { command, reply: reply.to_string() });
                return self.close(CloseReason::LostTrack, reply);
            }
            _ => {}
        }
        self.refuse(command, reply);
    }

    /// Does what a command says, or says why not.
    fn obey(&mut self, command: Command, line: &[u8]) {
        if matches!(command, Command::Hello(_) | Command::Data | Command::Auth { .. })
            && !self.input.is_empty()
            && self.is_too_hasty(line)
        {
            return;
        }
        let outcome = match command {
            Command::Hello(hello) => self.hello(hello),
            Command::Mail { sender, parameters } => self.mail(sender, parameters),
            Command::Rcpt { recipient, parameters } => self.rcpt(recipient, parameters),
            Command::Data => self.data(),
            Command::Bdat { size_bytes, last } => self.bdat(size_bytes, last, line),
            Command::Reset => {
                self.forget_message();
                self.idle(&fixed::RESET)
            }
            Command::Noop => self.idle(&fixed::NOOP),
            // RFC 5321 3.5.3: 252 when we would rather not say.
            Command::Verify => self.idle(&fixed::VERIFY),
            Command::Expand => Err(fixed::NOT_HERE),
            Command::Help => self.idle(&fixed::HELP),
            Command::Quit => {
                self.close(CloseReason::Quit, &fixed::BYE);
                Ok(())
            }
            Command::StartTls => self.start_tls(),
            Command::Auth { mechanism, initial } => self.auth(mechanism, initial.as_ref()),
        };
        if let Err(reply) = outcome {
            self.refuse_command(line, &reply);
        }
    }

    fn refuse_command(&mut self, line: &[u8], reply: &Reply) {
        let verb = command::verb(line);
        // The bytes that come next are the body of the message that was just refused.
        let ends = verb == "DATA" && !self.input.is_empty();
        if verb == "AUTH" {
            self.lines_hidden = 2;
        }
        self.refuse(shown(line), reply);
        if ends {
            self.end_hasty();
        }
    }

    /// Whether a peer that did not wait for our answer is turned away for it (RFC 2920 3.1).
    fn is_too_hasty(&mut self, line: &[u8]) -> bool {
        let command = shown(line);
        match self.settings.haste {
            Haste::Tolerate => self.note(Note::Hasty { command }),
            Haste::Refuse => {
                self.note(Note::CommandRefused { command, reply: fixed::HASTE.to_string() });
                self.close(CloseReason::Hasty, &fixed::HASTE);
            }
        }
        self.settings.haste == Haste::Refuse
    }

    /// A command that brings no mail closer: free, but not for ever.
    fn idle(&mut self, reply: &Reply) -> Result<(), Reply> {
        self.reply(reply);
        self.count_idle();
        Ok(())
    }

    fn count_idle(&mut self) {
        self.counts.idle_commands += 1;
        if self.counts.idle_commands > self.settings.idle_commands_max {
            self.close(CloseReason::TooManyIdleCommands, &fixed::TOO_IDLE);
        }
    }

    /// RFC 5321 4.1.4: EHLO in the middle acts like RSET as well.
    fn hello(&mut self, hello: Hello) -> Result<(), Reply> {
        self.check_hello(&hello)?;
        self.forget_message();
        let extended = hello.extended;
        self.session.hello = Some(hello);
        let mut lines = vec![self.settings.hostname.clone()];
        if extended {
            lines.extend(self.extensions());
        }
        let last = lines.len() - 1;
        for (at, line) in lines.iter().enumerate() {
            let mark = if at == last { ' ' } else { '-' };
            self.replies.extend_from_slice(format!("250{mark}{line}\r\n").as_bytes());
        }
        self.count_idle();
        Ok(())
    }

    fn mail(&mut self, sender: ReversePath, parameters: MailParameters) -> Result<(), Reply> {
        if self.session.hello.is_none() {
            return Err(fixed::HELLO_FIRST);
        }
        if self.settings.role.needs_login() && self.session.login.is_none() {
            // RFC 3207 4, RFC 4954 6: 530 for both, the more urgent one first.
            return Err(if self.may_log_in() { fixed::LOGIN_FIRST } else { fixed::TLS_FIRST });
        }
        if !matches!(self.phase, Phase::Command(Mailing::None)) {
            return Err(fixed::ONE_AT_A_TIME);
        }
        if self.counts.messages >= self.settings.messages_max {
            self.close(CloseReason::Enough, &fixed::ENOUGH);
            return Ok(());
        }
        self.check_parameters(&parameters)?;
        let action = Action::CheckSender(sender.clone());
        let envelope = Envelope { sender, parameters, recipients: Vec::new() };
        self.ask(Question::Sender(envelope), action);
        Ok(())
    }

    fn rcpt(&mut self, address: Recipient, parameters: RcptParameters) -> Result<(), Reply> {
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Command(Mailing::Begun(envelope)) => {
                if envelope.recipients.len() >= self.settings.recipients_max {
                    // RFC 5321 4.5.3.1.10: 452, and the peer sends the rest later. No mistake of
                    // the peer, so it is not counted as one.
                    self.reply(&fixed::TOO_MANY_RECIPIENTS);
                    self.phase = Phase::Command(Mailing::Begun(envelope));
                    return Ok(());
                }
                if let Err(reply) = self.check_claim() {
                    self.phase = Phase::Command(Mailing::Begun(envelope));
                    return Err(reply);
                }
                let action = Action::CheckRecipient(address.clone());
                let recipient = EnvelopeRecipient { address, parameters };
                self.ask(Question::Recipient(envelope, recipient), action);
                Ok(())
            }
            other => {
                self.phase = other;
                Err(self.no_message())
            }
        }
    }

    /// Why there is no message that a recipient or a body could be added to.
    fn no_message(&self) -> Reply {
        match &self.phase {
            Phase::Command(Mailing::Chunked(_)) => fixed::CHUNKS_UNDER_WAY,
            _ if self.session.hello.is_none() => fixed::HELLO_FIRST,
            _ => fixed::MAIL_FIRST,
        }
    }

    fn data(&mut self) -> Result<(), Reply> {
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            // RFC 3030 3: such a body may have no end that DATA could find.
            Phase::Command(Mailing::Begun(envelope))
                if envelope.parameters.body == BodyType::Binary =>
            {
                self.phase = Phase::Command(Mailing::Begun(envelope));
                Err(fixed::BINARY_IN_CHUNKS)
            }
            Phase::Command(Mailing::Begun(envelope)) if !envelope.recipients.is_empty() => {
                self.begin_body(envelope, Arrival::Data);
                Ok(())
            }
            // RFC 5321 3.3: 554 when every RCPT was refused, 503 when there was no MAIL.
            Phase::Command(Mailing::Begun(envelope)) => {
                self.phase = Phase::Command(Mailing::Begun(envelope));
                Err(fixed::NO_RECIPIENTS)
            }
            other => {
                self.phase = other;
                Err(self.no_message())
            }
        }
    }

    fn begin_body(&mut self, envelope: Envelope, arrival: Arrival) {
        let action = Action::BodyBegin(envelope.clone());
        let incoming = Incoming::new(envelope, arrival, &self.settings, self.now);
        self.ask(Question::Body(incoming, arrival), action);
    }

    /// RFC 3030 2. Whatever we think of a chunk, its bytes come right behind the command.
    fn bdat(&mut self, size_bytes: u64, last: bool, line: &[u8]) -> Result<(), Reply> {
        let bytes_max = self.settings.message_bytes_max;
        if size_bytes > bytes_max.saturating_add(self.settings.overrun_bytes_max) {
            self.note(Note::CommandRefused {
                command: shown(line),
                reply: fixed::TOO_LARGE.to_string(),
            });
            self.close(CloseReason::Overrun, &fixed::TOO_LARGE);
            return Ok(());
        }
        let arrival = Arrival::Chunk { left_bytes: size_bytes, last };
        let reply = match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Command(Mailing::Begun(envelope)) => {
                if !envelope.recipients.is_empty() && size_bytes <= bytes_max {
                    self.begin_body(envelope, arrival);
                    return Ok(());
                }
                if envelope.recipients.is_empty() { fixed::NO_RECIPIENTS } else { fixed::TOO_LARGE }
            }
            Phase::Command(Mailing::Chunked(incoming)) => {
                if incoming.size_bytes.saturating_add(size_bytes) <= bytes_max {
                    self.enter(Phase::Body(incoming, arrival));
                    return Ok(());
                }
                self.drop_body(&incoming);
                fixed::TOO_LARGE
            }
            _ => fixed::NO_MESSAGE,
        };
        let line = shown(line);
        self.enter(Phase::Unwanted { left_bytes: size_bytes, line, reply });
        Ok(())
    }

    /// What RSET does (RFC 5321 4.1.1.5).
    fn forget_message(&mut self) {
        if let Phase::Command(Mailing::Chunked(incoming)) =
            std::mem::replace(&mut self.phase, Phase::Command(Mailing::None))
        {
            self.drop_body(&incoming);
        }
    }

    fn start_tls(&mut self) -> Result<(), Reply> {
        if self.session.tls.is_some() {
            return Err(fixed::ALREADY_TLS);
        }
        if !self.settings.starttls || self.settings.role == Role::Submissions {
            return Err(fixed::NOT_HERE);
        }
        if !self.input.is_empty() {
            // CVE-2011-0411: somebody on the way put a command behind STARTTLS, to have it obeyed
            // as if it had come encrypted.
            self.note(Note::CommandRefused {
                command: "STARTTLS".to_owned(),
                reply: fixed::AFTER_STARTTLS.to_string(),
            });
            self.close(CloseReason::StartTlsInjection, &fixed::AFTER_STARTTLS);
            return Ok(());
        }
        self.forget_message();
        self.reply(&fixed::TLS_READY);
        self.ask(Question::Tls, Action::StartTls);
        Ok(())
    }
}

/// A command for a note: printable, cut, and of AUTH no more than the mechanism.
fn shown(line: &[u8]) -> String {
    let line = line.get(..COMMAND_SHOWN_BYTES_MAX).unwrap_or(line);
    let text = printable(&String::from_utf8_lossy(line), COMMAND_SHOWN_BYTES_MAX);
    if command::verb(line) != "AUTH" {
        return text;
    }
    let mechanism = text.split_whitespace().nth(1).and_then(Mechanism::parse);
    format!("AUTH {}", mechanism.map_or("(not shown)", Mechanism::name))
}
