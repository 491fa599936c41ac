//! What a letter is: addresses, envelopes, headers and the MIME tree.
//!
//! Everything here reads bytes that strangers wrote. Invariants: no function panics on any input;
//! all of them take time linear in the input; a range always lies inside the message it was made
//! from; what cannot be understood is passed on as it is or left out, never invented.
//!
//! The way through the modules: [`mime`] finds the parts of a message as byte ranges ([`media`]
//! reads their Content-* fields), [`section`] answers IMAP's question "give me 1.2.HEADER" with
//! such a range, [`envelope`] gives the few fields every client shows in its list, [`text`] what a
//! person would read (through [`transfer`], [`charset`] and [`encoded_word`]) and [`terms`] what an
//! index holds of that, [`header`] is what they all stand on. [`dsn`] writes delivery status
//! notifications, [`submitted`] what a submitted message lacks, [`srs`] whom a forwarded one comes
//! back to.
//! Not here: sockets, storage and the grammar of IMAP or SMTP.

pub mod address;
pub mod charset;
pub mod date;
pub mod dsn;
pub mod encoded_word;
pub mod envelope;
pub mod header;
pub mod mailbox_list;
pub mod media;
pub mod mime;
pub mod section;
pub mod srs;
pub mod submitted;
pub mod terms;
pub mod text;
pub mod transfer;
