//! An ordered map in memory whose copies are free: a B+ tree of shared pages, copied where it is
//! written.
//!
//! A clone shares every page. A change copies the pages from the root to the leaf unless nobody
//! else holds them. A leaf is one run of bytes with a sorted list of slots, so copying one is two
//! copies of memory, whatever it holds. A value is bytes, or a tombstone that says "gone".
//! ```text
//!   leaf: slots (at, key length, value length), sorted by key   data: keyvalue keyvalue keyvalue
//! ```
//! Invariants: all leaves have one depth; no page but the root is empty; the key between two
//! children is greater than every key left of it and not greater than any key right of it.
//! Not here: what the bytes mean (`space`, `row`), ranges that are gone as a whole (`mem`).

use std::sync::Arc;

/// Bytes of keys and values in one leaf, beyond which it is split. Copying one takes a fraction of
/// a microsecond, and forty message rows fit.
const LEAF_BYTES: usize = 4 << 10;
/// Entries of one leaf, beyond which it is split.
const LEAF_SLOTS: usize = 64;
/// Children of one branch, beyond which it is split.
const BRANCH_CHILDREN: usize = 48;
/// The value length that means a tombstone; no row is this long.
const GONE: u32 = u32::MAX;
/// What an entry costs besides its bytes, for the account of a tree's size.
const ENTRY_COST: usize = 16;

#[derive(Debug, Clone, Copy)]
struct Slot {
    at: u32,
    value_len: u32,
    key_len: u16,
}

/// Entries of a part of the map.
#[derive(Debug, Default)]
pub(crate) struct Leaf {
    data: Vec<u8>,
    slots: Vec<Slot>,
    /// Bytes of `data` that no slot points to.
    waste: usize,
}

/// Children and the keys between them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Branch {
    /// One fewer than children, one after the other.
    keys: Vec<u8>,
    /// Where each key ends.
    ends: Vec<u32>,
    children: Vec<Arc<Page>>,
}

/// A page.
#[derive(Debug, Clone)]
pub(crate) enum Page {
    Leaf(Leaf),
    Branch(Branch),
}

/// The map.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    /// `None`: the map is empty.
    root: Option<Arc<Page>>,
    bytes: usize,
}

/// A copy has room to grow, and no waste.
impl Clone for Leaf {
    fn clone(&self) -> Self {
        let mut copy = Self {
            data: Vec::with_capacity((self.data.len() - self.waste).max(LEAF_BYTES + 256)),
            slots: Vec::with_capacity(self.slots.len() + 8),
            waste: 0,
        };
        if self.waste == 0 {
            copy.data.extend_from_slice(&self.data);
            copy.slots.extend_from_slice(&self.slots);
        } else {
            for at in 0..self.slots.len() {
                copy.push(self, at);
            }
        }
        copy
    }
}

impl Slot {
    fn value_bytes(self) -> usize {
        if self.value_len == GONE { 0 } else { self.value_len as usize }
    }

    fn bytes(self) -> usize {
        usize::from(self.key_len) + self.value_bytes()
    }
}

impl Leaf {
    /// The key in a slot.
    pub(crate) fn key(&self, at: usize) -> &[u8] {
        let Some(slot) = self.slots.get(at) else { return &[] };
        let start = slot.at as usize;
        self.data.get(start..start + usize::from(slot.key_len)).unwrap_or_default()
    }

    /// The value in a slot; `None`: a tombstone.
    pub(crate) fn value(&self, at: usize) -> Option<&[u8]> {
        let slot = self.slots.get(at)?;
        let start = slot.at as usize + usize::from(slot.key_len);
        (slot.value_len != GONE)
            .then(|| self.data.get(start..start + slot.value_bytes()).unwrap_or_default())
    }

