//! How a source file is written: its head, its width, the length of its functions, and what never
//! stands in one.

use crate::tree::{self, File, nothing_breaks};

/// Longest line, in characters.
const COLUMNS_MAX: usize = 100;
/// Longest function, in lines from its head to its brace. Clippy counts without comments; this is
/// what a reader scrolls.
const FUNCTION_LINES_MAX: usize = 100;
/// A head stands within the first lines.
const HEAD_LINES: usize = 30;

/// Words that mean unfinished. Written in two halves, so that this list does not find itself.
const UNFINISHED: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
    concat!("HA", "CK:"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
];

/// Paths of one machine, and words about how the work was organised: neither means anything to who
/// reads this in another place.
const LOCAL: &[&str] = &[
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("/ho", "me/"),
    concat!("/fa", "rm/"),
    concat!("/tmp/", "scratch"),
    concat!("this ", "session's issue"),
    concat!("sub", "agent"),
    concat!("language ", "model"),
];

/// What a file of another kind than code may hold without being looked at: foreign texts.
const FOREIGN: &[&str] = &["Cargo.lock", "assets/fonts/", "tests/corpus/", "docs/third-party.md"];

fn is_foreign(file: &File) -> bool {
    FOREIGN.iter().any(|path| file.path.starts_with(path)) || file.bytes.contains(&0)
}

/// Sources that are inputs of a test of the compiler, not code of ours.
fn is_fixture(file: &File) -> bool {
    file.path.contains("/tests/ui/") || file.path.contains("/fuzz_targets/")
}

/// Every line that `broken` names a reason for, as `path:line: reason`.
fn lines(files: &[File], broken: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut places = Vec::new();
    for file in files {
        for (number, line) in file.text().lines().enumerate() {
            if let Some(reason) = broken(line) {
                places.push(format!("{}:{}: {reason}", file.path, number + 1));
            }
        }
    }
    places
}

fn text_files() -> Vec<File> {
    tree::files().into_iter().filter(|file| !is_foreign(file)).collect()
}

#[test]
fn every_source_says_what_it_is() {
    let mut broken = Vec::new();
    for file in tree::with_extension("rs").iter().filter(|file| !is_fixture(file)) {
        let text = file.text();
        let head = text.lines().take(HEAD_LINES).find(|line| !line.is_empty()).unwrap_or_default();
        if !head.starts_with("//!") {
            broken.push(file.path.clone());
        }
    }
    for file in text_files() {
        let text = file.text();
        let (first, second) = (text.lines().next(), text.lines().nth(1));
        let head = match (file.path.rsplit('.').next(), first) {
            (Some("wgsl"), Some(first)) => first.starts_with("//"),
            (Some("py"), Some(first)) => first.starts_with("\"\"\"") || first.starts_with('#'),
            (_, Some(first)) if first.starts_with("#!") && !first.starts_with("#![") => {
                second.is_some_and(|second| second.starts_with('#'))
            }
            _ => true,
        };
        if !head {
            broken.push(file.path);
        }
    }
    nothing_breaks("a source opens with what it is and what is not in it", &broken);
}

#[test]
fn nothing_is_unfinished() {
    let places = lines(&text_files(), |line| {
        UNFINISHED.iter().find(|word| line.contains(**word)).map(|word| (*word).to_owned())
    });
    nothing_breaks("what is to be done is done or not begun", &places);
}

#[test]
fn nothing_names_one_machine() {
    let places = lines(&text_files(), |line| {
        LOCAL.iter().find(|word| line.contains(**word)).map(|word| (*word).to_owned())
    });
    nothing_breaks("no path of one machine, no word about how work is organised", &places);
}

#[test]
fn lines_fit_the_screen() {
    let mut files = text_files();
    files.retain(|file| {
        ["rs", "wgsl", "py", "sh"].iter().any(|extension| file.has_extension(extension))
            || ["tests/run", ".ci/run"].contains(&file.path.as_str())
    });
    let places = lines(&files, |line| {
        let width = line.chars().count();
        (width > COLUMNS_MAX && !may_be_wide(line)).then(|| format!("{width} columns"))
    });
    nothing_breaks("a line has 100 columns at most", &places);
}

