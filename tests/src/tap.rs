//! A wire between a client and a server that notes what the client says, read by read.
//!
//! Invariant: bytes go on as they came; what was one write of the client and arrived as one is one
//! note.
//! Not here: TLS; what is encrypted is noted encrypted.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Bytes that are read at once.
const READ_BYTES: usize = 64 * 1_024;

type Notes = Arc<Mutex<Vec<Vec<u8>>>>;

/// A wire that is listened to.
#[derive(Debug)]
pub struct Tap {
    port: u16,
    notes: Notes,
}

impl Tap {
    /// Leads whoever connects to it on to a loopback port.
    ///
    /// # Panics
    /// When loopback has no free port.
    #[must_use]
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let notes = Notes::default();
        let shared = Arc::clone(&notes);
        // It ends with the test program; whoever connects meanwhile is led on.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) else {
                    continue;
                };
                lead(&client, &server, Some(Arc::clone(&shared)));
                lead(&server, &client, None);
            }
        });
        Self { port, notes }
    }

    /// Where to connect.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What clients said so far, read by read.
    #[must_use]
    pub fn said(&self) -> Vec<String> {
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.iter().map(|note| String::from_utf8_lossy(note).into_owned()).collect()
    }
}

fn lead(from: &TcpStream, to: &TcpStream, notes: Option<Notes>) {
    let (mut from, mut to) =
        (from.try_clone().expect("a socket has copies"), to.try_clone().expect("it has"));
    thread::spawn(move || {
        let mut bytes = vec![0; READ_BYTES];
        while let Ok(count) = from.read(&mut bytes) {
            let read = bytes.get(..count).unwrap_or_default();
            if let Some(notes) = &notes {
                notes.lock().unwrap_or_else(PoisonError::into_inner).push(read.to_vec());
            }
            if count == 0 || to.write_all(read).is_err() {
                break;
            }
        }
        // Whoever is gone has heard all that he will.
        drop(to.shutdown(Shutdown::Write));
    });
}