    /// Entries.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    fn find(&self, key: &[u8]) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.slots.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.key(middle).cmp(key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Ok(middle),
            }
        }
        Err(low)
    }

    /// Appends an entry of another leaf.
    fn push(&mut self, other: &Self, at: usize) {
        if let Some(slot) = other.slots.get(at) {
            let start = slot.at as usize;
            let bytes = other.data.get(start..start + slot.bytes()).unwrap_or_default();
            let at = u32::try_from(self.data.len()).unwrap_or(u32::MAX);
            self.data.extend_from_slice(bytes);
            self.slots.push(Slot { at, ..*slot });
        }
    }

    fn append(&mut self, key: &[u8], value: Option<&[u8]>) -> Slot {
        let slot = Slot {
            at: u32::try_from(self.data.len()).unwrap_or(u32::MAX),
            value_len: value.map_or(GONE, |value| u32::try_from(value.len()).unwrap_or(GONE)),
            key_len: u16::try_from(key.len()).unwrap_or(u16::MAX),
        };
        self.data.extend_from_slice(key);
        self.data.extend_from_slice(value.unwrap_or_default());
        slot
    }

    /// Puts an entry; says by how many bytes the map grew, which may be negative.
    fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> (usize, usize) {
        match self.find(key) {
            Ok(at) => {
                let old = self.slots.get(at).copied();
                let old = old.unwrap_or(Slot { at: 0, value_len: GONE, key_len: 0 });
                if let Some(value) = value
                    && old.value_len as usize == value.len()
                {
                    let start = old.at as usize + usize::from(old.key_len);
                    if let Some(place) = self.data.get_mut(start..start + value.len()) {
                        place.copy_from_slice(value);
                    }
                    return (0, 0);
                }
                self.waste += old.bytes();
                let slot = self.append(key, value);
                if let Some(place) = self.slots.get_mut(at) {
                    *place = slot;
                }
                (slot.value_bytes(), old.value_bytes())
            }
            Err(at) => {
                let slot = self.append(key, value);
                self.slots.insert(at, slot);
                (slot.bytes() + ENTRY_COST, 0)
            }
        }
    }

    fn is_too_large(&self) -> bool {
        self.slots.len() > 1
            && (self.data.len() - self.waste > LEAF_BYTES || self.slots.len() > LEAF_SLOTS)
    }

    /// Splits off the right part, after an entry was put into a leaf that is now too large.
    fn split(&mut self) -> Self {
        let used = self.data.len() - self.waste;
        // Ids and positions mostly grow: leave full leaves behind instead of half full ones. The
        // newest entry stands last in `data`.
        let newest_is_last = self.slots.iter().max_by_key(|slot| slot.at).map(|slot| slot.at)
            == self.slots.last().map(|slot| slot.at);
        let goal = if newest_is_last { usize::MAX } else { used / 2 };
        let (mut left, mut right) = (Self::default(), Self::default());
        left.data.reserve(LEAF_BYTES + 256);
        right.data.reserve(LEAF_BYTES + 256);
        let mut before = 0;
        for (at, slot) in self.slots.iter().enumerate() {
            let is_last = at + 1 == self.slots.len();
            if at == 0 || (before < goal && !is_last) {
                left.push(self, at);
            } else {
                right.push(self, at);
            }
            before += slot.bytes();
        }
        *self = left;
        right
    }

    fn bytes_of(&self, range: std::ops::Range<usize>) -> usize {
        let slots = self.slots.get(range).unwrap_or_default();
        slots.iter().map(|slot| slot.bytes() + ENTRY_COST).sum()
    }
}

impl Page {
    /// The page as a leaf.
    pub(crate) fn leaf(&self) -> Option<&Leaf> {
        match self {
            Self::Leaf(leaf) => Some(leaf),
            Self::Branch(_) => None,
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Leaf(leaf) => leaf.slots.is_empty(),
            Self::Branch(branch) => branch.children.is_empty(),
        }
    }

    /// The account of all entries below.
    fn bytes(&self) -> usize {
        match self {
            Self::Leaf(leaf) => leaf.bytes_of(0..leaf.slots.len()),
            Self::Branch(branch) => branch.children.iter().map(|child| child.bytes()).sum(),
        }
    }
}

impl Branch {
    fn of(key: &[u8], left: Arc<Page>, right: Arc<Page>) -> Self {
        let mut branch = Self { children: vec![left], ..Self::default() };
        branch.insert(0, key, right);
        branch
    }

    fn start(&self, at: usize) -> usize {
        at.checked_sub(1).and_then(|at| self.ends.get(at)).map_or(0, |end| *end as usize)
    }

    fn key(&self, at: usize) -> &[u8] {
        let end = self.ends.get(at).map_or(0, |end| *end as usize);
        self.keys.get(self.start(at)..end).unwrap_or_default()
    }

