//! One picture with everything the renderer can draw, in a window or as a PNG file.
//!
//! `gallery [--light] [--blur|--plain] [--size WxH] [--validate] [--png FILE] [--bench]
//! [--frames N] [--move]`
//! In the window: any key moves the palette, Escape ends. `--frames` ends after so many drawn
//! frames, `--move` keeps the palette moving. Exits with 3 if the validation layers spoke.

use std::env;
use std::error::Error;
use std::fs::File;
use std::sync::Arc;
use std::time::Instant;

use grace_gpu::renderer::{Effects, Options, Renderer};
use grace_gpu::scene::{Color, Family, Glass, Line, Quad, Rect, Scene, Stratum, Text, TextStyle};
use grace_gpu::text::Fonts;
use winit::application::ApplicationHandler;
use winit::dpi::PhysicalSize;
use winit::event::WindowEvent;
use winit::event_loop::{ActiveEventLoop, EventLoop};
use winit::keyboard::{Key, NamedKey};
use winit::window::{Window, WindowId};

fn main() -> Result<(), Box<dyn Error>> {
    let wishes = Wishes::parse()?;
    let messages = match &wishes.png {
        _ if wishes.is_bench => bench(&wishes)?,
        Some(path) => save(path, &wishes)?,
        None => show(wishes)?,
    };
    if messages > 0 {
        std::process::exit(3);
    }
    Ok(())
}

/// The command line.
struct Wishes {
    is_light: bool,
    size: (u32, u32),
    png: Option<String>,
    is_bench: bool,
    frames_max: Option<u32>,
    moves: bool,
    options: Options,
}

impl Wishes {
    fn parse() -> Result<Self, Box<dyn Error>> {
        let mut wishes = Self {
            is_light: false,
            size: (1280, 800),
            png: None,
            is_bench: false,
            frames_max: None,
            moves: false,
            options: Options::default(),
        };
        let mut words = env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--light" => wishes.is_light = true,
                "--blur" => wishes.options.effects = Effects::Full,
                "--plain" => wishes.options.effects = Effects::Reduced,
                "--validate" => wishes.options.validation = true,
                "--bench" => wishes.is_bench = true,
                "--move" => wishes.moves = true,
                "--png" => wishes.png = words.next(),
                "--frames" => wishes.frames_max = Some(words.next().ok_or("how many?")?.parse()?),
                "--size" => {
                    let size = words.next().ok_or("what size?")?;
                    let (w, h) = size.split_once('x').ok_or("a size is WIDTHxHEIGHT")?;
                    wishes.size = (w.parse()?, h.parse()?);
                }
                other => return Err(format!("unknown: {other}").into()),
            }
        }
        Ok(wishes)
    }
}

fn save(path: &str, wishes: &Wishes) -> Result<u64, Box<dyn Error>> {
    let fonts = Fonts::bundled();
    let mut renderer = Renderer::offscreen(wishes.size, fonts.clone(), wishes.options.clone())?;
    let report = renderer.render(&picture(wishes.size, wishes.is_light, 0, &fonts))?;
    say(&format!("{:?}: {report:?}", renderer.device()));
    let picture = renderer.read_pixels()?;
    let mut encoder = png::Encoder::new(File::create(path)?, picture.width, picture.height);
    encoder.set_color(png::ColorType::Rgba);
    encoder.write_header()?.write_image_data(&picture.rgba)?;
    for message in renderer.validation_log() {
        say(&message);
    }
    Ok(renderer.validation_messages())
}

