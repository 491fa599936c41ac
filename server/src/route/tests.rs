//! Where mail goes, with a store and names of the test's own.

use super::*;

#[test]
fn servers_are_read() {
    let host = |text| server(text, 25).map(|host| (host.name, host.port));
    let found = |name: &str, port| Some((name.to_owned(), port));
    assert_eq!(host("[mx.example.org]"), found("mx.example.org", 25));
    assert_eq!(host("[mx.example.org]:2525"), found("mx.example.org", 2525));
    assert_eq!(host("[192.0.2.1]"), found("192.0.2.1", 25));
    assert_eq!(host("[IPv6:2001:db8::1]"), found("2001:db8::1", 25));
    for text in ["mx", "[]", "[mx", "[mx]:", "[mx]:0x", "[mx]:70000"] {
        assert_eq!(host(text), None, "{text}");
    }
    let smart = |text| smart_host(text, 25).map(|host| (host.name, host.port));
    assert_eq!(smart("Relay.example.org"), found("relay.example.org", 25));
    assert_eq!(smart("relay.example.org:587"), found("relay.example.org", 587));
    assert_eq!(smart("relay example:587"), None);
}
