//! State as plain values: what a chip is made of, by name, so that it can be written down, read by others and taken on again.
//!
//! A structure says once which of its fields are state (`plain_struct!`), an enumeration what its variants are called
//! (`plain_enum!`). Whoever takes a state on has foreign input before it: a value that cannot be is a [`BadState`] that
//! names its place, and changes nothing.

use std::collections::VecDeque;
use std::fmt;

/// A plain value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Nothing,
    Bool(bool),
    Int(u64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    /// In the order of the fields.
    Map(Vec<(String, Value)>),
}

/// What is wrong with a state, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadState {
    what: String,
    missing: bool,
}

impl BadState {
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), missing: false }
    }

    /// Nothing is wrong with the state: the host lacks what it needs.
    pub fn missing(what: impl Into<String>) -> Self {
        Self { what: what.into(), missing: true }
    }

    pub fn is_missing(&self) -> bool {
        self.missing
    }

    /// The same, one level up: as far as it is the state that is wrong.
    #[must_use]
    pub fn within(self, name: &str) -> Self {
        if self.missing { self } else { Self::new(format!("{name}: {}", self.what)) }
    }
}

impl fmt::Display for BadState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.what)
    }
}

impl std::error::Error for BadState {}

/// What can be written down as a [`Value`].
pub trait Plain: Sized {
    fn save(&self) -> Value;
    /// # Errors
    /// [`BadState`] if the value cannot be one of these.
    fn load(value: &Value) -> Result<Self, BadState>;
}

fn wrong(wanted: &str) -> BadState {
    BadState::new(format!("it is no {wanted}"))
}

/// The fields of a map, each to be taken once.
pub struct Fields<'a> {
    fields: &'a [(String, Value)],
    taken: usize,
}

impl<'a> Fields<'a> {
    /// # Errors
    /// [`BadState`] if it is no map.
    pub fn of(value: &'a Value) -> Result<Self, BadState> {
        match value {
            Value::Map(fields) => Ok(Self { fields, taken: 0 }),
            _ => Err(wrong("structure")),
        }
    }

    /// # Errors
    /// [`BadState`] if there is no such field, or it is not of this type.
    pub fn take<T: Plain>(&mut self, name: &str) -> Result<T, BadState> {
        T::load(self.value(name)?).map_err(|error| error.within(name))
    }

    /// The field as it is.
    ///
    /// # Errors
    /// [`BadState`] if there is no such field.
    pub fn value(&mut self, name: &str) -> Result<&'a Value, BadState> {
        let found = self.fields.iter().find(|(field, _)| field == name);
        self.taken += 1;
        found.map(|(_, value)| value).ok_or_else(|| BadState::new(format!("{name} is missing")))
    }

    /// # Errors
    /// [`BadState`] if there is more than was taken.
    pub fn end(self) -> Result<(), BadState> {
        if self.fields.len() == self.taken {
            return Ok(());
        }
        Err(BadState::new(format!("it has {} fields instead of {}", self.fields.len(), self.taken)))
    }
}