/// Frames a second without a window: nothing, one row, and everything changing.
fn bench(wishes: &Wishes) -> Result<u64, Box<dyn Error>> {
    const FRAMES: u32 = 100;
    let fonts = Fonts::bundled();
    let mut renderer = Renderer::offscreen(wishes.size, fonts.clone(), wishes.options.clone())?;
    let scene = picture(wishes.size, wishes.is_light, 0, &fonts);
    renderer.render(&scene)?;
    let mut time = |name: &str, change: &dyn Fn(&mut Scene, u32)| {
        let mut drawn_count = 0;
        let start = Instant::now();
        for frame in 0..FRAMES {
            let mut scene = scene.clone();
            change(&mut scene, frame);
            drawn_count += u32::from(renderer.render(&scene)?.drawn);
        }
        renderer.read_pixels()?;
        let each = start.elapsed() / FRAMES;
        say(&format!("{name}: {each:?} a frame, {drawn_count} drawn"));
        Ok::<_, Box<dyn Error>>(())
    };
    time("nothing", &|_, _| ())?;
    time("one row", &|scene, frame| {
        let row = scene.strata.first_mut().and_then(|stratum| stratum.texts.last_mut());
        if let Some(row) = row {
            row.text = Arc::from(format!("{frame} of a hundred"));
        }
    })?;
    time("everything", &|scene, frame| scene.background.r = if frame % 2 == 0 { 9 } else { 10 })?;
    Ok(renderer.validation_messages())
}

fn show(wishes: Wishes) -> Result<u64, Box<dyn Error>> {
    let events = EventLoop::new()?;
    let fonts = Fonts::with_installed();
    let mut app =
        App { wishes, fonts, shown: None, step: 0, frames: 0, messages: 0, failure: None };
    events.run_app(&mut app)?;
    say(&format!("{} frames drawn, {} validation messages", app.frames, app.messages));
    match app.failure {
        Some(failure) => Err(failure.into()),
        None => Ok(app.messages),
    }
}

struct App {
    wishes: Wishes,
    fonts: Fonts,
    shown: Option<(Renderer, Arc<Window>)>,
    step: u32,
    frames: u32,
    messages: u64,
    failure: Option<String>,
}

impl App {
    fn open(&mut self, events: &ActiveEventLoop) -> Result<(), Box<dyn Error>> {
        let (width, height) = self.wishes.size;
        let attributes = Window::default_attributes()
            .with_title("Grace gallery")
            .with_inner_size(PhysicalSize::new(width, height));
        let window = Arc::new(events.create_window(attributes)?);
        let size = window.inner_size();
        let mut renderer = Renderer::new(
            Arc::clone(&window),
            (size.width, size.height),
            self.fonts.clone(),
            self.wishes.options.clone(),
        )?;
        let notified = Arc::clone(&window);
        renderer.set_before_present(move || notified.pre_present_notify());
        say(&format!("{:?}", renderer.device()));
        window.request_redraw();
        self.shown = Some((renderer, window));
        Ok(())
    }

    fn draw(&mut self, events: &ActiveEventLoop) {
        let Some((renderer, window)) = &mut self.shown else { return };
        let size = window.inner_size();
        let scene =
            picture((size.width, size.height), self.wishes.is_light, self.step, &self.fonts);
        match renderer.render(&scene) {
            Ok(report) if report.drawn => {
                self.frames += 1;
                say(&format!("{}x{} {:?}", size.width, size.height, report.cpu_time));
            }
            Ok(report) if report.postponed => window.request_redraw(),
            Ok(_) => {}
            Err(e) => {
                self.failure = Some(e.to_string());
                events.exit();
            }
        }
        self.messages = renderer.validation_messages();
        if self.wishes.frames_max.is_some_and(|max| max <= self.frames) {
            events.exit();
        } else if self.wishes.moves {
            self.step += 1;
            window.request_redraw();
        }
    }
}

impl ApplicationHandler for App {
    fn resumed(&mut self, events: &ActiveEventLoop) {
        if let Err(e) = self.open(events) {
            self.failure = Some(e.to_string());
            events.exit();
        }
    }

