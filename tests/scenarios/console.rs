//! The console on a screen nobody sees: Xvfb, software Vulkan with the validation layers on, a hand
//! (xdotool) and a screen reader (AT-SPI).
//!
//! It shows a message as it is delivered, filters, changes its theme, says that the daemon went
//! away and comes back by itself, and draws nothing while nothing happens.
//! `GRACE_UPDATE_SCREENSHOT=1` writes the picture the README shows. Not here: single pixels and
//! widgets (tests of `grace-gpu` and `grace-ui`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use grace_tests::display::{self, Display};
use grace_tests::house::{self, Account, House};
use grace_tests::log::{self, Log, Mark};
use grace_tests::script::Partner;
use grace_tests::wire::Wire;
use grace_tests::{figure, program};
use serde_json::{Value, json};

/// How long an idle console is watched.
const IDLE: Duration = Duration::from_secs(10);
/// How long the console must have drawn nothing to count as settled.
const SETTLED: Duration = Duration::from_millis(1_500);
/// Pixels a new row changes at least, of the million on the screen.
const ROW_PIXELS_MIN: u64 = 500;
/// How long the console may take to end.
const END_PATIENCE: Duration = Duration::from_secs(20);

/// A console on a screen of its own, looked at by a screen reader.
struct Watched {
    display: Display,
    console: Child,
    log: Log,
    reader: Partner,
}

impl Watched {
    fn start(house: &House) -> Self {
        let display = Display::start();
        let mut command = Command::new(program::ours("grace-console"));
        command
            .arg("--socket")
            .arg(house.socket())
            .args(["--validate", "--log-frames", "--utc", "--theme", "dark", "--glass", "on"])
            .arg("--screenshot")
            .arg(display.folder().join("shot.png"))
            .current_dir(display.folder())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut console = display.lend(&mut command).spawn().expect("grace-console starts");
        let log = Log::read(console.stderr.take().expect("piped"));
        log.wait_text(Mark::START, "frame n=");
        let reader =
            Partner::start_with("screen_reader", &json!({"pid": console.id()}), |python| {
                display.lend(python);
            });
        let watched = Self { display, console, log, reader };
        // No window manager gives the keyboard to a window here.
        watched.display.xdotool(&["search", "--sync", "--name", "^Grace$", "windowfocus"]);
        watched
    }

    /// Waits until something with this in its name is shown, and returns its name.
    fn sees(&mut self, text: &str) -> String {
        let found = self.reader.ask(&json!({"find": text}));
        assert!(found.get("problem").is_none(), "{text:?} is not shown: {found:#}");
        log::text(&found, "name").to_owned()
    }

    /// Waits until the row of a delivery is shown, and returns all of its text.
    fn sees_delivery(&mut self, delivered: &Value) -> String {
        let (id, uid) = (log::text(delivered, "queue_id"), log::number(delivered, "uid"));
        self.sees(&format!("{id} · uid {uid}"))
    }

    /// Waits until nothing with this in its name is shown.
    fn misses(&mut self, text: &str) {
        let found = self.reader.ask(&json!({"gone": text}));
        assert!(found.get("problem").is_none(), "{text:?} is still shown: {found:#}");
    }

    fn keys(&self, keys: &[&str]) {
        self.display.xdotool(&[&["key", "--clearmodifiers"], keys].concat());
    }

    /// Frames drawn so far.
    fn frames(&self) -> usize {
        self.log.text().lines().filter(|line| line.contains("frame n=")).count()
    }

    /// Waits until no frame was drawn for a while, and returns how many there were.
    fn settle(&self) -> usize {
        let mut frames = self.frames();
        loop {
            std::thread::sleep(SETTLED);
            let now = self.frames();
            if now == frames {
                return frames;
            }
            frames = now;
        }
    }

    fn picture(&self, name: &str) -> PathBuf {
        let file = self.display.folder().join(format!("{name}.png"));
        self.display.picture(&file);
        file
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Both fail only when it has already ended.
        drop(self.console.kill());
        drop(self.console.wait());
        self.log.finish();
        if std::thread::panicking() {
            figure(&format!("the failed test's console said:\n{}", self.log.text()));
        }
    }
}

/// How bright a picture is, from 0 to 1.
fn brightness(picture: &Path) -> f64 {
    let mut convert = Command::new("convert");
    convert.arg(picture).args(["-colorspace", "Gray", "-format", "%[fx:mean]", "info:"]);
    program::run_ok(&mut convert).trim().parse().expect("a number")
}

/// A day's small traffic, so that the list has something to show: mail, a reader, a mistake, a
/// scanner.
fn traffic(house: &House, ann: &Account) {
    let otto = house.account("otto");
    Wire::deliver_from("minutes@club.example", house, ann, "Minutes of Monday");
    Wire::deliver_from("billing@shop.example", house, &otto, "Invoice 2041");
    for (password, works) in [("not this one", false), (ann.password.as_str(), true)] {
        assert_eq!(house.lets_in(&ann.address, password), works);
    }
    Wire::connect(house.port("Smtp")).check(
        "S: 220 *
         C: EHLO scanner.example
         S: 250 *
         C: MAIL FROM:<offers@scanner.example>
         S: 250 *
         C: RCPT TO:<nobody@grace.test>
         S: 550 *
         C: QUIT
         S: 221 *",
    );
    Wire::deliver_from("kim@example.net", house, &otto, "Lunch?");
}

