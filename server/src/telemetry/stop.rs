//! The word that the server stops, and waiting for it.
//!
//! Invariant: once said it stays said; whoever waits later returns at once.

use std::sync::Arc;

use tokio::sync::watch;

/// Says and hears that the server stops. Clones hear the same word.
#[derive(Debug, Clone)]
pub struct Stop {
    said: Arc<watch::Sender<bool>>,
}

impl Default for Stop {
    fn default() -> Self {
        Self { said: Arc::new(watch::Sender::new(false)) }
    }
}

impl Stop {
    /// Says it.
    pub fn say(&self) {
        self.said.send_replace(true);
    }

    /// Whether it was said.
    #[must_use]
    pub fn is_said(&self) -> bool {
        *self.said.borrow()
    }

    /// Whether both say and hear the same word.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.said, &other.said)
    }

    /// Waits until it is said. Cancel safe.
    pub async fn wait(&self) {
        let mut hears = self.said.subscribe();
        // The sender lives in `self`; the error cannot come.
        let heard = hears.wait_for(|said| *said).await;
        drop(heard);
    }
}
