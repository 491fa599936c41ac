//! The headless mail server, graced, and its command line, gracectl.
