//! A screen for the console: Xvfb with a display number and a cookie of its own, and a session bus.
//!
//! Invariants: no fixed display number, so that screens stand side by side; nothing of the tester's
//! own desktop is seen or touched. Not here: the console itself (`scenarios/console.rs`).

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::house::Folder;
use crate::program;
use crate::seed::Seed;

/// Width of the screen, in pixels.
pub const WIDTH: u32 = 1280;
/// Height of the screen, in pixels.
pub const HEIGHT: u32 = 800;

/// A running X server with a session bus beside it.
#[derive(Debug)]
pub struct Display {
    server: Child,
    bus: Child,
    name: String,
    bus_address: String,
    folder: Folder,
}

impl Display {
    /// Starts a screen.
    ///
    /// # Panics
    /// When Xvfb, xauth or dbus-daemon cannot be started.
    #[must_use]
    pub fn start() -> Self {
        let folder = Folder::new();
        let cookie: String =
            Seed::of_today().bytes(16).iter().map(|byte| format!("{byte:02x}")).collect();
        // The server takes every cookie of its file, whatever display it is noted for.
        let server_cookies = folder.path().join("server.cookies");
        add_cookie(&server_cookies, ":0", &cookie);
        let size = format!("{WIDTH}x{HEIGHT}x24");
        let mut server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", &size, "-nolisten", "tcp", "-noreset"])
            .arg("-auth")
            .arg(&server_cookies)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| program::missing("Xvfb", &error));
        let name = format!(":{}", first_line(&mut server));
        add_cookie(&folder.path().join("cookies"), &name, &cookie);
        let mut bus = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--print-address=1"])
            .env("DISPLAY", &name)
            .env("XAUTHORITY", folder.path().join("cookies"))
            .env("XDG_RUNTIME_DIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| program::missing("dbus-daemon", &error));
        let bus_address = first_line(&mut bus);
        assert!(name.len() > 1, "Xvfb named no display");
        let display = Self { server, bus, name, bus_address, folder };
        display.announce_screen_reader();
        display
    }

    /// Says on the session bus that somebody reads the screen, so that programs describe theirs.
    fn announce_screen_reader(&self) {
        for property in ["IsEnabled", "ScreenReaderEnabled"] {
            let mut call = Command::new("dbus-send");
            call.args(["--session", "--print-reply", "--dest=org.a11y.Bus", "/org/a11y/bus"]);
            call.args(["org.freedesktop.DBus.Properties.Set", "string:org.a11y.Status"]);
            call.args([&format!("string:{property}"), "variant:boolean:true"]);
            program::run_ok(self.lend(&mut call));
        }
    }

    /// Points a command at this screen and at nothing else of the tester's.
    pub fn lend<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("DISPLAY", &self.name)
            .env("XAUTHORITY", self.folder.path().join("cookies"))
            .env("XDG_RUNTIME_DIR", self.folder.path())
            .env("XDG_CACHE_HOME", self.folder.path().join("cache"))
            .env("XDG_CONFIG_HOME", self.folder.path().join("config"))
            .env("XDG_STATE_HOME", self.folder.path().join("state"))
            .env("DBUS_SESSION_BUS_ADDRESS", &self.bus_address)
            .env_remove("WAYLAND_DISPLAY")
    }

    /// Runs `xdotool` on this screen, which must succeed, and returns what it said.
    pub fn xdotool(&self, arguments: &[&str]) -> String {
        program::run_ok(self.lend(Command::new("xdotool").args(arguments)))
    }

    /// Takes a picture of the whole screen as a PNG.
    pub fn picture(&self, file: &Path) {
        program::run_ok(self.lend(Command::new("import").args(["-window", "root"]).arg(file)));
    }

    /// A folder that lasts as long as the screen.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_path_buf()
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        for child in [&mut self.server, &mut self.bus] {
            // Both fail only when the process has already ended.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// How many pixels of two pictures of one size differ.
///
/// # Panics
/// When the pictures cannot be compared.
#[must_use]
pub fn pixels_that_differ(one: &Path, two: &Path) -> u64 {
    let mut compare = Command::new("compare");
    let output = program::run(compare.args(["-metric", "AE"]).args([one, two]).arg("null:"));
    let said = program::both(&output);
    let count = said.split_whitespace().next().and_then(|text| text.parse::<f64>().ok());
    assert!(count.is_some(), "compare said: {said}");
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of pixels, written as a decimal"
    )]
    let count = count.unwrap_or_default() as u64;
    count
}

/// Writes a cookie for display `name` into `file`.
fn add_cookie(file: &Path, name: &str, cookie: &str) {
    program::run_ok(Command::new("xauth").arg("-q").arg("-f").arg(file).args([
        "add",
        name,
        "MIT-MAGIC-COOKIE-1",
        cookie,
    ]));
}

/// The first line a child says; waits for it.
fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    let said = child.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
    assert!(matches!(said, Some(Ok(read)) if read > 1), "a server ended before it was ready");
    line.trim().to_owned()
}
