//! How far long work is, for who watches.

/// How far work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done, in a word or two.
    pub doing: &'static str,
    /// Bytes dealt with.
    pub done: u64,
    /// Bytes there are in all, as far as known.
    pub total: u64,
}

/// Is told how far work is, and says whether to go on.
pub type Watcher<'a> = &'a mut dyn FnMut(Progress) -> bool;

/// Counts for a watcher.
pub(crate) struct Count<'a, 'b> {
    watcher: &'a mut Watcher<'b>,
    now: Progress,
    /// What was told last.
    told: u64,
}

/// Bytes between two words to the watcher.
const STEP_BYTES: u64 = 4 << 20;

impl<'a, 'b> Count<'a, 'b> {
    pub(crate) fn new(watcher: &'a mut Watcher<'b>, total: u64) -> Self {
        Self { watcher, now: Progress { doing: "", done: 0, total }, told: 0 }
    }

    /// Something else is being done now.
    pub(crate) fn begin(&mut self, doing: &'static str) -> Result<(), crate::error::Error> {
        self.now.doing = doing;
        self.tell()
    }

    /// So many more bytes are dealt with.
    pub(crate) fn add(&mut self, bytes: u64) -> Result<(), crate::error::Error> {
        self.now.done += bytes;
        self.now.total = self.now.total.max(self.now.done);
        if self.now.done - self.told >= STEP_BYTES { self.tell() } else { Ok(()) }
    }

    fn tell(&mut self) -> Result<(), crate::error::Error> {
        self.told = self.now.done;
        if (self.watcher)(self.now) { Ok(()) } else { Err(crate::error::Error::Stopped) }
    }
}