#[test]
fn an_admin_watches_the_house() {
    let mut house = House::start();
    let ann = house.account("ann");
    traffic(&house, &ann);
    let mut watched = Watched::start(&house);
    watched.sees("mail.grace.test: Connected");
    watched.sees("Live");
    watched.settle();
    let before = watched.picture("before");

    // A message comes in and is there to be seen.
    let delivered = Wire::deliver_from("you@example.org", &house, &ann, "First light");
    let row = watched.sees_delivery(&delivered);
    assert!(row.contains(&ann.address), "the row names whose it is: {row}");
    watched.settle();
    let after = watched.picture("after");
    let pixels = display::pixels_that_differ(&before, &after);
    assert!(pixels >= ROW_PIXELS_MIN, "a new row changes the screen, and {pixels} pixels differ");
    keep_picture(&watched);

    is_quiet(&watched, &house);
    filters(&mut watched, &ann);
    changes_its_theme(&mut watched);
    comes_back(&mut watched, &mut house, &ann);

    watched.keys(&["ctrl+q"]);
    let status = house::wait(&mut watched.console, END_PATIENCE);
    watched.log.finish();
    // 3 would say that the validation layers had something to say.
    assert_eq!(status.code(), Some(0), "{}", watched.log.text());
    assert!(!watched.log.text().contains("VUID"), "{}", watched.log.text());
    figure(&format!(
        "console: {} frames in all, 0 validation messages, a delivered message changes {pixels} pixels",
        watched.frames()
    ));
}

/// Nothing happens, so nothing is drawn.
fn is_quiet(watched: &Watched, house: &House) {
    let frames = watched.settle();
    let mark = house.log().mark();
    std::thread::sleep(IDLE);
    let drawn = watched.frames() - frames;
    assert!(house.log().events(mark, "ConnectionOpened").is_empty(), "nothing happened");
    assert_eq!(drawn, 0, "an idle console draws nothing:\n{}", watched.log.text());
    figure(&format!("idle console: {drawn} frames in {IDLE:?}"));
}

/// A text in the filter leaves only the rows that have it; Escape brings all back.
fn filters(watched: &mut Watched, ann: &Account) {
    watched.keys(&["slash"]);
    watched.display.xdotool(&["type", "--delay", "20", "zebra"]);
    watched.sees("Nothing matches");
    watched.keys(&["Escape"]);
    watched.misses("Nothing matches");
    watched.sees(&ann.address);
}

/// Dark becomes light and dark again.
fn changes_its_theme(watched: &mut Watched) {
    let dark = brightness(&watched.picture("dark"));
    watched.keys(&["ctrl+t"]);
    watched.sees("Dark theme");
    watched.settle();
    let light = brightness(&watched.picture("light"));
    assert!(dark < 0.3 && light > 0.7, "dark {dark:.2}, light {light:.2}");
    let pressed = watched.reader.ask(&json!({"press": "Dark theme"}));
    assert!(pressed.get("problem").is_none(), "a screen reader presses the button too: {pressed}");
    watched.sees("Light theme");
}

/// The daemon dies; the console says so, keeps what it knew, and finds the next one by itself.
fn comes_back(watched: &mut Watched, house: &mut House, ann: &Account) {
    house.kill();
    watched.sees("mail.grace.test: Disconnected");
    watched.sees("Connection lost");
    watched.sees(&ann.address);
    house.start_again();
    watched.sees("mail.grace.test: Connected");
    watched.misses("Connection lost");
    let delivered = Wire::deliver(house, ann, "After the storm");
    watched.sees_delivery(&delivered);
}

/// Asks the console for its own picture, and keeps it for the README if that is wanted.
fn keep_picture(watched: &Watched) {
    let shot = watched.display.folder().join("shot.png");
    let mark = watched.log.mark();
    watched.display.xdotool(&["mousemove", "0", "700"]);
    watched.settle();
    watched.keys(&["F12"]);
    watched.log.wait_text(mark, "wrote");
    let mut identify = Command::new("identify");
    let size = program::run_ok(identify.args(["-format", "%wx%h"]).arg(&shot));
    assert_eq!(size, format!("{}x{}", display::WIDTH, display::HEIGHT));
    if std::env::var_os("GRACE_UPDATE_SCREENSHOT").is_some_and(|wanted| wanted == "1") {
        let images = program::repository().join("docs/images");
        fs::create_dir_all(&images).expect("docs/ is writable");
        fs::copy(&shot, images.join("console.png")).expect("docs/images is writable");
    }
}
