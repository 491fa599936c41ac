//! Keys that mean something wherever the keyboard is.
//!
//! Invariants: a letter alone is a command only while no text is being typed; every command here is
//! also a button somewhere. Not here: keys of single widgets (the toolkit).

use grace_ui::input::{KeyName, KeyPress, Mods};

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    Quit,
    FullScreen,
    Screenshot,
    ToggleTheme,
    FocusFilter,
    /// One step back: close what is open, clear the filter.
    Back,
    TogglePause,
    FollowTrace,
    CopyRow,
    ZoomIn,
    ZoomOut,
    ZoomReset,
}

/// The command of a key that no widget wanted.
pub(crate) fn command(press: &KeyPress) -> Option<Command> {
    let command = match (press.mods, press.key) {
        (Mods::CTRL, KeyName::Char('q' | 'w')) => Command::Quit,
        (Mods::NONE, KeyName::Function(11)) => Command::FullScreen,
        (Mods::NONE, KeyName::Function(12)) => Command::Screenshot,
        (Mods::CTRL, KeyName::Char('t')) => Command::ToggleTheme,
        (Mods::CTRL, KeyName::Char('f')) => Command::FocusFilter,
        (Mods::CTRL, KeyName::Char('c')) => Command::CopyRow,
        (Mods::CTRL | Mods::CTRL_SHIFT, KeyName::Char('+' | '=')) => Command::ZoomIn,
        (Mods::CTRL, KeyName::Char('-')) => Command::ZoomOut,
        (Mods::CTRL, KeyName::Char('0')) => Command::ZoomReset,
        (Mods::NONE, KeyName::Escape) => Command::Back,
        (Mods::NONE, KeyName::Space) => Command::TogglePause,
        (Mods::NONE, KeyName::Char('f')) => Command::FollowTrace,
        // On many keyboards the slash is typed with Shift.
        (Mods::NONE | Mods::SHIFT, KeyName::Char('/')) => Command::FocusFilter,
        _ => return None,
    };
    Some(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        let plain = |key| command(&KeyPress::plain(key));
        assert_eq!(plain(KeyName::Char('/')), Some(Command::FocusFilter));
        assert_eq!(plain(KeyName::Escape), Some(Command::Back));
        assert_eq!(plain(KeyName::Char('q')), None);
        let ctrl = |key| command(&KeyPress::with(key, Mods::CTRL));
        assert_eq!(ctrl(KeyName::Char('q')), Some(Command::Quit));
        assert_eq!(ctrl(KeyName::Space), None);
    }
}
