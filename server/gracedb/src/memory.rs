//! Rows in memory as a store of ordered bytes: for tests of what stands above the seam.
//!
//! It keeps the promises of [`crate::engine`] but the one of durability: what is acknowledged is
//! gone with the process. Large values are never given up.

use std::sync::Arc;
use std::task::{Context, Poll};

use crate::crc;
use crate::engine::{Durability, Engine, Old, Reader, Scan, Writer};
use crate::error::Error;
use crate::large::{Fresh, Large, Part};
use crate::local::Walk;
use crate::pending::Ticket;
use crate::state::{self, State, Value};
use crate::sync::{Mutex, MutexGuard, locked};
use crate::version::{Version, Yard};
use crate::watch::{Watch, Watches};

/// Bytes of one part of a large value.
const PART_BYTES: usize = 128 << 10;
/// As the store on files has it.
const INLINE_BYTES_MAX: usize = 1 << 10;

/// The store.
#[derive(Clone)]
pub struct MemoryEngine {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    parts: Parts,
    watches: Watches,
    closed: Mutex<bool>,
}

#[derive(Default)]
struct Parts {
    all: Mutex<Vec<Arc<[u8]>>>,
}

impl Parts {
    fn put(&self, bytes: Vec<u8>) -> (Part, Fresh) {
        let crc = crc::of(&bytes);
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let mut all = locked(&self.all);
        all.push(bytes.into());
        (Part::new((0, all.len() as u64), len, crc), Fresh::new(0, None))
    }

    fn read(&self, part: &Part, bytes: &mut [u8]) -> Result<(), Error> {
        let at = usize::try_from(part.offset).ok().and_then(|at| at.checked_sub(1));
        let found = at.and_then(|at| locked(&self.all).get(at).cloned());
        match found {
            Some(found) if found.len() == bytes.len() => bytes.copy_from_slice(&found),
            _ => return Err(Error::LargeLost),
        }
        Ok(())
    }
}

impl MemoryEngine {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        let state = Mutex::new(State::new(Version::new(Arc::new(Yard::default()))));
        let (parts, watches, closed) = (Parts::default(), Watches::default(), Mutex::new(false));
        Self { shared: Arc::new(Shared { state, parts, watches, closed }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.shared.state)
    }
}

impl Default for MemoryEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine for MemoryEngine {
    fn snapshot(&self) -> Arc<dyn Reader> {
        let state = self.state().clone();
        Arc::new(Rows { state, shared: Arc::clone(&self.shared) })
    }

    fn write(
        &self,
        _durability: Durability,
        body: &mut dyn FnMut(&mut dyn Writer) -> bool,
    ) -> Result<Option<Ticket>, Error> {
        self.check()?;
        let mut state = self.state();
        let rows = Rows { state: state.clone(), shared: Arc::clone(&self.shared) };
        // No time stands before the operations of this store; a watch skips one all the same.
        let mut tx = Transaction { rows, operations: vec![0], broken: None };
        if !body(&mut tx) {
            return Ok(None);
        }
        if let Some(error) = tx.broken {
            return Err(error);
        }
        if tx.operations.len() > 1 {
            *state = tx.rows.state;
            state.sequence += 1;
            self.shared.watches.tell_operations(&tx.operations, state.sequence);
        }
        Ok(Some(Ticket::done(Ok(()))))
    }

    fn part_bytes(&self) -> usize {
        PART_BYTES
    }

    fn poll_room(&self, _context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(self.check())
    }

    fn put_part(&self, bytes: Vec<u8>) -> Result<(Part, Fresh), Error> {
        self.check()?;
        Ok(self.shared.parts.put(bytes))
    }

    fn watch(&self, prefix: &[u8]) -> Watch {
        self.shared.watches.add(prefix)
    }

    fn check(&self) -> Result<(), Error> {
        if *locked(&self.shared.closed) { Err(Error::Closed) } else { Ok(()) }
    }

    fn close(&self) {
        *locked(&self.shared.closed) = true;
        self.shared.watches.close();
    }
}

/// Rows as of one moment.
struct Rows {
    state: State,
    shared: Arc<Shared>,
}

impl Reader for Rows {
    fn sequence(&self) -> u64 {
        self.state.sequence
    }

    fn get(&self, key: &[u8]) -> Result<Option<Value>, Error> {
        self.state.get(key)
    }

    fn scan(&self, low: &[u8], high: Option<&[u8]>) -> Result<Box<dyn Scan>, Error> {
        Ok(Box::new(Walk::over(self.state.clone(), Vec::new(), low, high)))
    }

    fn read_part(&self, part: &Part, bytes: &mut [u8]) -> Result<(), Error> {
        self.shared.parts.read(part, bytes)
    }

    fn share(&self) -> Arc<dyn Reader> {
        Arc::new(Self { state: self.state.clone(), shared: Arc::clone(&self.shared) })
    }
}

/// A transaction works on a copy, which takes the place of the original.
struct Transaction {
    rows: Rows,
    operations: Vec<u8>,
    broken: Option<Error>,
}

impl Reader for Transaction {
    fn sequence(&self) -> u64 {
        self.rows.sequence()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Value>, Error> {
        self.rows.get(key)
    }

    fn scan(&self, low: &[u8], high: Option<&[u8]>) -> Result<Box<dyn Scan>, Error> {
        self.rows.scan(low, high)
    }

    fn read_part(&self, part: &Part, bytes: &mut [u8]) -> Result<(), Error> {
        self.rows.read_part(part, bytes)
    }

    fn share(&self) -> Arc<dyn Reader> {
        self.rows.share()
    }
}

impl Writer for Transaction {
    fn put(&mut self, key: &[u8], value: &[u8], _: &[Large], _: Old<'_>) -> Result<(), Error> {
        state::write_put(key, value, &mut self.operations);
        self.rows.state.mem.put(key, value);
        Ok(())
    }

    fn delete(&mut self, key: &[u8], _: Old<'_>) -> Result<(), Error> {
        state::write_delete(key, &mut self.operations);
        self.rows.state.mem.delete(key);
        Ok(())
    }

    fn delete_range(&mut self, low: &[u8], high: &[u8]) -> Result<(), Error> {
        state::write_delete_range(low, high, &mut self.operations);
        self.rows.state.mem.delete_range(low, high);
        Ok(())
    }

    fn put_part(&mut self, bytes: Vec<u8>) -> Result<(Part, Fresh), Error> {
        Ok(self.rows.shared.parts.put(bytes))
    }

    fn spoil(&mut self, error: Error) {
        self.broken = Some(error);
    }

    fn inline_bytes_max(&self) -> usize {
        INLINE_BYTES_MAX
    }
}
