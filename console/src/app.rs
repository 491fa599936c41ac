//! The window and its loop: everything that happens becomes input, everything shown a scene.
//!
//! The loop sleeps until something happens. Then the screen is built anew and compared with what is
//! shown: an equal scene is not drawn, so a quiet console draws nothing at all. Invariants: this
//! thread never waits for the daemon; news of the daemon are shown at most [`LIVE_HZ`] times a
//! second, a person's input at once. Not here: what is shown (`screen`), how it is drawn.

mod handler;

use std::sync::Arc;
use std::time::{Duration, Instant};

use accesskit_winit::Adapter;
use grace_gpu::renderer::{Effects, Options, Renderer};
use grace_gpu::scene::Scene;
use grace_gpu::text::Fonts;
use grace_ui::input::Input;
use grace_ui::theme;
use grace_ui::ui::{Frame, Settled, Ui};
use grace_ui::{access, paint};
use winit::dpi::{LogicalPosition, LogicalSize};
use winit::event_loop::{ActiveEventLoop, ControlFlow, EventLoop, EventLoopProxy};
use winit::keyboard::ModifiersState;
use winit::window::{CursorIcon, Fullscreen, Theme, Window, WindowAttributes};

use crate::args::{Args, Glass};
use crate::link::{Inbox, Link};
use crate::model::{Action, Model};
use crate::platform::clipboard::SystemClipboard;
use crate::platform::{icon, keys};
use crate::shortcut::{self, Command};
use crate::stream::Scope;
use crate::units::Zone;
use crate::{picture, say, screen};

/// Frames a second for news of the daemon: more cannot be read.
const LIVE_HZ: u32 = 10;
/// A window that takes no picture is asked again, but not for ever: when it is seen again it says
/// so.
const REDRAW_WAIT: Duration = Duration::from_millis(100);
const REDRAWS_MAX: u8 = 20;
/// Builds until nothing changes any more; a screen that never rests is cut off here.
const PASSES_MAX: usize = 6;
/// Steps of the zoom in percent.
const ZOOMS: [u16; 9] = [80, 90, 100, 110, 125, 150, 175, 190, 200];
const ZOOM_NORMAL: usize = 2;

/// What reaches the loop from outside.
enum Outside {
    /// The inbox holds something.
    News,
    Access(accesskit_winit::Event),
}

impl From<accesskit_winit::Event> for Outside {
    fn from(event: accesskit_winit::Event) -> Self {
        Self::Access(event)
    }
}

/// Runs until the window closes. Gives the number of messages of the validation layers.
pub(crate) fn run(args: Args) -> Result<u64, String> {
    let event_loop = EventLoop::<Outside>::with_user_event().build().map_err(|error| {
        let error = error.to_string();
        // The library tells the line of its source first; nobody here can do anything with that.
        let told = error.split_once(".rs:").and_then(|(_, rest)| rest.split_once(": "));
        let reason = told.map_or(error.as_str(), |(_, reason)| reason).trim_end_matches('.');
        format!(
            "no window can be opened: {reason}; this needs a desktop (WAYLAND_DISPLAY or DISPLAY \
             set) and, on Linux, the libraries libwayland-client0 or libx11-6, libxkbcommon0 and \
             libxkbcommon-x11-0"
        )
    })?;
    event_loop.set_control_flow(ControlFlow::Wait);
    let proxy = event_loop.create_proxy();
    let waker = proxy.clone();
    let inbox = Arc::new(Inbox::new(move || {
        // The loop may have ended already: nobody is left to be told.
        let _ = waker.send_event(Outside::News);
    }));
    let link = Link::start(args.sockets(), Arc::clone(&inbox))
        .map_err(|error| format!("the connection's thread cannot be started: {error}"))?;
    let mut app = App::new(args, proxy, inbox, link);
    event_loop.run_app(&mut app).map_err(|error| format!("the window failed: {error}"))?;
    match app.failed {
        Some(reason) => Err(reason),
        None => Ok(app.validation_messages),
    }
}

