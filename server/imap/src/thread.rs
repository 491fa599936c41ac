//! Threads: which letter answers which (RFC 5256 3).
//!
//! ```text
//!   keys ─▶ link by references ─▶ take out who is not there ─▶ join by subject ─▶ sort ─▶ trees
//! ```
//! Invariants: pure; every message stands in exactly one tree; a tree is at most about
//! `DEPTH_MAX` deep, so that references made up by an enemy cost neither time nor stack.
//! Not here: what is compared (`keys`), reading messages (`session`).

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, VecDeque};
use std::hash::Hasher;

use crate::keys::{Keys, MessageId};
use crate::response::Out;

/// Deepest chain of answers that is followed; who answers still deeper begins a new thread. Long
/// discussions on lists reach some dozens.
const DEPTH_MAX: usize = 500;

/// How threads are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// ORDEREDSUBJECT: by subject, the first letter before all others.
    OrderedSubject,
    /// REFERENCES: by references, then by subject.
    References,
    /// REFS: by references alone, the thread with the newest letter last
    /// (draft-ietf-morg-inthread).
    Refs,
}

impl Algorithm {
    /// Every algorithm with its wire spelling.
    pub const NAMES: [(Self, &str); 3] = [
        (Self::OrderedSubject, "ORDEREDSUBJECT"),
        (Self::References, "REFERENCES"),
        (Self::Refs, "REFS"),
    ];
}

/// What is kept of a message for its thread.
#[derive(Debug, Clone)]
pub struct Letter {
    /// The number it is called by: sequence number or UID.
    number: u32,
    arrival_s: i64,
    sent_s: i64,
    /// The base subject, as a number; 0: none.
    subject: u64,
    is_reply: bool,
    message_id: Option<MessageId>,
    references: Box<[MessageId]>,
}

impl Letter {
    /// What is needed of these keys. `number` is what the message is called.
    pub fn new(number: u32, keys: &Keys) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(keys.subject.as_bytes());
        let subject = if keys.subject.is_empty() { 0 } else { hasher.finish() };
        Self {
            number,
            arrival_s: keys.arrival_s,
            sent_s: keys.sent_s,
            subject,
            is_reply: keys.is_reply,
            message_id: keys.message_id,
            references: keys.references.as_slice().into(),
        }
    }
}

/// A place in a thread.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// The message; `None`: others answer it, and it is not there.
    pub number: Option<u32>,
    /// The answers to it.
    pub children: Vec<Self>,
}

/// The threads of some letters, which come by ascending number.
pub fn threads(algorithm: Algorithm, letters: &[Letter]) -> Vec<Node> {
    match algorithm {
        Algorithm::OrderedSubject => ordered_subject(letters),
        Algorithm::References | Algorithm::Refs => {
            let mut forest = Forest::new(letters);
            forest.prune();
            if algorithm == Algorithm::References {
                forest.join_subjects();
                forest.print(|forest, root| forest.sent_s(root))
            } else {
                forest.print(Forest::newest_s)
            }
        }
    }
}

/// RFC 5256 3: sorted by subject, then by date; the first of each subject is the parent of the
/// others.
fn ordered_subject(letters: &[Letter]) -> Vec<Node> {
    let mut sorted: Vec<&Letter> = letters.iter().collect();
    sorted.sort_by_key(|letter| (letter.sent_s, letter.number));
    let mut roots: Vec<Node> = Vec::new();
    let mut by_subject: HashMap<u64, usize> = HashMap::new();
    for letter in sorted {
        let node = Node { number: Some(letter.number), children: Vec::new() };
        match by_subject.get(&letter.subject).and_then(|place| roots.get_mut(*place)) {
            Some(root) => root.children.push(node),
            None => {
                by_subject.insert(letter.subject, roots.len());
                roots.push(node);
            }
        }
    }
    roots
}

/// A place while threads are made.
#[derive(Debug, Default)]
struct Place {
    letter: Option<usize>,
    parent: Option<usize>,
    children: Vec<usize>,
}

/// All places, by number.
#[derive(Debug)]
struct Forest<'a> {
    letters: &'a [Letter],
    places: Vec<Place>,
    roots: Vec<usize>,
}

