//! A vector with holes that are filled again: small numbers for things that come and go.
//!
//! Invariant: a number means the same thing from `insert` to `remove`.

/// Things by number.
#[derive(Debug, Clone)]
pub(crate) struct Slab<T> {
    slots: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    /// Puts a thing in; none if there are no more numbers.
    pub(crate) fn insert(&mut self, thing: T) -> Option<u32> {
        if let Some(number) = self.free.pop() {
            *self.slot(number)? = Some(thing);
            return Some(number);
        }
        let number = u32::try_from(self.slots.len()).ok().filter(|&number| number < u32::MAX)?;
        self.slots.push(Some(thing));
        Some(number)
    }

    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        self.slots.get(usize::try_from(number).ok()?)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.slot(number)?.as_mut()
    }

    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        let thing = self.slot(number)?.take()?;
        self.free.push(number);
        Some(thing)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// All of them, the lowest number first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(&self.slots).filter_map(|(number, slot)| Some((number, slot.as_ref()?)))
    }

    fn slot(&mut self, number: u32) -> Option<&mut Option<T>> {
        self.slots.get_mut(usize::try_from(number).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_used_again_when_they_are_free() {
        let mut slab = Slab::new();
        let [a, b] = ["a", "b"].map(|thing| slab.insert(thing).unwrap());
        assert_eq!(slab.remove(a), Some("a"));
        assert_eq!(slab.get(a), None);
        assert_eq!((slab.remove(a), slab.len()), (None, 1));
        assert_eq!(slab.insert("c"), Some(a));
        assert_eq!(slab.iter().collect::<Vec<_>>(), [(a, &"c"), (b, &"b")]);
        assert_eq!(slab.get_mut(7), None);
    }
}