/// A map of what is given by name.
pub fn map<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Map(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// `plain_struct!(Timer { count, period })`: these fields are the state, and all of it. With `if sound`, a function of the
/// structure says whether the values go together.
#[macro_export]
macro_rules! plain_struct {
    ($type:ty { $($field:ident),* $(,)? } $(if $sound:path)?) => {
        impl $crate::state::Plain for $type {
            fn save(&self) -> $crate::state::Value {
                $crate::state::Value::Map(vec![
                    $((stringify!($field).to_owned(), $crate::state::Plain::save(&self.$field))),*
                ])
            }

            fn load(value: &$crate::state::Value) -> Result<Self, $crate::state::BadState> {
                let mut fields = $crate::state::Fields::of(value)?;
                let loaded = Self { $($field: fields.take(stringify!($field))?),* };
                fields.end()?;
                $(if !$sound(&loaded) {
                    return Err($crate::state::BadState::new("its values do not go together"));
                })?
                Ok(loaded)
            }
        }
    };
}

/// `plain_enum!(Mode { OneShot, Periodic })`: written down by name.
#[macro_export]
macro_rules! plain_enum {
    ($type:ty { $($variant:ident),* $(,)? }) => {
        impl $crate::state::Plain for $type {
            fn save(&self) -> $crate::state::Value {
                $crate::state::Value::Text(match self { $(Self::$variant => stringify!($variant)),* }.to_owned())
            }

            fn load(value: &$crate::state::Value) -> Result<Self, $crate::state::BadState> {
                let $crate::state::Value::Text(name) = value else {
                    return Err($crate::state::BadState::new("it is no name"));
                };
                match name.as_str() {
                    $(stringify!($variant) => Ok(Self::$variant),)*
                    _ => Err($crate::state::BadState::new(concat!("it is none of", $(" ", stringify!($variant)),*))),
                }
            }
        }
    };
}

// ---- plain types ------------------------------------------------------------------------------------

impl Plain for bool {
    fn save(&self) -> Value {
        Value::Bool(*self)
    }

    fn load(value: &Value) -> Result<Self, BadState> {
        match value {
            Value::Bool(value) => Ok(*value),
            _ => Err(wrong("yes or no")),
        }
    }
}

macro_rules! plain_unsigned {
    ($($type:ty)*) => {$(
        impl Plain for $type {
            fn save(&self) -> Value {
                Value::Int(*self as u64)
            }

            fn load(value: &Value) -> Result<Self, BadState> {
                match value {
                    Value::Int(value) => Self::try_from(*value)
                        .map_err(|_| BadState::new(format!("{value} is beyond {}", Self::MAX))),
                    _ => Err(wrong("number")),
                }
            }
        }
    )*};
}
plain_unsigned!(u8 u16 u32 u64 usize);

/// As the bits that it is made of.
impl Plain for i32 {
    fn save(&self) -> Value {
        (*self as u32).save()
    }

    fn load(value: &Value) -> Result<Self, BadState> {
        u32::load(value).map(|bits| bits as i32)
    }
}

impl Plain for String {
    fn save(&self) -> Value {
        Value::Text(self.clone())
    }

    fn load(value: &Value) -> Result<Self, BadState> {
        match value {
            Value::Text(text) => Ok(text.clone()),
            _ => Err(wrong("text")),
        }
    }
}

/// Bytes, which a list of numbers would be too long for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Plain for Bytes {
    fn save(&self) -> Value {
        Value::Bytes(self.0.clone())
    }

    fn load(value: &Value) -> Result<Self, BadState> {
        match value {
            Value::Bytes(bytes) => Ok(Self(bytes.clone())),
            _ => Err(wrong("bytes")),
        }
    }
}

impl Bytes {
    /// # Errors
    /// [`BadState`] if there are more or fewer.
    pub fn exactly<const N: usize>(&self) -> Result<[u8; N], BadState> {
        let length = self.0.len();
        self.0
            .as_slice()
            .try_into()
            .map_err(|_| BadState::new(format!("it has {length} bytes instead of {N}")))
    }

    /// Compressed (RFC 8878), for what may be much.
    pub fn packed(bytes: &[u8]) -> Self {
        let packed = zstd::bulk::compress(bytes, 1);
        Self(packed.expect("there is memory for what is compressed"))
    }

    /// What [`Self::packed`] was given, which the caller knows the length of.
    ///
    /// # Errors
    /// [`BadState`] if it is not, or has another length.
    pub fn unpacked(&self, length: usize) -> Result<Vec<u8>, BadState> {
        let bytes = zstd::bulk::decompress(&self.0, length).ok().filter(|bytes| bytes.len() == length);
        bytes.ok_or_else(|| BadState::new(format!("it is not {length} bytes, compressed")))
    }
}

impl<T: Plain> Plain for Option<T> {
    fn save(&self) -> Value {
        self.as_ref().map_or(Value::Nothing, Plain::save)
    }

    fn load(value: &Value) -> Result<Self, BadState> {
        match value {
            Value::Nothing => Ok(None),
            other => T::load(other).map(Some),
        }
    }
}

impl<T: Plain> Plain for Vec<T> {
    fn save(&self) -> Value {
        Value::List(self.iter().map(Plain::save).collect())
    }

