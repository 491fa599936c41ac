//! Connections to other servers, from the address they are to come from.
//!
//! Not here: which address that is (`route`), what is said (`outbound`).

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpSocket, TcpStream};

/// Connects to `peer` from `source`, or from where the system likes.
///
/// # Errors
/// Nobody answers there, or the source is no address of this machine.
pub async fn connect(peer: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if peer.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(source) = source {
        let bound = socket.bind(SocketAddr::new(source, 0));
        bound
            .map_err(|e| io::Error::new(e.kind(), format!("it cannot come from {source}: {e}")))?;
    }
    socket.connect(peer).await
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_connection_comes_from_where_it_is_to_come_from() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = listener.local_addr().unwrap();
        for source in [Some("127.0.0.2".parse().unwrap()), None] {
            let (made, accepted) = tokio::join!(connect(peer, source), listener.accept());
            let (_, from) = accepted.unwrap();
            assert_eq!(made.unwrap().local_addr().unwrap(), from);
            assert_eq!(from.ip(), source.unwrap_or(peer.ip()));
        }
        // RFC 5737: an address that no machine has.
        let foreign = connect(peer, Some("192.0.2.1".parse().unwrap())).await.unwrap_err();
        assert!(foreign.to_string().contains("it cannot come from 192.0.2.1"), "{foreign}");
    }
}
