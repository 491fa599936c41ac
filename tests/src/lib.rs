//! The house seen from outside: harness, scenarios, conformance, tidy.