/// One unbroken text, as a table of texts has them, or an address: breaking those helps nobody.
fn may_be_wide(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with('"') || line.starts_with("r\"") || line.contains("https://")
}

#[test]
fn functions_fit_two_screens() {
    let mut broken = Vec::new();
    for file in tree::with_extension("rs").iter().filter(|file| !is_fixture(file)) {
        for (name, line, length) in functions(&file.text()) {
            if length > FUNCTION_LINES_MAX {
                broken.push(format!("{}:{line}: {length} lines: {name}", file.path));
            }
        }
    }
    nothing_breaks("a function has 100 lines at most: two nouns, or a table", &broken);
}

/// Functions with the line they begin on and their length. rustfmt puts the closing brace under the
/// `fn`, which is all this needs to know.
fn functions(text: &str) -> Vec<(String, usize, usize)> {
    let mut functions = Vec::new();
    let mut open: Option<(usize, usize, String)> = None;
    for (number, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let code = line.trim_start();
        if is_function_head(code) {
            let name = code.split("fn ").nth(1).and_then(|rest| rest.split(['(', '<']).next());
            let name = name.unwrap_or_default().to_owned();
            open = (!code.ends_with('}') && !code.ends_with(';')).then_some((indent, number, name));
        } else if let Some((head, begun, name)) = open.take_if(|o| o.0 == indent && code == "}") {
            debug_assert_eq!(head, indent);
            functions.push((name, begun + 1, number - begun));
        }
    }
    functions
}

fn is_function_head(code: &str) -> bool {
    const BEFORE: &[&str] = &["pub", "pub(crate)", "pub(super)", "const", "async", "unsafe"];
    let mut words = code.split_whitespace();
    words.find(|word| !BEFORE.contains(word)) == Some("fn")
}

/// Where the compiler is told that something holds: the graphics card's room, and the one line that
/// opens LMDB to compare GraceDb with it. It maps a file, and there is no other way to it; no
/// program of ours has it.
const UNCHECKED: &[&str] = &["console/gpu/src/", "server/gracedb/benches/compare/lmdb.rs"];

#[test]
fn unsafe_lives_in_one_room() {
    const WORD: &str = concat!("uns", "afe");
    let mut broken = Vec::new();
    for file in tree::with_extension("rs").iter().filter(|file| !is_fixture(file)) {
        let text = file.text();
        let all: Vec<&str> = text.lines().collect();
        for (number, line) in all.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let opens = code.contains(&format!("{WORD} {{"))
                || code.contains(&format!("{WORD} impl "))
                || code.contains(&format!("{WORD} fn "));
            if !opens {
                continue;
            }
            if !UNCHECKED.iter().any(|path| file.path.starts_with(path)) {
                broken.push(format!("{}:{}: outside grace-gpu", file.path, number + 1));
            }
            let before = all.get(number.saturating_sub(12)..number).unwrap_or_default();
            let said = |word: &str| before.iter().any(|line| line.contains(word));
            let reason = said("SAFETY:") || said("# Safety");
            if !reason && !code.contains("extern \"system\" fn") {
                broken.push(format!("{}:{}: no SAFETY: above it", file.path, number + 1));
            }
        }
    }
    nothing_breaks(
        "what the compiler cannot check lives in grace-gpu and says why it holds",
        &broken,
    );
}

#[test]
fn functions_are_measured() {
    let text = "fn a() {\n    x();\n}\n\nimpl B {\n    pub(crate) async fn b(\n        self,\n\
                \x20   ) {\n        if x {\n        }\n    }\n    fn c() {}\n}\n";
    let found = functions(text);
    assert_eq!(found, [("a".into(), 1, 2), ("b".into(), 6, 5)]);
}
