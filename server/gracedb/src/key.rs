//! Keys that sort: a key is turned into bytes whose plain byte order is the order of the values.
//!
//! ```text
//!   u8..u128     big-endian                             bool       0 or 1
//!   i8..i64      big-endian, sign bit flipped           [u8; N]    the bytes
//!   String,      the bytes, each 00 written as 00 FF,   Option<P>  00, or 01 and P
//!   Vec<u8>      then 00 00
//! ```
//! Parts of a composite key stand one after the other. Invariants: `a < b` exactly when
//! `bytes(a) < bytes(b)`; no part's bytes are a prefix of another value of the same part, so a
//! prefix of parts is a prefix of bytes. The encoding is part of the file format: it never changes.
//! Not here: which table a key belongs to (`space`).

/// One field of a key.
pub trait KeyPart: Sized {
    /// Appends the sortable bytes.
    fn put(&self, out: &mut Vec<u8>);
    /// Takes the part off the front of `bytes`; `None` when they are not such a part.
    fn take(bytes: &mut &[u8]) -> Option<Self>;
}

/// A whole key: one part, or a tuple of up to six.
pub trait Key: Sized {
    /// Appends the sortable bytes.
    fn put(&self, out: &mut Vec<u8>);
    /// Takes the key off the front of `bytes`; `None` when they are not such a key.
    fn take(bytes: &mut &[u8]) -> Option<Self>;
}

/// Something that names a key of type `K`: the key, or a borrowed form (`&str` for `String`).
pub trait KeyFor<K> {
    /// Appends the sortable bytes of the key it names.
    fn put_for(&self, out: &mut Vec<u8>);
}

/// The first one or more parts of a composite key of type `K`.
pub trait PrefixFor<K> {
    /// How many parts.
    const PARTS: usize;
    /// Appends the sortable bytes of the parts it names.
    fn put_prefix(&self, out: &mut Vec<u8>);
}

fn take_bytes<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(head)
}

macro_rules! unsigned {
    ($($int:ty),*) => { $(
        impl KeyPart for $int {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }
            fn take(bytes: &mut &[u8]) -> Option<Self> {
                take_bytes(bytes, size_of::<$int>())?.try_into().ok().map(<$int>::from_be_bytes)
            }
        }
    )* };
}
unsigned!(u8, u16, u32, u64, u128);

macro_rules! signed {
    ($($int:ty),*) => { $(
        impl KeyPart for $int {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&(*self ^ <$int>::MIN).to_be_bytes());
            }
            fn take(bytes: &mut &[u8]) -> Option<Self> {
                let taken = take_bytes(bytes, size_of::<$int>())?.try_into().ok()?;
                Some(<$int>::from_be_bytes(taken) ^ <$int>::MIN)
            }
        }
    )* };
}
signed!(i8, i16, i32, i64);

impl KeyPart for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        match take_bytes(bytes, 1)? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
}

impl<const N: usize> KeyPart for [u8; N] {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        take_bytes(bytes, N)?.try_into().ok()
    }
}

fn put_escaped(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        out.push(byte);
        if byte == 0 {
            out.push(0xFF);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

fn take_escaped(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    loop {
        match take_bytes(bytes, 1)? {
            [0] => match take_bytes(bytes, 1)? {
                [0xFF] => text.push(0),
                [0] => return Some(text),
                _ => return None,
            },
            other => text.extend_from_slice(other),
        }
    }
}

impl KeyPart for Vec<u8> {
    fn put(&self, out: &mut Vec<u8>) {
        put_escaped(self, out);
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        take_escaped(bytes)
    }
}

impl KeyPart for String {
    fn put(&self, out: &mut Vec<u8>) {
        put_escaped(self.as_bytes(), out);
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        Self::from_utf8(take_escaped(bytes)?).ok()
    }
}

impl<P: KeyPart> KeyPart for Option<P> {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some()));
        if let Some(part) = self {
            part.put(out);
        }
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        match take_bytes(bytes, 1)? {
            [0] => Some(None),
            [1] => P::take(bytes).map(Some),
            _ => None,
        }
    }
}

impl<P: KeyPart> Key for P {
    fn put(&self, out: &mut Vec<u8>) {
        KeyPart::put(self, out);
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        KeyPart::take(bytes)
    }
}

impl<P: KeyPart> KeyFor<P> for P {
    fn put_for(&self, out: &mut Vec<u8>) {
        KeyPart::put(self, out);
    }
}

macro_rules! borrowed {
    ($($borrowed:ty => $part:ty),* $(,)?) => { $(
        impl KeyFor<$part> for $borrowed {
            fn put_for(&self, out: &mut Vec<u8>) {
                put_escaped(self.as_ref(), out);
            }
        }
    )* };
}
borrowed!(str => String, &str => String, &String => String);
borrowed!([u8] => Vec<u8>, &[u8] => Vec<u8>, &Vec<u8> => Vec<u8>);

macro_rules! tuple {
    ($($letter:ident $key:ident $at:tt),+) => {
        impl<$($letter: KeyPart),+> Key for ($($letter,)+) {
            fn put(&self, out: &mut Vec<u8>) {
                $( KeyPart::put(&self.$at, out); )+
            }
            fn take(bytes: &mut &[u8]) -> Option<Self> {
                Some(($(<$letter as KeyPart>::take(bytes)?,)+))
            }
        }
        impl<$($letter: KeyFor<$key>, $key: KeyPart),+> KeyFor<($($key,)+)> for ($($letter,)+) {
            fn put_for(&self, out: &mut Vec<u8>) {
                $( self.$at.put_for(out); )+
            }
        }
    };
}
tuple!(A KA 0);
tuple!(A KA 0, B KB 1);
tuple!(A KA 0, B KB 1, C KC 2);
tuple!(A KA 0, B KB 1, C KC 2, D KD 3);
tuple!(A KA 0, B KB 1, C KC 2, D KD 3, E KE 4);
tuple!(A KA 0, B KB 1, C KC 2, D KD 3, E KE 4, F KF 5);