    fn window_event(&mut self, events: &ActiveEventLoop, _: WindowId, event: WindowEvent) {
        let Some((renderer, window)) = &mut self.shown else { return };
        match event {
            WindowEvent::CloseRequested => events.exit(),
            WindowEvent::Resized(size) => {
                renderer.resize(size.width, size.height);
                window.request_redraw();
            }
            WindowEvent::KeyboardInput { event, .. } if event.state.is_pressed() => {
                if event.logical_key == Key::Named(NamedKey::Escape) {
                    events.exit();
                }
                self.step += 1;
                window.request_redraw();
            }
            WindowEvent::RedrawRequested => self.draw(events),
            _ => {}
        }
    }

    fn exiting(&mut self, _: &ActiveEventLoop) {
        if let Some((renderer, _)) = &self.shown {
            for message in renderer.validation_log() {
                say(&message);
            }
        }
        // The renderer goes before the connection to the display.
        self.shown = None;
    }
}

#[expect(clippy::print_stderr, reason = "an example talks to its user")]
fn say(line: &str) {
    eprintln!("{line}");
}

/// The colors of the design, dark and light.
struct Theme {
    bg: [Color; 4],
    line: Color,
    text: [Color; 3],
    accent: Color,
    fill: Color,
    states: [Color; 4],
}

const DARK: Theme = Theme {
    bg: [
        Color::rgb(0x0A_0E_12),
        Color::rgb(0x11_15_1B),
        Color::rgb(0x18_1D_24),
        Color::rgb(0x22_28_31),
    ],
    line: Color::rgb(0x2F_36_3F),
    text: [Color::rgb(0xEC_EF_F2), Color::rgb(0xB2_B8_C0), Color::rgb(0x8C_93_9C)],
    accent: Color::rgb(0x4D_B7_EE),
    fill: Color::rgb(0x00_7C_BD),
    states: [
        Color::rgb(0x46_D1_93),
        Color::rgb(0xF5_B8_45),
        Color::rgb(0xF6_6D_67),
        Color::rgb(0xB3_96_E8),
    ],
};

const LIGHT: Theme = Theme {
    bg: [
        Color::rgb(0xF2_F4_F6),
        Color::rgb(0xF9_FA_FC),
        Color::rgb(0xFF_FF_FF),
        Color::rgb(0xE7_EA_ED),
    ],
    line: Color::rgb(0xD6_D9_DE),
    text: [Color::rgb(0x14_1B_24), Color::rgb(0x46_4E_58), Color::rgb(0x5F_67_72)],
    accent: Color::rgb(0x00_68_AD),
    fill: Color::rgb(0x00_68_AD),
    states: [
        Color::rgb(0x00_77_42),
        Color::rgb(0x92_5B_00),
        Color::rgb(0xC2_27_2D),
        Color::rgb(0x73_47_AF),
    ],
};

/// A pen over one stratum.
struct Pen<'a> {
    stratum: Stratum,
    clip: Rect,
    theme: &'a Theme,
    fonts: &'a Fonts,
}

impl Pen<'_> {
    fn quad(&mut self, rect: Rect, radius: f32, fill: [Color; 2], border: Option<Color>) {
        self.stratum.quads.push(Quad {
            rect,
            clip: self.clip,
            fill,
            radius,
            border_width: if border.is_some() { 1.0 } else { 0.0 },
            border: border.unwrap_or(Color::TRANSPARENT),
            shadow_sigma: 0.0,
        });
    }

    fn text(&mut self, (x, y): (f32, f32), size: f32, weight: u16, color: Color, text: &str) {
        self.label((x, y), (size, weight), Family::Sans, (color, f32::INFINITY), text);
    }

    fn mono(&mut self, (x, y): (f32, f32), color: Color, text: &str, max_width: f32) {
        self.label((x, y), (12.0, 400), Family::Mono, (color, max_width), text);
    }

    fn label(
        &mut self,
        (x, y): (f32, f32),
        (size, weight): (f32, u16),
        family: Family,
        (color, max_width): (Color, f32),
        text: &str,
    ) {
        let line_height = (size * 1.5).round();
        let style = TextStyle { family, size, line_height, weight, tabular: true };
        self.stratum.texts.push(Text {
            text: Arc::from(text),
            style,
            color,
            x,
            y,
            max_width,
            wrap: false,
            clip: self.clip,
        });
    }

    fn card(&mut self, rect: Rect) {
        let theme = self.theme;
        self.quad(rect, 12.0, [theme.bg[2]; 2], Some(theme.line));
    }

    fn button(&mut self, (x, y): (f32, f32), text: &str) {
        let style = TextStyle {
            family: Family::Sans,
            size: 13.0,
            line_height: 20.0,
            weight: 500,
            tabular: false,
        };
        let width = self.fonts.measure(text, style, f32::INFINITY, false).width;
        let rect = Rect { x, y, w: (width + 28.0).round(), h: 32.0 };
        let fill = self.theme.fill;
        self.quad(rect, 8.0, [fill, fill], None);
        let white = Color::rgb(0xFF_FF_FF);
        self.text((x + 14.0, y + 6.0), 13.0, 500, white, text);
    }
}

