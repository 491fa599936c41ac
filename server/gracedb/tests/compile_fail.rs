//! Mistakes that must not compile, and what the compiler says about them.
//!
//! Only mistakes that the derive macro words itself; those that the compiler words are examples in
//! `gracedb::table`. After a change of wording: `TRYBUILD=overwrite cargo test -p gracedb`.

#[test]
fn mistakes_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/compile-fail/*.rs");
}
