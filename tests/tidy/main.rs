//! The rules of the house, held as tests over the source tree.
//!
//! A rule in prose rots; one in `cargo test` does not. Each rule names every place that breaks it.
//! [`tree`] lists the files; [`crates`] holds who may use whom, [`modules`] the same inside the
//! daemon, [`source`] how a file is written, [`docs`] what must be written down,
//! [`third_party`] what comes from outside.
//! Not here: format and lints (rustfmt, clippy), and what the product does (`scenarios/`).

mod crates;
mod docs;
mod modules;
mod source;
mod third_party;
mod tree;
