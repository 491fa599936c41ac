//! SMTP as machines: bytes and time in, actions out.