impl<'a> Forest<'a> {
    /// RFC 5256 3, REFERENCES (1) and (2).
    fn new(letters: &'a [Letter]) -> Self {
        let mut forest = Self { letters, places: Vec::new(), roots: Vec::new() };
        let mut by_id: HashMap<MessageId, usize> = HashMap::new();
        for (index, letter) in letters.iter().enumerate() {
            let mut parent = None;
            for id in &letter.references {
                let place = forest.place_of(&mut by_id, *id);
                if let Some(parent) = parent {
                    // An existing link stays (1.A).
                    forest.link(parent, place, false);
                }
                parent = Some(place);
            }
            let known = letter.message_id.map(|id| forest.place_of(&mut by_id, id));
            // Two messages with one identifier: the second counts as having none.
            let place = match known.filter(|place| forest.letter(*place).is_none()) {
                Some(place) => place,
                None => forest.add(),
            };
            if let Some(slot) = forest.places.get_mut(place) {
                slot.letter = Some(index);
            }
            match parent {
                // What the letter itself says of its parent counts more (1.B).
                Some(parent) => forest.link(parent, place, true),
                None => forest.set_parent(&[place], None),
            }
        }
        forest.gather();
        forest
    }

    /// Makes lists of children out of the links to parents.
    fn gather(&mut self) {
        for place in 0..self.places.len() {
            match self.parent(place).and_then(|parent| self.places.get_mut(parent)) {
                Some(parent) => parent.children.push(place),
                None => self.roots.push(place),
            }
        }
        self.cut();
    }

    /// Makes new threads of what lies too deep, which may be so where answers came before what they
    /// answer.
    fn cut(&mut self) {
        let mut next: VecDeque<(usize, usize)> = self.roots.iter().map(|root| (*root, 0)).collect();
        while let Some((place, depth)) = next.pop_front() {
            let children = self.children(place).to_vec();
            if depth < DEPTH_MAX {
                next.extend(children.into_iter().map(|child| (child, depth + 1)));
                continue;
            }
            self.set_children(place, Vec::new());
            self.set_parent(&children, None);
            next.extend(children.iter().map(|child| (*child, 0)));
            self.roots.extend(children);
        }
    }

    fn add(&mut self) -> usize {
        self.places.push(Place::default());
        self.places.len() - 1
    }

    fn place_of(&mut self, by_id: &mut HashMap<MessageId, usize>, id: MessageId) -> usize {
        *by_id.entry(id).or_insert_with(|| self.add())
    }

