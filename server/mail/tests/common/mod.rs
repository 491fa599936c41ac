//! What must hold for the tree of any message, shared by the tests of the MIME modules.

use grace_mail::envelope::Envelope;
use grace_mail::mime::{DEPTH_MAX, Kind, PARTS_MAX, Part, Tree};
use grace_mail::section::{self, Section, What};
use grace_mail::text::{self, Needle};

/// Checks every promise [`Tree`] makes and asks every section of every part. Gives the number of
/// parts.
pub(crate) fn assert_sound(raw: &[u8], name: &str) -> usize {
    let tree = Tree::parse(raw);
    let root = tree.root();
    assert_eq!(root.whole(), 0..raw.len(), "{name}: the root covers the message");
    assert!(tree.parts().len() <= PARTS_MAX + DEPTH_MAX, "{name}: too many parts");
    assert_eq!(
        walk(raw, &tree, root, name),
        tree.parts().len(),
        "{name}: all parts hang on the root"
    );
    sections(raw, &tree, root, &mut Vec::new(), name);
    let _ = text::message_contains(raw, &tree, &Needle::new("no such text"));
    tree.parts().len()
}

fn walk(raw: &[u8], tree: &Tree, part: &Part, name: &str) -> usize {
    assert_eq!(part.header.end, part.body.start, "{name}: the body follows the header");
    assert!(part.header.start <= part.header.end, "{name}");
    assert!(part.body.start <= part.body.end && part.body.end <= raw.len(), "{name}");
    let body = &raw[part.body.clone()];
    assert_eq!(part.lines, body.iter().filter(|&&b| b == b'\n').count(), "{name}: lines");
    assert!(!part.media.kind.is_empty() && !part.media.subtype.is_empty(), "{name}: media type");
    let mut count = 1;
    let mut end = part.body.start;
    for child in tree.children(part) {
        assert!(child.header.start >= end, "{name}: siblings overlap");
        assert!(child.body.end <= part.body.end, "{name}: a child lies inside its parent");
        assert_eq!(child.depth, part.depth + 1, "{name}: depth");
        end = child.body.end;
        count += walk(raw, tree, child, name);
    }
    let children = tree.children(part).count();
    let fits = match part.kind {
        Kind::Leaf => children == 0,
        Kind::Message => children == 1,
        Kind::Multipart => children >= 1,
    };
    assert!(fits, "{name}: a {:?} has {children} children", part.kind);
    if let Some(inner) = tree.embedded(part) {
        assert_eq!(inner.whole(), part.body, "{name}: the message inside fills the body");
        let _ = Envelope::of_header(&raw[inner.header.clone()]).sent();
    }
    count
}

/// Asks every piece of `part`, which IMAP knows by `path`, and of all parts below it.
fn sections(raw: &[u8], tree: &Tree, part: &Part, path: &mut Vec<u32>, name: &str) {
    let ask = |what: What| Section { path: path.clone(), what }.bytes(raw, tree);
    let message = if path.is_empty() { Some(part) } else { tree.embedded(part) };
    if path.is_empty() {
        assert_eq!(ask(What::Whole).as_deref(), Some(raw), "{name}: the whole message");
    } else {
        assert_eq!(ask(What::Whole).as_deref(), raw.get(part.body.clone()), "{name}: {path:?}");
        assert_eq!(ask(What::Mime).as_deref(), raw.get(part.header.clone()), "{name}: {path:?}");
        assert_eq!(
            section::part(tree, path).map(Part::whole),
            Some(part.whole()),
            "{name}: {path:?}"
        );
    }
    let (header, text) = (ask(What::Header), ask(What::Text));
    assert_eq!(
        header.as_deref(),
        message.and_then(|m| raw.get(m.header.clone())),
        "{name}: {path:?}"
    );
    assert_eq!(text.as_deref(), message.and_then(|m| raw.get(m.body.clone())), "{name}: {path:?}");
    let names = vec![b"SUBJECT".to_vec(), b"content-type".to_vec()];
    let (some, rest) = (ask(What::Fields(names.clone())), ask(What::FieldsNot(names)));
    assert_eq!(some.is_some(), message.is_some(), "{name}: {path:?}");
    if let (Some(header), Some(some), Some(rest)) = (header, some, rest) {
        assert!(some.len() <= header.len() && rest.len() <= header.len(), "{name}: {path:?}");
    }
    // Where the parts are that IMAP numbers below this one.
    let holder = tree.embedded(part).filter(|_| !path.is_empty()).unwrap_or(part);
    if holder.kind == Kind::Multipart {
        for (number, child) in (1..).zip(tree.children(holder)) {
            path.push(number);
            sections(raw, tree, child, path, name);
            path.pop();
        }
    } else if message.is_some() && !std::ptr::eq(holder, part) || path.is_empty() {
        path.push(1);
        sections(raw, tree, holder, path, name);
        path.pop();
    }
}
