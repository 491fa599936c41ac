//! An ordered map whose copies are free: a B+ tree of shared nodes, copied where it is written.
//!
//! A clone shares every node. A change copies the nodes from the root to the leaf unless nobody
//! else holds them, so one transaction's second change of a leaf is in place. Keys and values are
//! shared bytes, so copying a node copies pointers.
//! Invariants: all leaves have one depth; no node but the root is empty; the key between two
//! children is greater than every key left of it and not greater than any key right of it.
//! Not here: what the bytes mean (`space`, `row`), who may see which version (`db`).

use std::ops::Bound;
use std::sync::Arc;

/// Shared bytes of a key or value.
pub(crate) type Bytes = Arc<[u8]>;

/// Entries of a leaf, children of a branch. 32 keep a copied node at half a kilobyte of pointers.
const NODE_MAX: usize = 32;
/// A node below this is merged with its neighbor.
const NODE_MIN: usize = 8;

#[derive(Clone, Debug)]
enum Node {
    Leaf(Vec<(Bytes, Bytes)>),
    /// One more child than keys.
    Branch(Vec<Bytes>, Vec<Arc<Node>>),
}

/// The map.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    root: Arc<Node>,
}

impl Default for Tree {
    fn default() -> Self {
        Self { root: Arc::new(Node::Leaf(Vec::new())) }
    }
}

impl Tree {
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Bytes> {
        let mut node = &*self.root;
        loop {
            match node {
                Node::Leaf(entries) => {
                    let at = entries.binary_search_by(|(other, _)| (**other).cmp(key)).ok()?;
                    return entries.get(at).map(|(_, value)| value);
                }
                Node::Branch(keys, children) => node = children.get(child_of(keys, key))?,
            }
        }
    }

    /// Puts a value and returns the one it replaces.
    pub(crate) fn insert(&mut self, key: Bytes, value: Bytes) -> Option<Bytes> {
        let (old, split) = insert(&mut self.root, key, value);
        if let Some((key, right)) = split {
            let left = Arc::clone(&self.root);
            self.root = Arc::new(Node::Branch(vec![key], vec![left, right]));
        }
        old
    }

    /// Removes a key and returns its value.
    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<Bytes> {
        // A miss must not copy the path.
        self.get(key)?;
        let old = remove(&mut self.root, key);
        while let Node::Branch(_, children) = &*self.root
            && let [only] = children.as_slice()
        {
            self.root = Arc::clone(only);
        }
        old
    }

    /// The entries within bounds, over this version of the map whatever happens to it later.
    pub(crate) fn range(&self, low: Bound<Bytes>, high: Bound<Bytes>) -> Range {
        Range { tree: self.clone(), low, high, front: None, back: None }
    }
}

/// The child that may hold `key`.
fn child_of(keys: &[Bytes], key: &[u8]) -> usize {
    keys.partition_point(|separator| **separator <= *key)
}

type Split = Option<(Bytes, Arc<Node>)>;

fn insert(node: &mut Arc<Node>, key: Bytes, value: Bytes) -> (Option<Bytes>, Split) {
    let node = Arc::make_mut(node);
    match node {
        Node::Leaf(entries) => {
            let at = match entries.binary_search_by(|(other, _)| other.cmp(&key)) {
                Ok(at) => {
                    let old =
                        entries.get_mut(at).map(|entry| std::mem::replace(&mut entry.1, value));
                    return (old, None);
                }
                Err(at) => at,
            };
            let appended = at == entries.len();
            entries.insert(at, (key, value));
            if entries.len() <= NODE_MAX {
                return (None, None);
            }
            // Ids and positions mostly grow: leave full nodes behind instead of half full ones.
            let right = entries.split_off(if appended { NODE_MAX } else { NODE_MAX / 2 });
            let separator = right.first().map(|(key, _)| Arc::clone(key));
            (None, separator.map(|key| (key, Arc::new(Node::Leaf(right)))))
        }
        Node::Branch(keys, children) => {
            let at = child_of(keys, &key);
            let child = children.get_mut(at).expect("a branch has one more child than keys");
            let (old, split) = insert(child, key, value);
            if let Some((key, right)) = split {
                keys.insert(at, key);
                children.insert(at + 1, right);
            }
            (old, split_branch(keys, children))
        }
    }
}

fn split_branch(keys: &mut Vec<Bytes>, children: &mut Vec<Arc<Node>>) -> Split {
    if children.len() <= NODE_MAX {
        return None;
    }
    let right_children = children.split_off(NODE_MAX / 2);
    let right_keys = keys.split_off(NODE_MAX / 2);
    let separator = keys.pop()?;
    Some((separator, Arc::new(Node::Branch(right_keys, right_children))))
}

