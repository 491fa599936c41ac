//! The fonts and what a text measures in them; the toolkit lays out with it, the renderer draws
//! with it.
//!
//! Invariants: with [`Fonts::bundled`] a layout depends on nothing outside the program (private
//! font database, fixed locale), so every machine breaks lines at the same places. A text is shaped
//! once and then found again by its words and style. No GPU is needed.
//! Not here: rasterizing glyphs and drawing (`vulkan::glyphs`), positions inside a text (`layout`).

pub mod layout;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use glyphon::cosmic_text::{
    Attrs, Buffer, Ellipsize, EllipsizeHeightLimit, Fallback, Family as FamilyName, FeatureTag,
    FontFeatures, FontSystem, Metrics, PlatformFallback, Shaping, Weight, Wrap, fontdb,
};

use crate::region::PixelRect;
use crate::scene::{Family, Rect, Text, TextStyle};
use crate::text::layout::Layout;

/// Longer texts are cut: nothing on a screen is longer, and shaping time grows with length.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Layouts kept; a full screen of rows has about a thousand. The older half goes when it is full.
const LAYOUTS_MAX: usize = 4096;

/// The family names as the font files spell them.
const SANS: &str = "Inter";
const MONO: &str = "JetBrains Mono";
const SYMBOLS: &str = "Grace Symbols";

/// The bundled files: three weights of each family.
const BUNDLE: [&[u8]; 9] = [
    include_bytes!("../../../assets/fonts/Inter-Regular.otf"),
    include_bytes!("../../../assets/fonts/Inter-Medium.otf"),
    include_bytes!("../../../assets/fonts/Inter-SemiBold.otf"),
    include_bytes!("../../../assets/fonts/JetBrainsMono-Regular.ttf"),
    include_bytes!("../../../assets/fonts/JetBrainsMono-Medium.ttf"),
    include_bytes!("../../../assets/fonts/JetBrainsMono-SemiBold.ttf"),
    include_bytes!("../../../assets/fonts/GraceSymbols-Regular.ttf"),
    include_bytes!("../../../assets/fonts/GraceSymbols-Medium.ttf"),
    include_bytes!("../../../assets/fonts/GraceSymbols-SemiBold.ttf"),
];

/// The fonts and the layouts made with them. Clones share everything.
#[derive(Clone)]
pub struct Fonts {
    inner: Arc<Mutex<Inner>>,
}

/// What a text measures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    /// Width of the longest line in pixels.
    pub width: f32,
    /// Height of all line boxes in pixels.
    pub height: f32,
    /// Number of lines, at least 1.
    pub lines: usize,
}

/// What the lock guards.
pub(crate) struct Inner {
    pub(crate) system: FontSystem,
    installed: Installed,
    layouts: HashMap<Key, HashMap<Arc<str>, Entry>>,
    layouts_count: usize,
    /// Counts look-ups; says which layouts were used last.
    clock: u64,
}

/// Whether the fonts installed on this machine may stand in for missing scripts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Installed {
    Never,
    WhenNeeded,
    Loaded,
}

/// Everything but the words that decides a layout.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    family: Family,
    size_bits: u32,
    line_height_bits: u32,
    weight: u16,
    tabular: bool,
    max_width_bits: u32,
    wrap: bool,
}

struct Entry {
    layout: Arc<Layout>,
    used: u64,
}

impl Fonts {
    /// The bundled fonts only: what they lack shows as an empty box. For tests.
    pub fn bundled() -> Self {
        Self::new(Installed::Never)
    }

    /// The bundled fonts, and the installed ones (found when first needed) for scripts they lack.
    pub fn with_installed() -> Self {
        Self::new(Installed::WhenNeeded)
    }