    fn letter(&self, place: usize) -> Option<&'a Letter> {
        self.letters.get(self.places.get(place)?.letter?)
    }

    fn children(&self, place: usize) -> &[usize] {
        self.places.get(place).map_or(&[], |place| &place.children)
    }

    fn parent(&self, place: usize) -> Option<usize> {
        self.places.get(place)?.parent
    }

    /// Makes `child` an answer to `parent`, unless it would be its own ancestor.
    fn link(&mut self, parent: usize, child: usize, replaces: bool) {
        if !replaces && self.parent(child).is_some() {
            return;
        }
        let mut above = Some(parent);
        for _ in 0..DEPTH_MAX {
            match above {
                None => break,
                Some(place) if place == child => return,
                Some(place) => above = self.parent(place),
            }
        }
        if above.is_some() {
            return;
        }
        self.set_parent(&[child], Some(parent));
    }

    /// RFC 5256 3, REFERENCES (3): who is not there goes, and the answers move up; among the roots
    /// only where there is one answer at most.
    fn prune(&mut self) {
        let roots = std::mem::take(&mut self.roots);
        for root in roots {
            let kept = self.pruned(root);
            match (self.letter(root).is_none(), kept.len()) {
                (true, 0) => {}
                (true, 1) => {
                    self.set_parent(&kept, None);
                    self.roots.extend(kept);
                }
                _ => {
                    self.set_children(root, kept);
                    self.roots.push(root);
                }
            }
        }
    }

    /// The children of a place, with those of missing ones in their stead, all the way down.
    fn pruned(&mut self, place: usize) -> Vec<usize> {
        let mut kept = Vec::new();
        for child in self.children(place).to_vec() {
            let below = self.pruned(child);
            match self.letter(child) {
                Some(_) => {
                    self.set_children(child, below);
                    kept.push(child);
                }
                None => kept.extend(below),
            }
        }
        kept
    }

    fn set_parent(&mut self, children: &[usize], parent: Option<usize>) {
        for child in children {
            if let Some(place) = self.places.get_mut(*child) {
                place.parent = parent;
            }
        }
    }

    fn set_children(&mut self, place: usize, children: Vec<usize>) {
        self.set_parent(&children, Some(place));
        if let Some(place) = self.places.get_mut(place) {
            place.children = children;
        }
    }

    /// When a place was sent; of one that is not there, its first answer.
    fn sent_s(&self, place: usize) -> (i64, u32) {
        match self.letter(place) {
            Some(letter) => (letter.sent_s, letter.number),
            None => {
                let below = self.children(place).iter().map(|child| self.sent_s(*child));
                below.min().unwrap_or_default()
            }
        }
    }

    /// When the newest letter of a thread arrived.
    fn newest_s(&self, place: usize) -> (i64, u32) {
        let own = self.letter(place).map(|letter| (letter.arrival_s, letter.number));
        let below = self.children(place).iter().map(|child| self.newest_s(*child));
        own.into_iter().chain(below).max().unwrap_or_default()
    }

    /// RFC 5256 3, REFERENCES (5): threads of one subject are one.
    fn join_subjects(&mut self) {
        // (4) The order in which they are looked at.
        let mut roots = std::mem::take(&mut self.roots);
        roots.sort_by_cached_key(|root| self.sent_s(*root));
        // (5.B) Which root stands for a subject: one that is not there before one that is, an
        // original before a reply, the earlier before the later.
        let mut by_subject: HashMap<u64, usize> = HashMap::new();
        for &root in &roots {
            let (subject, is_reply) = self.subject(root);
            if subject == 0 {
                continue;
            }
            let known = *by_subject.entry(subject).or_insert(root);
            let better = match (self.letter(root), self.letter(known)) {
                (None, Some(_)) => true,
                (Some(_), Some(_)) => !is_reply && self.subject(known).1,
                (_, None) => false,
            };
            if better {
                by_subject.insert(subject, root);
            }
        }
        let mut stays: Vec<usize> = Vec::new();
        // Roots that now stand below one made for them and another one.
        let mut covered: HashMap<usize, usize> = HashMap::new();
        for root in roots {
            let (subject, _) = self.subject(root);
            let known = by_subject.get(&subject).copied().filter(|known| *known != root);
            match known {
                _ if self.parent(root).is_some() => {
                    stays.extend(covered.contains_key(&root).then_some(root));
                }
                None => stays.push(root),
                Some(known) => {
                    let both = self.join(known, root);
                    if both != known {
                        by_subject.insert(subject, both);
                        covered.insert(known, both);
                    }
                }
            }
        }
        let top = |root: usize| covered.get(&root).copied().unwrap_or(root);
        self.roots = stays.into_iter().map(top).collect();
    }

    /// The subject of a thread: that of its root or of the first answer (5.A).
    fn subject(&self, root: usize) -> (u64, bool) {
        let first = || self.children(root).iter().min_by_key(|child| self.sent_s(**child));
        let place = if self.letter(root).is_some() { Some(root) } else { first().copied() };
        let letter = place.and_then(|place| self.letter(place));
        letter.map_or((0, false), |letter| (letter.subject, letter.is_reply))
    }

    /// Joins two threads of one subject (5.C); returns the root of both.
    fn join(&mut self, known: usize, root: usize) -> usize {
        match (self.letter(known).is_none(), self.letter(root).is_none()) {
            (true, true) => {
                for child in self.children(root).to_vec() {
                    self.append(known, child);
                }
                known
            }
            (true, false) => {
                self.append(known, root);
                known
            }
            _ if self.subject(root).1 && !self.subject(known).1 => {
                self.append(known, root);
                known
            }
            _ => {
                let both = self.add();
                self.set_children(both, vec![known, root]);
                both
            }
        }
    }

    fn append(&mut self, parent: usize, child: usize) {
        self.set_parent(&[child], Some(parent));
        if let Some(place) = self.places.get_mut(parent) {
            place.children.push(child);
        }
    }

    /// RFC 5256 3, REFERENCES (6): siblings by date; the threads by `order`.
    fn print(&self, order: impl Fn(&Self, usize) -> (i64, u32)) -> Vec<Node> {
        let mut roots = self.roots.clone();
        roots.sort_by_cached_key(|root| order(self, *root));
        roots.into_iter().map(|root| self.node(root)).collect()
    }

    fn node(&self, place: usize) -> Node {
        let mut children = self.children(place).to_vec();
        children.sort_by_cached_key(|child| self.sent_s(*child));
        let children = children.into_iter().map(|child| self.node(child)).collect();
        Node { number: self.letter(place).map(|letter| letter.number), children }
    }
}

