//! Opening listening sockets.
//!
//! Invariant: an IPv6 door never takes IPv4 connections, so that `0.0.0.0` and `[::]` can stand
//! side by side on every system.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections the system may hold until we accept them. Bots come in bursts; Linux cuts it to
/// `net.core.somaxconn`.
const BACKLOG: i32 = 1_024;

/// Opens one listening socket.
///
/// # Errors
/// What the system said: the address is taken, or not ours, or the port needs privileges.
pub fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A restart must not wait until the last run's connections have left TIME_WAIT. On Windows the
    // option would let two programs share a port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// What an admin can do about an address that cannot be opened.
#[must_use]
pub fn advice(address: SocketAddr, error: &io::Error) -> String {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there; stop it or change `[listen]`",
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need root or the capability CAP_NET_BIND_SERVICE"
        }
        io::ErrorKind::AddrNotAvailable => "no network interface of this machine has that address",
        _ => "see `[listen]` in the configuration",
    };
    format!("cannot listen on {address}: {error} ({hint})")
}

/// Whether a failure only says that this machine has no IPv6, which is no reason not to serve IPv4.
#[must_use]
pub fn is_missing_ipv6(address: SocketAddr, error: &io::Error) -> bool {
    /// `EAFNOSUPPORT` on Linux.
    const ADDRESS_FAMILY_NOT_SUPPORTED: i32 = 97;
    address.is_ipv6()
        && address.ip().is_unspecified()
        && (error.kind() == io::ErrorKind::AddrNotAvailable
            || error.raw_os_error() == Some(ADDRESS_FAMILY_NOT_SUPPORTED))
}
