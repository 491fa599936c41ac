//! The system's clipboard.
//!
//! Invariants: the connection is opened when first needed and kept for the whole run, because on
//! X11 what was copied is gone as soon as its owner is. Where there is none, texts can still be
//! copied inside the window.

use grace_ui::input::{Clipboard, PrivateClipboard};

/// The clipboard.
#[derive(Default)]
pub(crate) struct SystemClipboard {
    system: Option<arboard::Clipboard>,
    failed: bool,
    own: PrivateClipboard,
}

impl SystemClipboard {
    fn open(&mut self) -> Option<&mut arboard::Clipboard> {
        if self.system.is_none() && !self.failed {
            self.system = arboard::Clipboard::new().ok();
            self.failed = self.system.is_none();
        }
        self.system.as_mut()
    }
}

impl Clipboard for SystemClipboard {
    fn read(&mut self) -> Option<String> {
        match self.open() {
            Some(system) => system.get_text().ok(),
            None => self.own.read(),
        }
    }

    fn write(&mut self, text: String) {
        let taken = self.open().is_some_and(|system| system.set_text(text.clone()).is_ok());
        if !taken {
            self.own.write(text);
        }
    }
}