fn picture(size: (u32, u32), is_light: bool, step: u32, fonts: &Fonts) -> Scene {
    let theme = if is_light { &LIGHT } else { &DARK };
    let (w, h) = (size.0 as f32, size.1 as f32);
    let clip = Rect { x: 0.0, y: 0.0, w, h };
    let pen = || Pen { stratum: Stratum::default(), clip, theme, fonts };
    let strata = vec![page(pen(), w, h), shade(pen(), w), palette(pen(), w, step)];
    Scene { size, background: theme.bg[0], strata }
}

fn page(mut pen: Pen<'_>, w: f32, h: f32) -> Stratum {
    let theme = pen.theme;
    let glow = [theme.accent.alpha(34), theme.accent.alpha(0)];
    pen.quad(Rect { x: 0.0, y: 0.0, w, h: h * 0.6 }, 0.0, glow, None);
    let bar = [theme.bg[1]; 2];
    pen.quad(Rect { x: 0.0, y: 0.0, w: 216.0, h }, 0.0, bar, None);
    pen.quad(Rect { x: 215.0, y: 0.0, w: 1.0, h }, 0.0, [theme.line; 2], None);
    for (at, name) in ["Overview", "Messages", "Queue", "Sessions", "Quarantine"].iter().enumerate()
    {
        let y = 82.0 + 32.0 * at as f32;
        if at == 0 {
            let here = theme.accent.alpha(40);
            pen.quad(Rect { x: 10.0, y, w: 196.0, h: 30.0 }, 6.0, [here; 2], None);
        }
        let (weight, color) = if at == 0 { (600, theme.text[0]) } else { (400, theme.text[1]) };
        pen.text((48.0, y + 5.0), 13.0, weight, color, name);
    }
    pen.text((240.0, 16.0), 18.0, 600, theme.text[0], "Overview");
    pen.button((w - 150.0, 12.0), "Unlock to fix…");
    for (at, signs) in ["●◐▲‖◆○", "✓✕→←↵⇧⇄", "▸▾▴◂⊘✉⌕", "⚙ℹ☐☑☰⋮⋯⟳🔒"].iter().enumerate()
    {
        pen.text((20.0, 300.0 + 36.0 * at as f32), 18.0, 400, theme.text[1], signs);
        pen.text((20.0, 460.0 + 28.0 * at as f32), 13.0, 500, theme.text[1], signs);
    }
    let tiles = [("Received /min", "38"), ("Queue", "18"), ("Rejected 1 h", "1 204")];
    for (at, (name, figure)) in tiles.iter().enumerate() {
        let x = 240.0 + 240.0 * at as f32;
        pen.card(Rect { x, y: 64.0, w: 224.0, h: 96.0 });
        pen.text((x + 16.0, 76.0), 12.0, 400, theme.text[2], name);
        pen.text((x + 16.0, 98.0), 26.0, 600, theme.text[0], figure);
        let color = theme.states.get(at).copied().unwrap_or(theme.accent);
        sparkline(&mut pen, (x + 120.0, 120.0), color, at);
    }
    rows(&mut pen, w, h);
    pen.stratum
}