/// The window once it exists. The renderer goes before the window it draws into.
struct Shown {
    renderer: Renderer,
    access: Adapter,
    window: Arc<Window>,
    scene: Option<Scene>,
    /// The scene was not drawn yet.
    stale: bool,
    cursor: CursorIcon,
    ime: bool,
}

struct App {
    args: Args,
    start: Instant,
    proxy: EventLoopProxy<Outside>,
    inbox: Arc<Inbox>,
    link: Link,
    model: Model,
    ui: Ui,
    fonts: Fonts,
    shown: Option<Shown>,
    mods: ModifiersState,
    zoom: usize,
    /// The screen has to be built again: a person did something, or time went by.
    dirty: bool,
    /// The daemon has news that are not shown yet.
    news: bool,
    news_shown: Duration,
    frames: u64,
    /// What the last frame took.
    frame_cost: Duration,
    redraws: u8,
    redraw_at: Option<Duration>,
    failed: Option<String>,
    validation_messages: u64,
}

impl App {
    fn new(args: Args, proxy: EventLoopProxy<Outside>, inbox: Arc<Inbox>, link: Link) -> Self {
        let zone = if args.utc { Zone::Utc } else { Zone::Local };
        let fonts = Fonts::with_installed();
        let ui = Ui::new(Box::new(fonts.clone()), Box::new(SystemClipboard::default()));
        Self {
            model: Model::new(zone, args.theme_wish()),
            args,
            start: Instant::now(),
            proxy,
            inbox,
            link,
            ui,
            fonts,
            shown: None,
            mods: ModifiersState::empty(),
            zoom: ZOOM_NORMAL,
            dirty: true,
            news: false,
            news_shown: Duration::ZERO,
            frames: 0,
            frame_cost: Duration::ZERO,
            redraws: 0,
            redraw_at: None,
            failed: None,
            validation_messages: 0,
        }
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Opens the window and finds a device that can draw into it.
    fn open(&mut self, event_loop: &ActiveEventLoop) -> Result<Shown, String> {
        let (w, h) = self.args.size;
        let attributes = with_app_id(
            WindowAttributes::default()
                .with_title("Grace")
                .with_window_icon(icon::window())
                .with_inner_size(LogicalSize::new(w, h))
                .with_min_inner_size(LogicalSize::new(420.0, 320.0))
                // Assistive technology wants to know the window before it is seen.
                .with_visible(false),
        );
        let window = event_loop
            .create_window(attributes)
            .map_err(|error| format!("the window cannot be opened: {error}"))?;
        let window = Arc::new(window);
        let access = Adapter::with_event_loop_proxy(event_loop, &window, self.proxy.clone());
        let size = window.inner_size();
        let options = Options {
            validation: self.args.validate,
            gpu: self.args.gpu.clone(),
            // Whether there is any glass is decided below, when the device is known.
            effects: Effects::Full,
        };
        let fonts = self.fonts.clone();
        let mut renderer =
            Renderer::new(Arc::clone(&window), (size.width, size.height), fonts, options)
                .map_err(|error| error.to_string())?;
        let notified = Arc::clone(&window);
        renderer.set_before_present(move || notified.pre_present_notify());
        let software = renderer.device().software;
        let glass = match self.args.glass {
            Glass::On => true,
            Glass::Off => false,
            Glass::Auto => !software,
        };
        self.ui.set_glass(glass);
        self.model.software_gpu = software && !glass;
        self.model.system_dark = window.theme() != Some(Theme::Light);
        if self.args.log_frames {
            let device = renderer.device();
            say(&format!("device {:?} software={} glass={glass}", device.name, device.software));
        }
        window.set_visible(true);
        Ok(Shown {
            renderer,
            access,
            window,
            scene: None,
            stale: true,
            cursor: CursorIcon::Default,
            ime: false,
        })
    }

    /// Ends with an error.
    fn fail(&mut self, event_loop: &ActiveEventLoop, reason: String) {
        self.failed = Some(reason);
        event_loop.exit();
    }

    /// Hands a person's doing to the toolkit, and what it does not want to the shortcuts.
    fn input(&mut self, event_loop: &ActiveEventLoop, input: Input) {
        let now = self.now();
        let key = if let Input::Key(press) = &input { Some(press.clone()) } else { None };
        let wanted = self.ui.input(now, input);
        self.dirty = true;
        if let Some(command) = key.filter(|_| !wanted).and_then(|press| shortcut::command(&press)) {
            self.command(event_loop, command);
        }
    }

    fn command(&mut self, event_loop: &ActiveEventLoop, command: Command) {
        match command {
            Command::Quit => event_loop.exit(),
            Command::FullScreen => {
                if let Some(shown) = &self.shown {
                    let full = shown.window.fullscreen().is_some();
                    let wish = (!full).then_some(Fullscreen::Borderless(None));
                    shown.window.set_fullscreen(wish);
                }
            }
            Command::Screenshot => {
                let path = self.args.screenshot.clone();
                self.save_picture(&path);
            }
            Command::ToggleTheme => self.apply(&Action::ToggleTheme),
            Command::FocusFilter => self.apply(&Action::AskFilter(true)),
            Command::Back => self.back(),
            Command::TogglePause => self.apply(&Action::TogglePause),
            Command::FollowTrace => self.apply(&Action::FollowTrace),
            Command::CopyRow => {
                let row = self.model.selected.and_then(|number| self.model.stream.row(number));
                if let Some(whole) = row.map(|row| row.whole.to_string()) {
                    self.ui.copy(whole);
                }
            }
            Command::ZoomIn => self.zoom = (self.zoom + 1).min(ZOOMS.len() - 1),
            Command::ZoomOut => self.zoom = self.zoom.saturating_sub(1),
            Command::ZoomReset => self.zoom = ZOOM_NORMAL,
        }
    }

    /// One step back: out of the text box, the chosen row, the filter, the part.
    fn back(&mut self) {
        if self.ui.editing() && self.model.filter.is_empty() {
            self.ui.unfocus();
        } else if self.model.selected.is_some() {
            self.apply(&Action::AskDeselect(true));
        } else if !self.model.filter.is_empty() {
            self.apply(&Action::Filter(String::new()));
        } else {
            self.apply(&Action::Show(Scope::Everything));
        }
    }

    fn apply(&mut self, action: &Action) {
        if *action == Action::RetryNow {
            self.link.try_now();
        }
        self.model.apply(action);
        self.dirty = true;
    }

    /// Builds the screen until it rests, and asks for a frame if it differs from what is shown.
    fn refresh(&mut self) {
        let Some(shown) = &self.shown else { return };
        let size = shown.window.inner_size();
        let zoom = ZOOMS.get(self.zoom).copied().unwrap_or(100);
        #[expect(clippy::cast_possible_truncation, reason = "scale factors are small")]
        let scale = shown.window.scale_factor() as f32 * f32::from(zoom) / 100.0;
        let now = self.now();
        self.model.tick(now);
        let frame = Frame { size: (size.width, size.height), scale, now };
        for _ in 0..PASSES_MAX {
            self.ui.set_theme(if self.model.dark() { theme::DARK } else { theme::LIGHT });
            self.ui.begin(frame);
            let actions = screen::overview(&self.model, &mut self.ui);
            let settled = self.ui.end();
            for action in &actions {
                self.apply(action);
            }
            if actions.is_empty() && settled == Settled::Yes {
                break;
            }
        }
        self.dirty = false;
        let scene = paint::scene(&self.ui);
        let Some(shown) = &mut self.shown else { return };
        shown.follow(&mut self.ui);
        if shown.scene.as_ref() != Some(&scene) {
            shown.scene = Some(scene);
            shown.stale = true;
            shown.access.update_if_active(|| access::tree(&self.ui));
            shown.window.request_redraw();
        }
    }

    /// Takes the daemon's news, not more often than they can be read.
    fn take_news(&mut self) {
        let now = self.now();
        if !self.news || now < self.news_due() {
            return;
        }
        self.news = false;
        self.news_shown = now;
        for update in self.inbox.take() {
            self.model.update(now, update);
        }
        self.dirty = true;
    }

    fn news_due(&self) -> Duration {
        if self.frames == 0 {
            return Duration::ZERO;
        }
        // A slow device gets time for other things: at most a third of it goes into drawing.
        let wait = (Duration::from_secs(1) / LIVE_HZ).max(self.frame_cost * 3);
        self.news_shown + wait
    }

    fn draw(&mut self) -> Result<(), String> {
        if self.shown.as_ref().is_some_and(|shown| shown.scene.is_none()) {
            self.refresh();
        }
        let Some(shown) = &mut self.shown else { return Ok(()) };
        let Some(scene) = &shown.scene else { return Ok(()) };
        if !shown.stale {
            shown.renderer.expose();
        }
        let report = shown.renderer.render(scene).map_err(|error| error.to_string())?;
        if !report.drawn {
            // The window takes no picture now: hidden, or busy with the last one.
            let again = shown.stale && self.redraws < REDRAWS_MAX;
            self.redraw_at = again.then(|| self.start.elapsed() + REDRAW_WAIT);
            self.redraws += u8::from(again);
            return Ok(());
        }
        shown.stale = false;
        (self.redraws, self.redraw_at) = (0, None);
        self.frames += 1;
        self.frame_cost = report.cpu_time;
        if self.args.log_frames {
            let area = report.damage.iter().fold(0.0, |sum, rect| sum + rect.w * rect.h);
            let (frame, parts) = (self.frames, report.damage.len());
            let (glass, ms) = (report.glass_chains, report.cpu_time.as_secs_f64() * 1e3);
            say(&format!("frame n={frame} damage={parts}:{area} glass={glass} ms={ms:.2}"));
        }
        Ok(())
    }

    fn save_picture(&mut self, path: &std::path::Path) {
        let Some(shown) = &mut self.shown else { return };
        let saved = shown
            .renderer
            .read_pixels()
            .map_err(|error| error.to_string())
            .and_then(|shot| picture::save(&shot, path).map_err(|error| error.to_string()));
        match saved {
            Ok(()) => say(&format!("wrote {}", path.display())),
            Err(error) => say(&format!("cannot write {}: {error}", path.display())),
        }
    }
}

impl Shown {
    /// The pointer's shape and the input method follow what the toolkit knows.
    fn follow(&mut self, ui: &mut Ui) {
        let cursor = keys::cursor(ui.cursor());
        if cursor != self.cursor {
            self.cursor = cursor;
            self.window.set_cursor(cursor);
        }
        let caret = ui.caret();
        if caret.is_some() != self.ime {
            self.ime = caret.is_some();
            self.window.set_ime_allowed(self.ime);
        }
        if let Some(area) = caret {
            let at = LogicalPosition::new(area.x, area.y);
            self.window.set_ime_cursor_area(at, LogicalSize::new(area.w, area.h));
        }
    }
}

/// The name under which the desktop finds our icon and groups our windows.
#[cfg(target_os = "linux")]
fn with_app_id(attributes: WindowAttributes) -> WindowAttributes {
    use winit::platform::wayland::WindowAttributesExtWayland;
    use winit::platform::x11::WindowAttributesExtX11;
    // The Wayland name and the X11 class are one field of winit's attributes.
    let attributes =
        WindowAttributesExtWayland::with_name(attributes, "grace-console", "grace-console");
    WindowAttributesExtX11::with_name(attributes, "grace-console", "grace-console")
}

#[cfg(not(target_os = "linux"))]
fn with_app_id(attributes: WindowAttributes) -> WindowAttributes {
    attributes
}