impl Node {
    fn len(&self) -> usize {
        match self {
            Self::Leaf(entries) => entries.len(),
            Self::Branch(_, children) => children.len(),
        }
    }
}

fn remove(node: &mut Arc<Node>, key: &[u8]) -> Option<Bytes> {
    match Arc::make_mut(node) {
        Node::Leaf(entries) => {
            let at = entries.binary_search_by(|(other, _)| (**other).cmp(key)).ok()?;
            Some(entries.remove(at).1)
        }
        Node::Branch(keys, children) => {
            let at = child_of(keys, key);
            let child = children.get_mut(at)?;
            let old = remove(child, key);
            if child.len() < NODE_MIN && children.len() > 1 {
                merge(keys, children, at.max(1));
            }
            old
        }
    }
}

/// Joins child `right` with the one before it, and halves the outcome if it is too large.
fn merge(keys: &mut Vec<Bytes>, children: &mut Vec<Arc<Node>>, right: usize) {
    let separator = keys.remove(right - 1);
    let right_node = Arc::unwrap_or_clone(children.remove(right));
    let left = children.get_mut(right - 1).expect("the caller passes a child with a left neighbor");
    let split = match (Arc::make_mut(left), right_node) {
        (Node::Leaf(entries), Node::Leaf(more)) => {
            entries.extend(more);
            let half = entries.len() / 2;
            if entries.len() <= NODE_MAX {
                None
            } else {
                let moved = entries.split_off(half);
                let key = moved.first().map(|(key, _)| Arc::clone(key));
                key.map(|key| (key, Arc::new(Node::Leaf(moved))))
            }
        }
        (Node::Branch(left_keys, left_children), Node::Branch(more_keys, more_children)) => {
            left_keys.push(separator);
            left_keys.extend(more_keys);
            left_children.extend(more_children);
            split_branch(left_keys, left_children)
        }
        _ => unreachable!("all leaves have one depth"),
    };
    if let Some((key, node)) = split {
        keys.insert(right - 1, key);
        children.insert(right, node);
    }
}

/// Where an iterator stands: a leaf, and the entry that comes next.
type Place = (Arc<Node>, usize);

/// An iterator over a range, from both ends. It owns its version of the map.
pub(crate) struct Range {
    tree: Tree,
    low: Bound<Bytes>,
    high: Bound<Bytes>,
    front: Option<Place>,
    /// The entry before this index comes next.
    back: Option<Place>,
}

fn above_low(key: &[u8], low: &Bound<Bytes>) -> bool {
    match low {
        Bound::Unbounded => true,
        Bound::Included(low) => *key >= **low,
        Bound::Excluded(low) => *key > **low,
    }
}

fn below_high(key: &[u8], high: &Bound<Bytes>) -> bool {
    match high {
        Bound::Unbounded => true,
        Bound::Included(high) => *key <= **high,
        Bound::Excluded(high) => *key < **high,
    }
}

fn seek_front(node: &Arc<Node>, low: &Bound<Bytes>) -> Option<Place> {
    match &**node {
        Node::Leaf(entries) => {
            let at = entries.partition_point(|(key, _)| !above_low(key, low));
            (at < entries.len()).then(|| (Arc::clone(node), at))
        }
        Node::Branch(keys, children) => {
            let from = match low {
                Bound::Unbounded => 0,
                Bound::Included(key) | Bound::Excluded(key) => child_of(keys, key),
            };
            children.iter().skip(from).find_map(|child| seek_front(child, low))
        }
    }
}

fn seek_back(node: &Arc<Node>, high: &Bound<Bytes>) -> Option<Place> {
    match &**node {
        Node::Leaf(entries) => {
            let at = entries.partition_point(|(key, _)| below_high(key, high));
            (at > 0).then(|| (Arc::clone(node), at))
        }
        Node::Branch(keys, children) => {
            let to = match high {
                Bound::Unbounded => keys.len(),
                Bound::Included(key) | Bound::Excluded(key) => child_of(keys, key),
            };
            children.iter().take(to + 1).rev().find_map(|child| seek_back(child, high))
        }
    }
}

fn entry(place: &Place, at: usize) -> Option<&(Bytes, Bytes)> {
    match &*place.0 {
        Node::Leaf(entries) => entries.get(at),
        Node::Branch(..) => None,
    }
}

impl Iterator for Range {
    type Item = (Bytes, Bytes);

    fn next(&mut self) -> Option<(Bytes, Bytes)> {
        if self.front.as_ref().is_none_or(|place| entry(place, place.1).is_none()) {
            self.front = seek_front(&self.tree.root, &self.low);
        }
        let place = self.front.as_mut()?;
        let found = entry(place, place.1)?.clone();
        if !below_high(&found.0, &self.high) {
            return None;
        }
        place.1 += 1;
        self.low = Bound::Excluded(Arc::clone(&found.0));
        Some(found)
    }
}