fn sparkline(pen: &mut Pen<'_>, (x, y): (f32, f32), color: Color, seed: usize) {
    let points = (0..26).map(|at| {
        let t = at as f32 + seed as f32 * 5.0;
        [x + at as f32 * 3.4, y + (t * 0.7).sin() * 9.0 + (t * 1.9).cos() * 6.0]
    });
    let points = points.collect();
    pen.stratum.lines.push(Line { points, clip: pen.clip, width: 1.5, color });
}

fn rows(pen: &mut Pen<'_>, w: f32, h: f32) {
    let theme = pen.theme;
    pen.card(Rect { x: 240.0, y: 184.0, w: w - 264.0, h: h - 208.0 });
    pen.text((260.0, 196.0), 15.0, 600, theme.text[0], "Live");
    let states = ["● delivered", "◐ deferred", "▲ failed", "◆ spam"];
    for at in 0..15 {
        let y = 232.0 + 32.0 * at as f32;
        let state = at % 4;
        let color = theme.states.get(state).copied().unwrap_or(theme.accent);
        pen.mono(
            (260.0, y + 7.0),
            theme.text[2],
            &format!("13:04:{:02}.{:03}", 40 - at, at * 61),
            f32::INFINITY,
        );
        let who = "anna@partner.example → info@example.org";
        pen.text((380.0, y + 6.0), 13.0, 400, theme.text[0], who);
        let word = states.get(state).copied().unwrap_or_default();
        pen.text((700.0, y + 6.0), 13.0, 500, color, word);
        let code = "421 4.7.28 unusual rate of mail originating from your address";
        pen.mono((820.0, y + 7.0), theme.text[1], code, w - 864.0);
    }
}

fn shade(mut pen: Pen<'_>, w: f32) -> Stratum {
    pen.stratum.quads.push(Quad {
        rect: palette_rect(w, 0),
        clip: pen.clip,
        fill: [Color::rgb(0).alpha(115); 2],
        radius: 16.0,
        border_width: 0.0,
        border: Color::TRANSPARENT,
        shadow_sigma: 16.0,
    });
    pen.stratum
}

fn palette_rect(w: f32, step: u32) -> Rect {
    let x = (w * 0.5 - 280.0).round() + (step % 80) as f32 * 2.0;
    Rect { x, y: 140.0, w: 560.0, h: 240.0 }
}

fn palette(mut pen: Pen<'_>, w: f32, step: u32) -> Stratum {
    let theme = pen.theme;
    let rect = palette_rect(w, step);
    pen.stratum.glass.push(Glass {
        rect,
        radius: 16.0,
        tint: theme.bg[3].alpha(166),
        iterations: 3,
        offset: 4.25,
        edge: Color::rgb(0xFF_FF_FF).alpha(26),
    });
    pen.quad(rect, 16.0, [Color::TRANSPARENT; 2], Some(theme.line.alpha(160)));
    let (x, y) = (rect.x, rect.y);
    pen.text((x + 24.0, y + 18.0), 15.0, 400, theme.text[0], "› 203.0.113.7");
    pen.quad(Rect { x: x + 1.0, y: y + 56.0, w: 558.0, h: 1.0 }, 0.0, [theme.line; 2], None);
    let lines = [
        "Banned until 15:10 — 5 wrong passwords",
        "Unban",
        "Allow for good…",
        "14 messages from this IP today",
    ];
    for (at, line) in lines.iter().enumerate() {
        let y = y + 72.0 + 36.0 * at as f32;
        if at == 1 {
            let here = theme.accent.alpha(46);
            let bar = Rect { x: x + 10.0, y: y - 4.0, w: 540.0, h: 32.0 };
            pen.quad(bar, 6.0, [here; 2], Some(theme.accent.alpha(120)));
        }
        let color = if at == 0 { theme.text[1] } else { theme.text[0] };
        pen.text((x + 24.0, y + 2.0), 13.0, 400, color, line);
    }
    pen.stratum
}