    /// The child that may hold `key`.
    fn child_of(&self, key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.key(middle) <= key { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Puts `right` after the child at `at`, and the key between them.
    fn insert(&mut self, at: usize, key: &[u8], right: Arc<Page>) {
        let start = self.start(at);
        self.keys.splice(start..start, key.iter().copied());
        let len = u32::try_from(key.len()).unwrap_or(u32::MAX);
        self.ends.insert(at, u32::try_from(start).unwrap_or(u32::MAX));
        for end in self.ends.iter_mut().skip(at) {
            *end += len;
        }
        self.children.insert(at + 1, right);
    }

    /// Takes a child away, and one of the keys beside it.
    fn remove(&mut self, at: usize) {
        self.children.remove(at);
        let at = at.min(self.ends.len().saturating_sub(1));
        let (start, end) = (self.start(at), self.start(at + 1));
        if self.ends.is_empty() {
            return;
        }
        self.keys.drain(start..end);
        self.ends.remove(at);
        let len = u32::try_from(end - start).unwrap_or(u32::MAX);
        for end in self.ends.iter_mut().skip(at) {
            *end -= len;
        }
    }

    /// The key in the middle and everything right of it, if there is too much.
    fn split(&mut self) -> Option<(Box<[u8]>, Self)> {
        if self.children.len() <= BRANCH_CHILDREN {
            return None;
        }
        let half = self.children.len() / 2;
        let separator = Box::from(self.key(half - 1));
        let cut = self.start(half);
        let children = self.children.split_off(half);
        let keys = self.keys.split_off(cut);
        let cut = u32::try_from(cut).unwrap_or(u32::MAX);
        let ends = self.ends.split_off(half).iter().map(|end| end - cut).collect();
        self.ends.pop();
        self.keys.truncate(self.start(half - 1));
        Some((separator, Self { keys, ends, children }))
    }
}

impl Tree {
    /// What the entries take, roughly, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.root.as_ref().is_none_or(|root| root.is_empty())
    }

    /// The leaf and slot with this key.
    pub(crate) fn find(&self, key: &[u8]) -> Option<(&Arc<Page>, usize)> {
        let mut page = self.root.as_ref()?;
        loop {
            match &**page {
                Page::Leaf(leaf) => return leaf.find(key).ok().map(|at| (page, at)),
                Page::Branch(branch) => page = branch.children.get(branch.child_of(key))?,
            }
        }
    }

    /// Puts a value or a tombstone over whatever is there.
    pub(crate) fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        let root = self.root.get_or_insert_with(|| Arc::new(Page::Leaf(Leaf::default())));
        let (more, less, split) = put(root, key, value);
        self.bytes = (self.bytes + more).saturating_sub(less);
        if let Some((key, right)) = split {
            let left = Arc::clone(root);
            *root = Arc::new(Page::Branch(Branch::of(&key, left, right)));
        }
    }

    /// Removes every entry from `low` up to, not including, `high`.
    pub(crate) fn remove_range(&mut self, low: &[u8], high: &[u8]) {
        if low >= high || self.cursor_is_past(low, high) {
            return;
        }
        let Some(root) = &mut self.root else { return };
        let bytes = remove_range(root, low, Some(high));
        self.bytes = self.bytes.saturating_sub(bytes);
        while let Page::Branch(branch) = &**root
            && let [only] = branch.children.as_slice()
        {
            *root = Arc::clone(only);
        }
        if root.is_empty() {
            self.root = None;
        }
    }

    /// Whether nothing is there to be removed; a miss must not copy the path.
    fn cursor_is_past(&self, low: &[u8], high: &[u8]) -> bool {
        let mut cursor = Cursor::new(self.clone());
        cursor.seek(low);
        !cursor.is_valid() || cursor.key() >= high
    }
}

type Split = Option<(Box<[u8]>, Arc<Page>)>;

fn put(page: &mut Arc<Page>, key: &[u8], value: Option<&[u8]>) -> (usize, usize, Split) {
    match Arc::make_mut(page) {
        Page::Leaf(leaf) => {
            let (more, less) = leaf.put(key, value);
            let split = leaf.is_too_large().then(|| {
                let right = leaf.split();
                (Box::from(right.key(0)), Arc::new(Page::Leaf(right)))
            });
            if leaf.waste > LEAF_BYTES {
                *leaf = leaf.clone();
            }
            (more, less, split)
        }
        Page::Branch(branch) => {
            let at = branch.child_of(key);
            let child = branch.children.get_mut(at).expect("one more child than keys");
            let (more, less, split) = put(child, key, value);
            if let Some((key, right)) = split {
                branch.insert(at, &key, right);
            }
            let split = branch.split();
            (more, less, split.map(|(key, right)| (key, Arc::new(Page::Branch(right)))))
        }
    }
}