impl DoubleEndedIterator for Range {
    fn next_back(&mut self) -> Option<(Bytes, Bytes)> {
        if self.back.as_ref().is_none_or(|place| place.1 == 0) {
            self.back = seek_back(&self.tree.root, &self.high);
        }
        let place = self.back.as_mut()?;
        let found = entry(place, place.1.checked_sub(1)?)?.clone();
        if !above_low(&found.0, &self.low) {
            return None;
        }
        place.1 -= 1;
        self.high = Bound::Excluded(Arc::clone(&found.0));
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn depth(node: &Node, is_root: bool) -> usize {
        assert!(is_root || node.len() > 0, "an empty node");
        assert!(node.len() <= NODE_MAX);
        match node {
            Node::Leaf(entries) => {
                assert!(entries.is_sorted_by(|a, b| a.0 < b.0));
                0
            }
            Node::Branch(keys, children) => {
                assert_eq!(keys.len() + 1, children.len());
                assert!(keys.is_sorted_by(|a, b| a < b));
                let depths: Vec<_> = children.iter().map(|child| depth(child, false)).collect();
                assert!(depths.iter().all(|each| *each == depths[0]), "leaves of two depths");
                depths[0] + 1
            }
        }
    }

    fn check(tree: &Tree, model: &BTreeMap<Vec<u8>, Vec<u8>>) {
        depth(&tree.root, true);
        let all = || tree.range(Bound::Unbounded, Bound::Unbounded);
        assert!(all().map(|(k, v)| (k.to_vec(), v.to_vec())).eq(model.clone()));
        assert!(all().rev().map(|(k, _)| k.to_vec()).eq(model.keys().rev().cloned()));
    }

    fn random(state: &mut u64) -> u64 {
        *state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *state >> 33
    }

    #[test]
    fn agrees_with_a_plain_map_and_old_versions_stay() {
        for seed in 0..20u64 {
            let (mut state, mut tree, mut model) = (seed, Tree::default(), BTreeMap::new());
            let keys = if seed % 2 == 0 { 300 } else { 3_000 };
            let mut kept = Vec::new();
            for step in 0..6_000u32 {
                let key = (random(&mut state) % keys).to_string().into_bytes();
                // Grow, then shrink to nearly nothing.
                if random(&mut state) % 10 < if step < 3_000 { 7 } else { 2 } {
                    let value = step.to_be_bytes().to_vec();
                    let old = tree.insert(key.clone().into(), value.clone().into());
                    assert_eq!(
                        old.map(|old| old.to_vec()),
                        model.insert(key, value),
                        "seed {seed}"
                    );
                } else {
                    let old = tree.remove(&key).map(|old| old.to_vec());
                    assert_eq!(old, model.remove(&key), "seed {seed}");
                }
                if step % 1_000 == 0 {
                    kept.push((tree.clone(), model.clone()));
                }
            }
            kept.push((tree, model));
            for (tree, model) in &kept {
                check(tree, model);
            }
        }
    }

    #[test]
    fn ranges_agree_with_a_plain_map() {
        let (mut tree, mut model, mut state) = (Tree::default(), BTreeMap::new(), 7);
        for _ in 0..2_000 {
            let key = u16::try_from(random(&mut state) % 5_000).unwrap().to_be_bytes().to_vec();
            tree.insert(key.clone().into(), key.clone().into());
            model.insert(key.clone(), key);
        }
        for _ in 0..2_000 {
            let mut bound = || {
                let key = u16::try_from(random(&mut state) % 5_000).unwrap().to_be_bytes().to_vec();
                match random(&mut state) % 5 {
                    0 => Bound::Unbounded,
                    1 | 2 => Bound::Included(key),
                    _ => Bound::Excluded(key),
                }
            };
            let (low, high) = (bound(), bound());
            let shared = |bound: &Bound<Vec<u8>>| bound.clone().map(Bytes::from);
            let mut found = tree.range(shared(&low), shared(&high));
            let mut expected: std::collections::VecDeque<_> = model
                .keys()
                .filter(|key| above_low(key, &shared(&low)) && below_high(key, &shared(&high)))
                .cloned()
                .collect();
            loop {
                let (got, wanted) = if random(&mut state).is_multiple_of(2) {
                    (found.next(), expected.pop_front())
                } else {
                    (found.next_back(), expected.pop_back())
                };
                assert_eq!(got.map(|(key, _)| key.to_vec()), wanted);
                if wanted.is_none() {
                    break;
                }
            }
        }
    }
}