/// Writes threads as THREAD's response does (RFC 5256 5): `(3 6 (4 23)(44 7 96))`.
pub fn write(out: &mut Out, roots: &[Node]) {
    for root in roots {
        out.raw("(");
        let mut node = root;
        let mut space = "";
        loop {
            if let Some(number) = node.number {
                out.raw(space).number(u64::from(number));
                space = " ";
            }
            match node.children.as_slice() {
                [] => break,
                [only] => node = only,
                several => {
                    out.raw(space);
                    write(out, several);
                    break;
                }
            }
        }
        out.raw(")");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::Piece;

    /// Letters as `message-id|references|subject`, sent one second after the other.
    fn check(algorithm: Algorithm, mails: &[&str], expected: &str) {
        let letters = (1_u32..).zip(mails).map(|(number, mail)| {
            let parts: Vec<&str> = mail.split('|').collect();
            let block = format!(
                "Message-Id: {}\r\nReferences: {}\r\nSubject: {}\r\n\r\n",
                parts[0], parts[1], parts[2]
            );
            Letter::new(number, &Keys::of(number, i64::from(number), 0, block.as_bytes()))
        });
        let letters = letters.collect::<Vec<_>>();
        let mut out = Out::default();
        write(&mut out, &threads(algorithm, &letters));
        let text = match out.next_piece() {
            Some(Piece::Bytes(bytes)) => String::from_utf8(bytes).expect("text"),
            None => String::new(),
            other => panic!("{other:?}"),
        };
        assert_eq!(text, expected, "{mails:?}");
    }

    use Algorithm::{OrderedSubject, References, Refs};

    #[test]
    fn by_references() {
        check(References, &[], "");
        check(References, &["<a>||x", "<b>|<a>|Re: x", "<c>|<a> <b>|Re: x"], "(1 2 3)");
        // The answers of one letter are siblings.
        check(References, &["<a>||x", "<b>|<a>|y", "<c>|<a>|z", "<d>|<c>|z"], "(1 (2)(3 4))");
        // The answer came first.
        check(References, &["<b>|<a>|y", "<a>||x"], "(2 1)");
        // The letter that both answer is not there.
        check(References, &["<b>|<a>|y", "<c>|<a>|z"], "((1)(2))");
        check(References, &["<b>|<a>|y"], "(1)");
        // Two in a circle, and one that answers itself.
        check(References, &["<a>|<b>|x", "<b>|<a>|y", "<c>|<c>|z"], "(2 1)(3)");
        // Two letters with one identifier.
        check(References, &["<a>||x", "<a>||y", "<b>|<a>|z"], "(1 3)(2)");
        check(References, &["||x", "||y"], "(1)(2)");
    }

    #[test]
    fn by_subject() {
        // A reply without references joins the original.
        check(References, &["<a>||x", "<b>||Re: x", "<c>||[l] re: X"], "(1 (2)(3))");
        check(References, &["<b>||Re: x", "<a>||x"], "(2 1)");
        // Two originals, or two replies, stand side by side.
        check(References, &["<a>||x", "<b>||x", "<c>||x"], "((1)(2)(3))");
        check(References, &["<a>||Re: x", "<b>||Re: x", "<c>||y"], "((1)(2))(3)");
        check(References, &["<a>||", "<b>||"], "(1)(2)");
        // Threads whose roots are missing are put together.
        let two = ["<b>|<a>|x", "<c>|<a>|x", "<e>|<d>|x", "<f>|<d>|x"];
        check(References, &two, "((1)(2)(3)(4))");
        check(Refs, &two, "((1)(2))((3)(4))");
        check(Refs, &["<a>||x", "<b>||x", "<c>|<a>|x"], "(2)(1 3)");
        check(
            OrderedSubject,
            &["<a>||x", "<b>||y", "<c>|<b>|re: X", "<d>||fw: x"],
            "(1 (3)(4))(2)",
        );
        check(OrderedSubject, &["<a>||x", "<b>||re: x"], "(1 2)");
    }

    #[test]
    fn chains_made_up_by_an_enemy_are_cut() {
        fn count(nodes: &[Node]) -> usize {
            let one = |node: &Node| usize::from(node.number.is_some()) + count(&node.children);
            nodes.iter().map(one).sum()
        }
        let letter = |number: u32| {
            let before = number - 1;
            let block = format!("Message-Id: <{number}>\r\nReferences: <{before}>\r\n\r\n");
            Letter::new(number, &Keys::of(number, 0, 0, block.as_bytes()))
        };
        let forward: Vec<Letter> = (1..=5_000).map(letter).collect();
        let backward: Vec<Letter> = (1..=5_000).rev().map(letter).collect();
        for letters in [forward, backward] {
            let made = threads(References, &letters);
            assert_eq!(count(&made), 5_000, "each stands somewhere");
            assert!((5..=20).contains(&made.len()), "{}", made.len());
        }
    }
}