/// Removes a range below a page, which may be empty afterwards; says how many bytes went.
fn remove_range(page: &mut Arc<Page>, low: &[u8], high: Option<&[u8]>) -> usize {
    match Arc::make_mut(page) {
        Page::Leaf(leaf) => {
            let first = leaf.find(low).unwrap_or_else(|at| at);
            let end = high.map_or(leaf.len(), |high| leaf.find(high).unwrap_or_else(|at| at));
            let end = end.max(first);
            let bytes = leaf.bytes_of(first..end);
            leaf.waste += bytes - ENTRY_COST * (end - first);
            leaf.slots.drain(first..end);
            bytes
        }
        Page::Branch(branch) => {
            let first = branch.child_of(low);
            let last = high.map_or(branch.children.len() - 1, |high| branch.child_of(high));
            let mut bytes = 0;
            for at in first..=last {
                let Some(child) = branch.children.get_mut(at) else { continue };
                if at > first && at < last {
                    // Wholly inside.
                    bytes += child.bytes();
                    *child = Arc::new(Page::Leaf(Leaf::default()));
                } else {
                    bytes += remove_range(child, low, high);
                }
            }
            for at in (first..=last).rev() {
                if branch.children.get(at).is_some_and(|child| child.is_empty()) {
                    branch.remove(at);
                }
            }
            bytes
        }
    }
}

/// Walks over one version of the map, in both directions.
pub(crate) struct Cursor {
    tree: Tree,
    /// Branches from the root down, each with the child the walk went into.
    path: Vec<(Arc<Page>, usize)>,
    leaf: Option<Arc<Page>>,
    at: usize,
    valid: bool,
}

impl Cursor {
    /// A cursor that stands nowhere yet.
    pub(crate) fn new(tree: Tree) -> Self {
        Self { tree, path: Vec::new(), leaf: None, at: 0, valid: false }
    }

    /// Whether it stands on an entry.
    pub(crate) fn is_valid(&self) -> bool {
        self.valid
    }

    /// The key it stands on.
    pub(crate) fn key(&self) -> &[u8] {
        self.leaf().map_or(&[], |leaf| leaf.key(self.at))
    }

    fn leaf(&self) -> Option<&Leaf> {
        self.leaf.as_ref().and_then(|page| page.leaf())
    }

    /// The value it stands on; `None`: a tombstone.
    pub(crate) fn value(&self) -> Option<&[u8]> {
        self.leaf().and_then(|leaf| leaf.value(self.at))
    }

    fn leaf_len(&self) -> usize {
        self.leaf().map_or(0, Leaf::len)
    }

    /// Goes down to the leaf that `choose` leads to.
    fn descend(&mut self, from: Option<Arc<Page>>, choose: impl Fn(&Branch) -> usize) {
        let Some(mut page) = from else { return };
        while let Page::Branch(branch) = &*page {
            let at = choose(branch);
            let Some(child) = branch.children.get(at).map(Arc::clone) else { break };
            self.path.push((page, at));
            page = child;
        }
        self.leaf = Some(page);
    }

    /// Stands on the first entry not before `key`.
    pub(crate) fn seek(&mut self, key: &[u8]) {
        self.path.clear();
        self.descend(self.tree.root.clone(), |branch| branch.child_of(key));
        self.at = self.leaf().map_or(0, |leaf| leaf.find(key).unwrap_or_else(|at| at));
        self.valid = self.at < self.leaf_len() || self.next_leaf();
    }

    /// Stands on the last entry before `key`; with `None`, on the very last one.
    pub(crate) fn seek_before(&mut self, key: Option<&[u8]>) {
        self.path.clear();
        let last = |branch: &Branch| branch.children.len().saturating_sub(1);
        let choose = |branch: &Branch| key.map_or(last(branch), |key| branch.child_of(key));
        self.descend(self.tree.root.clone(), choose);
        let end = self
            .leaf()
            .map_or(0, |leaf| key.map_or(leaf.len(), |key| leaf.find(key).unwrap_or_else(|at| at)));
        if end > 0 {
            (self.at, self.valid) = (end - 1, true);
        } else {
            self.valid = self.previous_leaf();
        }
    }

    /// Goes on to the next entry.
    pub(crate) fn next(&mut self) {
        self.at += 1;
        if self.at >= self.leaf_len() {
            self.valid = self.next_leaf();
        }
    }

    /// Goes back to the entry before.
    pub(crate) fn previous(&mut self) {
        if self.at > 0 {
            self.at -= 1;
        } else {
            self.valid = self.previous_leaf();
        }
    }