/// A key of one part is all that can be said of it.
impl PrefixFor<Self> for String {
    const PARTS: usize = 1;
    fn put_prefix(&self, out: &mut Vec<u8>) {
        self.put_for(out);
    }
}

macro_rules! prefix {
    ([$($letter:ident $key:ident $at:tt),+] [$($rest:ident),*]) => {
        impl<$($letter: KeyFor<$key>, $key: KeyPart,)+ $($rest: KeyPart),*>
            PrefixFor<($($key,)+ $($rest,)*)> for ($($letter,)+)
        {
            const PARTS: usize = [$($at),+].len();
            fn put_prefix(&self, out: &mut Vec<u8>) {
                $( self.$at.put_for(out); )+
            }
        }
    };
}
prefix!([A KA 0] []);
prefix!([A KA 0] [Y1]);
prefix!([A KA 0] [Y1, Y2]);
prefix!([A KA 0] [Y1, Y2, Y3]);
prefix!([A KA 0] [Y1, Y2, Y3, Y4]);
prefix!([A KA 0] [Y1, Y2, Y3, Y4, Y5]);
prefix!([A KA 0, B KB 1] []);
prefix!([A KA 0, B KB 1] [Y1]);
prefix!([A KA 0, B KB 1] [Y1, Y2]);
prefix!([A KA 0, B KB 1] [Y1, Y2, Y3]);
prefix!([A KA 0, B KB 1] [Y1, Y2, Y3, Y4]);
prefix!([A KA 0, B KB 1, C KC 2] []);
prefix!([A KA 0, B KB 1, C KC 2] [Y1]);
prefix!([A KA 0, B KB 1, C KC 2] [Y1, Y2]);
prefix!([A KA 0, B KB 1, C KC 2] [Y1, Y2, Y3]);
prefix!([A KA 0, B KB 1, C KC 2, D KD 3] []);
prefix!([A KA 0, B KB 1, C KC 2, D KD 3] [Y1]);
prefix!([A KA 0, B KB 1, C KC 2, D KD 3] [Y1, Y2]);
prefix!([A KA 0, B KB 1, C KC 2, D KD 3, E KE 4] []);
prefix!([A KA 0, B KB 1, C KC 2, D KD 3, E KE 4] [Y1]);

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<K: Key>(key: &K) -> Vec<u8> {
        let mut out = Vec::new();
        key.put(&mut out);
        out
    }

    #[track_caller]
    fn check<K: Key + Ord + Clone + std::fmt::Debug>(keys: &[K]) {
        for a in keys {
            let encoded = bytes(a);
            let mut rest = encoded.as_slice();
            assert_eq!(K::take(&mut rest).as_ref(), Some(a));
            assert!(rest.is_empty());
            for b in keys {
                assert_eq!(a.cmp(b), encoded.cmp(&bytes(b)), "{a:?} against {b:?}");
            }
        }
    }

    #[test]
    fn bytes_sort_as_values_do() {
        check(&[0u8, 1, 127, 128, 255]);
        check(&[0u64, 1, 255, 256, u64::MAX]);
        check(&[i64::MIN, -256, -1, 0, 1, 255, i64::MAX]);
        check(&[false, true]);
        check(&[[0u8, 1], [0, 2], [1, 0]]);
        check(&[None, Some(0u8), Some(1)]);
        let texts =
            ["", "\0", "\0\0", "\0\u{1}", "a", "a\0", "a\0b", "a\u{1}", "ab", "b", "\u{ff}"];
        let strings = texts.map(String::from);
        check(&strings);
        check(&strings.clone().map(String::into_bytes));
        let pairs =
            strings.iter().flat_map(|a| strings.iter().map(move |b| (a.clone(), b.clone())));
        check(&pairs.collect::<Vec<_>>());
        check(&[(1u32, "a".to_owned(), -1i16), (1, "a".to_owned(), 0), (1, "b".to_owned(), -5)]);
    }

    #[test]
    fn key_bytes_are_frozen() {
        assert_eq!(bytes(&(1u16, -1i8, true)), [0, 1, 0x7F, 1]);
        assert_eq!(bytes(&("a\0b".to_owned(), Some(7u8))), [b'a', 0, 0xFF, b'b', 0, 0, 1, 7]);
        assert_eq!(bytes(&(1u8, i32::MIN)), [1, 0, 0, 0, 0]);
    }

    #[test]
    fn foreign_bytes_are_refused() {
        assert_eq!(<bool as Key>::take(&mut [2u8].as_slice()), None);
        assert_eq!(<u32 as Key>::take(&mut [1u8, 2, 3].as_slice()), None);
        assert_eq!(<String as Key>::take(&mut [b'a', 0, 7].as_slice()), None);
        assert_eq!(<String as Key>::take(&mut [0xFFu8, 0, 0].as_slice()), None);
        assert_eq!(<String as Key>::take(&mut b"a".as_slice()), None);
    }
}