    fn load(value: &Value) -> Result<Self, BadState> {
        let Value::List(values) = value else { return Err(wrong("list")) };
        let load = |(at, value)| T::load(value).map_err(|error: BadState| error.within(&format!("[{at}]")));
        values.iter().enumerate().map(load).collect()
    }
}

impl<T: Plain> Plain for VecDeque<T> {
    fn save(&self) -> Value {
        Value::List(self.iter().map(Plain::save).collect())
    }

    fn load(value: &Value) -> Result<Self, BadState> {
        Vec::load(value).map(Self::from)
    }
}

impl<T: Plain, const N: usize> Plain for [T; N] {
    fn save(&self) -> Value {
        Value::List(self.iter().map(Plain::save).collect())
    }

    fn load(value: &Value) -> Result<Self, BadState> {
        let values = Vec::load(value)?;
        let length = values.len();
        values.try_into().map_err(|_| BadState::new(format!("it has {length} values instead of {N}")))
    }
}

impl<A: Plain, B: Plain> Plain for (A, B) {
    fn save(&self) -> Value {
        Value::List(vec![self.0.save(), self.1.save()])
    }

    fn load(value: &Value) -> Result<Self, BadState> {
        match value {
            Value::List(values) if values.len() == 2 => Ok((A::load(&values[0])?, B::load(&values[1])?)),
            _ => Err(wrong("pair")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Mode {
        Once,
        Again,
    }
    plain_enum!(Mode { Once, Again });

    #[derive(Debug, PartialEq, Eq)]
    struct Timer {
        mode: Mode,
        due: Option<u64>,
        pair: (u8, bool),
        rest: [u16; 2],
    }
    plain_struct!(Timer { mode, due, pair, rest } if Timer::sound);

    impl Timer {
        fn sound(&self) -> bool {
            self.due != Some(13)
        }
    }

    fn timer() -> Timer {
        Timer { mode: Mode::Again, due: Some(7), pair: (1, true), rest: [5, 6] }
    }

    #[test]
    fn a_structure_comes_back_as_it_was() {
        assert_eq!(Timer::load(&timer().save()), Ok(timer()));
        let idle = Timer { mode: Mode::Once, due: None, ..timer() };
        assert_eq!(Timer::load(&idle.save()), Ok(idle));
    }

    #[test]
    fn bytes_are_packed() {
        let packed = Bytes::packed(&[7; 10_000]);
        assert!(packed.0.len() < 100);
        assert_eq!(packed.unpacked(10_000), Ok(vec![7; 10_000]));
        for length in [0, 9_999, 10_001] {
            assert!(packed.unpacked(length).is_err());
        }
        assert!(Bytes(vec![1; 100]).unpacked(10).is_err());
        assert_eq!(Bytes::packed(&[]).unpacked(0), Ok(vec![]));
    }

    #[test]
    fn what_cannot_be_is_named() {
        let spoiled = |name: &str, value: Value| {
            let Value::Map(mut fields) = timer().save() else { unreachable!() };
            fields.iter_mut().find(|(field, _)| field == name).expect("a field").1 = value;
            Timer::load(&Value::Map(fields)).unwrap_err().to_string()
        };
        assert_eq!(spoiled("mode", Value::Text("Never".into())), "mode: it is none of Once Again");
        assert_eq!(spoiled("pair", Value::List(vec![])), "pair: it is no pair");
        let numbers = vec![Value::Int(1), Value::Int(70_000)];
        assert_eq!(spoiled("rest", Value::List(numbers)), "rest: [1]: 70000 is beyond 65535");
        assert_eq!(spoiled("due", Value::Int(13)), "its values do not go together");
        let Value::Map(fields) = timer().save() else { unreachable!() };
        assert_eq!(
            Timer::load(&Value::Map(fields[1..].to_vec())).unwrap_err().to_string(),
            "mode is missing"
        );
        let more = [fields.as_slice(), &[("new".into(), Value::Nothing)]].concat();
        let error = Timer::load(&Value::Map(more)).unwrap_err();
        assert_eq!(error.to_string(), "it has 5 fields instead of 4");
        assert!(Timer::load(&Value::Nothing).is_err());
    }
}