    fn next_leaf(&mut self) -> bool {
        while let Some((page, at)) = self.path.pop() {
            if let Page::Branch(branch) = &*page
                && let Some(child) = branch.children.get(at + 1).map(Arc::clone)
            {
                self.path.push((Arc::clone(&page), at + 1));
                self.descend(Some(child), |_| 0);
                self.at = 0;
                return true;
            }
        }
        false
    }

    fn previous_leaf(&mut self) -> bool {
        while let Some((page, at)) = self.path.pop() {
            if let Page::Branch(branch) = &*page
                && let Some(before) = at.checked_sub(1)
                && let Some(child) = branch.children.get(before).map(Arc::clone)
            {
                self.path.push((Arc::clone(&page), before));
                self.descend(Some(child), |branch| branch.children.len().saturating_sub(1));
                self.at = self.leaf_len().saturating_sub(1);
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ops::Bound;

    use super::*;
    use crate::disk::sim::next_random;

    type Model = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

    fn below(state: &mut u64, below: u64) -> usize {
        usize::try_from(next_random(state) % below).unwrap()
    }

    fn random_key(state: &mut u64) -> Vec<u8> {
        format!("{:04}{}", below(state, 600), "k".repeat(below(state, 3))).into_bytes()
    }

    fn check_all(tree: &Tree, model: &Model) {
        let mut cursor = Cursor::new(tree.clone());
        cursor.seek(b"");
        for (key, value) in model {
            assert!(cursor.is_valid());
            assert_eq!((cursor.key(), cursor.value()), (&**key, value.as_deref()));
            cursor.next();
        }
        assert!(!cursor.is_valid());
        cursor.seek_before(None);
        for (key, value) in model.iter().rev() {
            assert_eq!((cursor.key(), cursor.value()), (&**key, value.as_deref()));
            cursor.previous();
        }
        assert!(!cursor.is_valid());
        let bytes: usize = model
            .iter()
            .map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len) + ENTRY_COST)
            .sum();
        assert_eq!(tree.bytes(), bytes);
    }

    fn check_at(tree: &Tree, model: &Model, key: &[u8]) {
        let found = tree.find(key).map(|(page, at)| page.leaf().unwrap().value(at));
        assert_eq!(found, model.get(key).map(|value| value.as_deref()));
        let mut cursor = Cursor::new(tree.clone());
        cursor.seek(key);
        let after = model.range(key.to_vec()..).next();
        assert_eq!(cursor.is_valid().then(|| cursor.key().to_vec()), after.map(|a| a.0.clone()));
        cursor.seek_before(Some(key));
        let before = model.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(key))).next_back();
        assert_eq!(cursor.is_valid().then(|| cursor.key().to_vec()), before.map(|b| b.0.clone()));
    }

    #[test]
    fn it_does_what_a_map_does() {
        for seed in 0..20 {
            let mut random = seed;
            let (mut tree, mut model) = (Tree::default(), Model::new());
            let mut versions = Vec::new();
            for step in 0..3_000 {
                let key = random_key(&mut random);
                match below(&mut random, 40) {
                    0 => {
                        let other = random_key(&mut random);
                        let (low, high) = (key.clone().min(other.clone()), key.clone().max(other));
                        tree.remove_range(&low, &high);
                        model.retain(|key, _| *key < low || *key >= high);
                    }
                    1..=5 => {
                        tree.put(&key, None);
                        model.insert(key.clone(), None);
                    }
                    large => {
                        let len = if large == 6 { 5_000 } else { below(&mut random, 120) };
                        let value = vec![u8::try_from(step % 251).unwrap(); len];
                        tree.put(&key, Some(&value));
                        model.insert(key.clone(), Some(value));
                    }
                }
                check_at(&tree, &model, &key);
                if step % 500 == 0 {
                    versions.push((tree.clone(), model.clone()));
                }
            }
            versions.push((tree, model));
            for (tree, model) in &versions {
                check_all(tree, model);
            }
        }
    }

    #[test]
    fn keys_that_grow_leave_full_leaves() {
        let mut tree = Tree::default();
        for number in 0..10_000u32 {
            tree.put(&number.to_be_bytes(), Some(&[7; 100]));
        }
        let mut cursor = Cursor::new(tree);
        cursor.seek(b"");
        let (mut leaves, mut last) = (0, std::ptr::null());
        while cursor.is_valid() {
            let leaf = Arc::as_ptr(cursor.leaf.as_ref().unwrap());
            leaves += usize::from(!std::ptr::eq(leaf, last));
            last = leaf;
            cursor.next();
        }
        // 39 entries of 104 bytes fit.
        assert!(leaves < 10_000 / 38, "{leaves}");
    }
}