    fn new(installed: Installed) -> Self {
        let mut db = fontdb::Database::new();
        for file in BUNDLE {
            db.load_font_source(fontdb::Source::Binary(Arc::new(file)));
        }
        let inner = Inner {
            system: font_system(db),
            installed,
            layouts: HashMap::new(),
            layouts_count: 0,
            clock: 0,
        };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// What `text` measures. `max_width` and `wrap` mean what they mean in [`crate::scene::Text`].
    pub fn measure(&self, text: &str, style: TextStyle, max_width: f32, wrap: bool) -> Size {
        self.layout(text, style, max_width, wrap).size()
    }

    /// The lines of `text`: for carets, selections and hits.
    pub fn layout(&self, text: &str, style: TextStyle, max_width: f32, wrap: bool) -> Arc<Layout> {
        self.lock().layout(text, style, max_width, wrap)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves at worst a layout missing from the cache.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// A text as wide as it wants is laid out once; one that fits `max_width` is that same layout.
    pub(crate) fn layout(
        &mut self,
        text: &str,
        style: TextStyle,
        max_width: f32,
        wrap: bool,
    ) -> Arc<Layout> {
        let text = cut(text);
        let natural = self.cached(text, &Key::new(style, f32::INFINITY, false));
        // Half a hundredth: what was measured must fit what was measured.
        if !max_width.is_finite() || natural.size().width <= max_width + 0.005 {
            return natural;
        }
        self.cached(text, &Key::new(style, max_width.max(0.0), wrap))
    }

    fn cached(&mut self, text: &str, key: &Key) -> Arc<Layout> {
        self.clock += 1;
        let used = self.clock;
        if let Some(entry) = self.layouts.get_mut(key).and_then(|texts| texts.get_mut(text)) {
            entry.used = used;
            return Arc::clone(&entry.layout);
        }
        if self.layouts_count >= LAYOUTS_MAX {
            self.forget_older_half();
        }
        let layout = Arc::new(self.shape(text, key));
        let entry = Entry { layout: Arc::clone(&layout), used };
        self.layouts.entry(*key).or_default().insert(Arc::from(text), entry);
        self.layouts_count += 1;
        layout
    }

    fn shape(&mut self, text: &str, key: &Key) -> Layout {
        let layout = key.shape(&mut self.system, text, key.weight);
        if !layout.has_missing() || self.installed == Installed::Never {
            return layout;
        }
        if self.installed == Installed::WhenNeeded {
            self.load_installed();
        }
        let layout = key.shape(&mut self.system, text, key.weight);
        // Fallback wants the exact weight, and most installed fonts come in regular only.
        if layout.has_missing() && key.weight != Weight::NORMAL.0 {
            return key.shape(&mut self.system, text, Weight::NORMAL.0);
        }
        layout
    }

    fn load_installed(&mut self) {
        self.installed = Installed::Loaded;
        let empty = FontSystem::new_with_locale_and_db(LOCALE.into(), fontdb::Database::new());
        let (_, mut db) = std::mem::replace(&mut self.system, empty).into_locale_and_db();
        db.load_system_fonts();
        self.system = font_system(db);
    }

    fn forget_older_half(&mut self) {
        let mut stamps: Vec<u64> =
            self.layouts.values().flat_map(|texts| texts.values().map(|e| e.used)).collect();
        let middle = stamps.len() / 2;
        let (_, &mut oldest_kept, _) = stamps.select_nth_unstable(middle);
        self.layouts.retain(|_, texts| {
            texts.retain(|_, entry| entry.used >= oldest_kept);
            !texts.is_empty()
        });
        self.layouts_count = self.layouts.values().map(HashMap::len).sum();
    }
}

impl Key {
    /// Absurd figures are brought into range: a layout never fails.
    fn new(style: TextStyle, max_width: f32, wrap: bool) -> Self {
        let size = if style.size.is_finite() { style.size.clamp(1.0, 512.0) } else { 1.0 };
        let line_height =
            if style.line_height.is_finite() { style.line_height.clamp(1.0, 1024.0) } else { size };
        Self {
            family: style.family,
            size_bits: size.to_bits(),
            line_height_bits: line_height.to_bits(),
            weight: style.weight,
            tabular: style.tabular,
            max_width_bits: max_width.to_bits(),
            wrap,
        }
    }

    fn shape(&self, system: &mut FontSystem, text: &str, weight: u16) -> Layout {
        let line_height = f32::from_bits(self.line_height_bits);
        let metrics = Metrics::new(f32::from_bits(self.size_bits), line_height);
        let mut buffer = Buffer::new_empty(metrics);
        let max_width = f32::from_bits(self.max_width_bits);
        if self.wrap {
            buffer.set_wrap(Wrap::WordOrGlyph);
        } else {
            buffer.set_wrap(Wrap::None);
            if max_width.is_finite() {
                buffer.set_ellipsize(Ellipsize::End(EllipsizeHeightLimit::Lines(1)));
            }
        }
        buffer.set_size(max_width.is_finite().then_some(max_width), None);

        let family = match self.family {
            Family::Sans => SANS,
            Family::Mono => MONO,
        };
        let mut features = FontFeatures::new();
        if self.family == Family::Sans {
            // A zero that is no O: ids and addresses are read letter by letter.
            features.enable(FeatureTag::new(b"zero"));
            if self.tabular {
                features.enable(FeatureTag::new(b"tnum"));
            }
        }
        let attrs = Attrs::new()
            .family(FamilyName::Name(family))
            .weight(Weight(weight))
            .font_features(features);
        let text = layout::without_controls(text);
        buffer.set_text(&text, &attrs, Shaping::Advanced, None);
        buffer.shape_until_scroll(system, false);
        Layout::new(buffer, &text, line_height)
    }
}

/// One locale everywhere: it chooses among regional letter forms, and tests compare pictures.
const LOCALE: &str = "en-US";

fn font_system(db: fontdb::Database) -> FontSystem {
    FontSystem::new_with_locale_and_db_and_fallback(LOCALE.into(), db, HouseFallback::new())
}

static PLATFORM: PlatformFallback = PlatformFallback;

/// The bundled families stand in for each other before any installed font is asked.
struct HouseFallback {
    common: Vec<&'static str>,
}

impl HouseFallback {
    fn new() -> Self {
        let mut common = vec![SYMBOLS, SANS, MONO];
        common.extend_from_slice(PLATFORM.common_fallback());
        Self { common }
    }
}

impl Fallback for HouseFallback {
    fn common_fallback(&self) -> &[&'static str] {
        &self.common
    }

    fn forbidden_fallback(&self) -> &[&'static str] {
        &[]
    }

    fn script_fallback(&self, script: unicode_script::Script, locale: &str) -> &[&'static str] {
        PLATFORM.script_fallback(script, locale)
    }
}

/// The pixels a text may touch: its lines and what letters reach beyond them. Drawing is clipped to
/// it, so that even a tower of combining marks stays inside.
pub(crate) fn bounds(text: &Text, size: Size) -> PixelRect {
    let reach = (text.style.size * 0.5).ceil() + 1.0;
    let line = Rect {
        x: text.x - reach,
        y: text.y - reach,
        w: size.width + 2.0 * reach,
        h: size.height + 2.0 * reach,
    };
    PixelRect::covering(line).intersection(PixelRect::covering(text.clip))
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or(text)
}
