//! What a person does, as plain data.
//!
//! Invariants: positions are logical pixels. Not here: where it comes from (winit, a test, a screen
//! reader) and what it means (`ui`).

/// One thing a person did.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The pointer moved.
    PointerMoved(f32, f32),
    /// The pointer left the window.
    PointerLeft,
    /// The main button went down.
    Pressed {
        /// Shift was held: extend a selection.
        shift: bool,
    },
    /// The main button went up.
    Released,
    /// The wheel turned; positive moves the content down, in logical pixels.
    Wheel(f32),
    /// A key went down, or repeats.
    Key(KeyPress),
    /// The input method shows text that is not decided yet; empty: it stopped.
    Preedit(String),
    /// The input method decided on a text.
    Commit(String),
    /// The window gained or lost the keyboard.
    WindowFocused(bool),
}

/// A key with what was held beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyPress {
    /// Which key.
    pub key: KeyName,
    /// The text it types, if any.
    pub text: Option<String>,
    /// What was held.
    pub mods: Mods,
}

impl KeyPress {
    /// A key alone; a character types itself.
    pub fn plain(key: KeyName) -> Self {
        let text = match key {
            KeyName::Char(c) => Some(c.to_string()),
            KeyName::Space => Some(" ".to_owned()),
            _ => None,
        };
        Self { key, text, mods: Mods::default() }
    }

    /// A key with something held.
    pub fn with(key: KeyName, mods: Mods) -> Self {
        Self { key, text: None, mods }
    }
}

/// The keys the toolkit and the console know; the rest only type text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyName {
    /// A key that types a character, in lower case.
    Char(char),
    /// The space bar.
    Space,
    /// Tab.
    Tab,
    /// Enter, also on the number pad.
    Enter,
    /// Escape.
    Escape,
    /// Backspace.
    Backspace,
    /// Delete.
    Delete,
    /// Cursor left.
    Left,
    /// Cursor right.
    Right,
    /// Cursor up.
    Up,
    /// Cursor down.
    Down,
    /// Home.
    Home,
    /// End.
    End,
    /// Page up.
    PageUp,
    /// Page down.
    PageDown,
    /// A function key, from 1.
    Function(u8),
    /// Any other key.
    Other,
}

/// Held keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Mods {
    /// Shift.
    pub shift: bool,
    /// Control.
    pub ctrl: bool,
    /// Alt.
    pub alt: bool,
}

impl Mods {
    /// Nothing held.
    pub const NONE: Self = Self { shift: false, ctrl: false, alt: false };
    /// Control alone.
    pub const CTRL: Self = Self { ctrl: true, ..Self::NONE };
    /// Shift alone.
    pub const SHIFT: Self = Self { shift: true, ..Self::NONE };
    /// Control and Shift.
    pub const CTRL_SHIFT: Self = Self { ctrl: true, shift: true, ..Self::NONE };
}

/// Where copied text goes to and pasted text comes from.
pub trait Clipboard {
    /// The text on the clipboard, if there is one.
    fn read(&mut self) -> Option<String>;
    /// Puts a text on the clipboard.
    fn write(&mut self, text: String);
}

/// A clipboard of its own, for tests and for where the system offers none.
#[derive(Debug, Default, Clone)]
pub struct PrivateClipboard(pub Option<String>);

impl Clipboard for PrivateClipboard {
    fn read(&mut self) -> Option<String> {
        self.0.clone()
    }

    fn write(&mut self, text: String) {
        self.0 = Some(text);
    }
}

/// What the pointer should look like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Cursor {
    /// The arrow.
    #[default]
    Arrow,
    /// The hand over something that can be clicked.
    Hand,
    /// The bar over text that can be edited.
    Text,
}
