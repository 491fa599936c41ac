//! The doors: listening, limits per address and network, what proxies say, TLS, and the byte stream
//! a session speaks over.
//!
//! Not here: what is spoken (`inbound`, `imap`).

pub mod bans;
pub mod certificate;
pub mod client_names;
pub mod dial;
pub mod door;
pub mod gate;
pub mod listener;
pub mod prefixes;
pub mod proxy;
pub mod rates;
pub mod refusals;
pub mod sessions;
pub mod stream;
pub mod tls;
pub mod tls_client;
pub mod transcript;

use std::net::SocketAddr;
use std::sync::Arc;

use grace_ipc::event::{Service, TraceId};

use self::sessions::Live;
use self::stream::Stream;

/// One accepted connection, TLS already up where the door asks for it from the first byte.
#[derive(Debug)]
pub struct Visit {
    /// The door it came through.
    pub service: Service,
    /// Who it says it is, by TCP; where a proxy of ours stands in between, whom that speaks for.
    pub peer: SocketAddr,
    /// The address it reached.
    pub local: SocketAddr,
    /// Joins its events.
    pub trace: TraceId,
    /// Its place in the list of those that are open.
    pub live: Arc<Live>,
    /// Its bytes.
    pub stream: Stream,
}
