//! What is known of a value before there is one: its type, its fields, and how large it can be.
//!
//! The checker gives every part of an expression a shape. Sizes are upper bounds, so that a cost computed from them is one too.

use std::{collections::BTreeMap, sync::Arc};

use super::limits;

/// Bytes that are copied or compared in about the time in which one node is evaluated.
const BYTES_PER_UNIT: u64 = 1024;

/// The shape of a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    /// The item of an empty list: nothing.
    Never,
    /// Anything.
    Any(Size),
    /// `null`.
    Null,
    /// `bool`.
    Bool,
    /// `int`.
    Int,
    /// `uint`.
    UInt,
    /// `double`.
    Double,
    /// `string` of at most so many bytes.
    Text(u64),
    /// `bytes` of at most so many bytes.
    Bytes(u64),
    /// `timestamp`.
    Time,
    /// `duration`.
    Duration,
    /// A type, as `type(x)` gives it.
    Type,
    /// A list.
    List(Items),
    /// A map with free keys, as labels are.
    Map(Items),
    /// A map whose keys are known: an API object.
    Object(Arc<Object>),
    /// A value or none.
    Optional(Arc<Shape>),
}

/// How large something of unknown shape can be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Size {
    /// Longest string in it, in bytes.
    pub bytes: u64,
    /// Longest list in it.
    pub len: u64,
    /// Cost of copying it.
    pub copy: u64,
    /// Cost of going through all of it.
    pub whole: u64,
}

/// The items of a list, or the values of a map.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Items {
    /// Shape of each.
    pub of: Arc<Shape>,
    /// How many at most.
    pub len: u64,
    /// Part of an input, and so shared when copied.
    pub shared: bool,
}

/// Fields of an API object.
#[derive(Debug, PartialEq)]
pub(super) struct Object {
    /// Field names and what they hold.
    pub fields: BTreeMap<String, Shape>,
}

impl Shape {
    /// A scalar of an input whose type the schema leaves open: a quantity, a port.
    pub(super) const UNKNOWN_INPUT: Self = Self::Any(Size {
        bytes: limits::INPUT_STRING_BYTES as u64,
        len: limits::INPUT_ITEMS as u64,
        copy: limits::INPUT_STRING_BYTES as u64 / BYTES_PER_UNIT + 1,
        whole: limits::INPUT_STRING_BYTES as u64 / BYTES_PER_UNIT + 1,
    });

    /// What CEL calls it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Never | Self::Any(_) => "dyn",
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::UInt => "uint",
            Self::Double => "double",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Time => "timestamp",
            Self::Duration => "duration",
            Self::Type => "type",
            Self::List(_) => "list",
            Self::Map(_) | Self::Object(_) => "map",
            Self::Optional(_) => "optional",
        }
    }

    /// It may turn out to be of any type.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self, Self::Any(_) | Self::Never)
    }

    /// Longest string in it.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Any(size) => size.bytes,
            Self::Text(bytes) | Self::Bytes(bytes) => *bytes,
            Self::List(items) | Self::Map(items) => items.of.bytes(),
            Self::Optional(inner) => inner.bytes(),
            Self::Object(_) => limits::INPUT_STRING_BYTES as u64,
            _ => 0,
        }
    }

    /// Longest list in it.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Any(size) => size.len,
            Self::List(items) | Self::Map(items) => items.len.max(items.of.len()),
            Self::Optional(inner) => inner.len(),
            Self::Object(_) => limits::INPUT_ITEMS as u64,
            _ => 0,
        }
    }

    /// Cost of copying it.
    pub(super) fn copy(&self) -> u64 {
        match self {
            Self::Any(size) => size.copy,
            Self::Text(bytes) | Self::Bytes(bytes) => 1 + bytes / BYTES_PER_UNIT,
            Self::List(items) | Self::Map(items) if !items.shared => items.len.saturating_mul(items.of.copy()).saturating_add(1),
            Self::Optional(inner) => inner.copy().saturating_add(1),
            _ => 1,
        }
    }

    /// Cost of going through all of it, as comparing does. Beyond all bounds for API objects: nobody needs to.
    pub(super) fn whole(&self) -> u64 {
        match self {
            Self::Any(size) => size.whole,
            Self::Object(_) => u64::MAX,
            Self::List(items) | Self::Map(items) => items.len.saturating_mul(items.of.whole()).saturating_add(1),
            Self::Optional(inner) => inner.whole(),
            other => other.copy(),
        }
    }

    /// How large it can be, whatever it is.
    pub(super) fn size(&self) -> Size {
        Size { bytes: self.bytes(), len: self.len(), copy: self.copy(), whole: self.whole() }
    }

    /// The shape of what is either of the two.
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Never, shape) | (shape, Self::Never) => shape,
            (Self::Text(a), Self::Text(b)) => Self::Text(a.max(b)),
            (Self::Bytes(a), Self::Bytes(b)) => Self::Bytes(a.max(b)),
            (Self::List(a), Self::List(b)) => Self::List(a.or(b)),
            (Self::Map(a), Self::Map(b)) => Self::Map(a.or(b)),
            (Self::Optional(a), Self::Optional(b)) => Self::Optional(Arc::new(Shape::clone(&a).or(Shape::clone(&b)))),
            (a, b) if a == b => a,
            (a, b) => Self::Any(a.size().max(b.size())),
        }
    }
}

impl Items {
    /// Items of an input.
    pub(super) fn of_input(of: Shape, len: usize) -> Self {
        Self { of: Arc::new(of), len: len as u64, shared: true }
    }

    /// Items that the expression makes.
    pub(super) fn built(of: Shape, len: u64) -> Self {
        Self { of: Arc::new(of), len, shared: false }
    }

    fn or(self, other: Self) -> Self {
        Self {
            of: Arc::new(Shape::clone(&self.of).or(Shape::clone(&other.of))),
            len: self.len.max(other.len),
            shared: self.shared && other.shared,
        }
    }
}

impl Size {
    /// The larger of both, part by part.
    pub(super) fn max(self, other: Self) -> Self {
        self.with(other, u64::max)
    }

    /// Room for both, as `+` makes it.
    pub(super) fn sum(self, other: Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    fn with(self, other: Self, joined: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            bytes: joined(self.bytes, other.bytes),
            len: joined(self.len, other.len),
            copy: joined(self.copy, other.copy),
            whole: joined(self.whole, other.whole),
        }
    }
}
