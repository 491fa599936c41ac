//! winit's keys in the toolkit's words.
//!
//! Logical keys: a shortcut is the letter that stands on the key, on every keyboard.

use grace_ui::input::{Cursor, KeyName, KeyPress, Mods};
use winit::event::KeyEvent;
use winit::keyboard::{Key, ModifiersState, NamedKey};
use winit::window::CursorIcon;

pub(crate) fn press(event: &KeyEvent, mods: ModifiersState) -> KeyPress {
    let mods = Mods { shift: mods.shift_key(), ctrl: mods.control_key(), alt: mods.alt_key() };
    let text = event.text.as_ref().map(ToString::to_string);
    KeyPress { key: name(&event.logical_key), text, mods }
}

fn name(key: &Key) -> KeyName {
    match key {
        Key::Character(text) => {
            text.chars().flat_map(char::to_lowercase).next().map_or(KeyName::Other, KeyName::Char)
        }
        Key::Named(named) => named_key(*named),
        _ => KeyName::Other,
    }
}

fn named_key(key: NamedKey) -> KeyName {
    match key {
        NamedKey::Space => KeyName::Space,
        NamedKey::Tab => KeyName::Tab,
        NamedKey::Enter => KeyName::Enter,
        NamedKey::Escape => KeyName::Escape,
        NamedKey::Backspace => KeyName::Backspace,
        NamedKey::Delete => KeyName::Delete,
        NamedKey::ArrowLeft => KeyName::Left,
        NamedKey::ArrowRight => KeyName::Right,
        NamedKey::ArrowUp => KeyName::Up,
        NamedKey::ArrowDown => KeyName::Down,
        NamedKey::Home => KeyName::Home,
        NamedKey::End => KeyName::End,
        NamedKey::PageUp => KeyName::PageUp,
        NamedKey::PageDown => KeyName::PageDown,
        NamedKey::F11 => KeyName::Function(11),
        NamedKey::F12 => KeyName::Function(12),
        _ => KeyName::Other,
    }
}

pub(crate) fn cursor(cursor: Cursor) -> CursorIcon {
    match cursor {
        Cursor::Arrow => CursorIcon::Default,
        Cursor::Hand => CursorIcon::Pointer,
        Cursor::Text => CursorIcon::Text,
    }
}
