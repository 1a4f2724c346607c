//! What operators and functions take, what they give, and what they cost beside their operands.

use std::sync::Arc;

use cel::common::ast::operators as op;

use super::nearest;
use crate::expr::{
    limits,
    shape::{Items, Shape},
};

/// Every function by name; operators are not called by one.
const FUNCTIONS: [&str; 34] = [
    "bool",
    "bytes",
    "contains",
    "double",
    "duration",
    "dyn",
    "endsWith",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
    "hasValue",
    "int",
    "matches",
    "optional.none",
    "optional.of",
    "optional.ofNonZeroValue",
    "or",
    "orValue",
    "size",
    "startsWith",
    "string",
    "timestamp",
    "type",
    "uint",
    "value",
    op::NOT_STRICTLY_FALSE,
    op::IN,
];

/// Bytes that a search, a hash or a conversion passes in the time of one unit.
const BYTES_PER_UNIT: u64 = 64;

/// Shape and own cost of a call, or why there is none. The target of a method is the first operand.
pub(super) fn result(name: &str, member: bool, operands: &[Shape]) -> Result<(Shape, u64), String> {
    let found = match (name, operands) {
        (op::CONDITIONAL, [condition, a, b]) if is_bool(condition) => Some((a.clone().or(b.clone()), 0)),
        (op::LOGICAL_AND | op::LOGICAL_OR, [a, b]) if is_bool(a) && is_bool(b) => Some((Shape::Bool, 0)),
        (op::LOGICAL_NOT | op::NOT_STRICTLY_FALSE, [a]) if is_bool(a) => Some((Shape::Bool, 0)),
        (op::EQUALS | op::NOT_EQUALS, [a, b]) if may_be_equal(a, b) => Some((Shape::Bool, comparison(a, b)?)),
        (op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS, [a, b]) if are_ordered(a, b) => {
            Some((Shape::Bool, comparison(a, b)?.saturating_add(failure(operands))))
        }
        (op::IN, [item, container]) => membership(item, container)?.map(|cost| (Shape::Bool, cost.saturating_add(failure(operands)))),
        (op::INDEX, [container, index]) => element(container, index).map(|shape| (shape, hashing(index).saturating_add(failure(operands)))),
        (op::OPT_INDEX | op::OPT_SELECT, [container, index]) => {
            element(container, index).map(|shape| (optional(shape), hashing(index).saturating_add(failure(operands))))
        }
        (op::ADD, [a, b]) => sum(a, b)?.map(|shape| (shape.clone(), shape.copy().saturating_add(failure(operands)))),
        (op::SUBSTRACT | op::MULTIPLY | op::DIVIDE | op::MODULO | op::NEGATE, operands) => {
            arithmetic(name, operands).map(|shape| (shape, failure(operands)))
        }
        (_, operands) => function(name, member, operands).map(|shape| {
            let copied = shape.copy();
            (shape, operands.iter().map(hashing).fold(copied, u64::saturating_add))
        }),
    };
    found.ok_or_else(|| refusal(name, member, operands))
}

/// Going through the bytes of a string one by one.
fn hashing(text: &Shape) -> u64 {
    text.bytes() / BYTES_PER_UNIT
}

/// The interpreter copies the operands of some operators into the error when they do not fit, and `||` goes on after an error.
/// Known types always fit.
fn failure(operands: &[Shape]) -> u64 {
    if !operands.iter().any(Shape::is_unknown) {
        return 0;
    }
    operands.iter().map(Shape::whole).fold(0, u64::saturating_add)
}

fn optional(shape: Shape) -> Shape {
    match shape {
        optional @ Shape::Optional(_) => optional,
        shape => Shape::Optional(Arc::new(shape)),
    }
}

fn is_bool(shape: &Shape) -> bool {
    shape.is_unknown() || *shape == Shape::Bool
}

fn is_text(shape: &Shape) -> bool {
    shape.is_unknown() || matches!(shape, Shape::Text(_))
}

fn is_number(shape: &Shape) -> bool {
    matches!(shape, Shape::Int | Shape::UInt | Shape::Double)
}

fn may_be_equal(a: &Shape, b: &Shape) -> bool {
    let free = |shape: &Shape| shape.is_unknown() || *shape == Shape::Null;
    free(a) || free(b) || a.name() == b.name() || (is_number(a) && is_number(b))
}

fn are_ordered(a: &Shape, b: &Shape) -> bool {
    let ordered =
        |shape: &Shape| is_number(shape) || matches!(shape, Shape::Text(_) | Shape::Bytes(_) | Shape::Time | Shape::Duration | Shape::Bool);
    (a.is_unknown() || ordered(a)) && (b.is_unknown() || ordered(b)) && (a.is_unknown() || b.is_unknown() || may_be_equal(a, b))
}

/// Comparing ends where the smaller ends.
fn comparison(a: &Shape, b: &Shape) -> Result<u64, String> {
    match a.whole().min(b.whole()) {
        u64::MAX => Err("whole objects cannot be compared: compare the fields that matter".to_owned()),
        cost => Ok(cost),
    }
}

/// Cost of `item in container`, `None` for types that have none.
fn membership(item: &Shape, container: &Shape) -> Result<Option<u64>, String> {
    match container {
        Shape::List(items) if may_be_equal(item, &items.of) => comparison(item, &items.of).map(|cost| Some(items.len.saturating_mul(cost))),
        Shape::Map(_) if is_text(item) || is_number(item) || *item == Shape::Bool => Ok(Some(hashing(item))),
        Shape::Object(_) => Err("`in` does not look into objects: write has(object.field)".to_owned()),
        unknown if unknown.is_unknown() => comparison(item, unknown).map(|cost| Some(unknown.len().saturating_mul(cost))),
        _ => Ok(None),
    }
}

fn element(container: &Shape, index: &Shape) -> Option<Shape> {
    match container {
        Shape::List(items) if index.is_unknown() || matches!(index, Shape::Int | Shape::UInt) => Some(Shape::clone(&items.of)),
        Shape::Map(items) if is_text(index) || is_number(index) || *index == Shape::Bool => Some(Shape::clone(&items.of)),
        Shape::Optional(inner) => element(inner, index).map(|shape| Shape::Optional(Arc::new(shape))),
        unknown if unknown.is_unknown() => Some(unknown.clone()),
        _ => None,
    }
}

/// `+`, the one operator by which values grow.
fn sum(a: &Shape, b: &Shape) -> Result<Option<Shape>, String> {
    let shape = match (a, b) {
        (Shape::Text(a), Shape::Text(b)) => Shape::Text(a.saturating_add(*b)),
        (Shape::Bytes(a), Shape::Bytes(b)) => Shape::Bytes(a.saturating_add(*b)),
        (Shape::List(a), Shape::List(b)) => {
            Shape::List(Items::built(Shape::clone(&a.of).or(Shape::clone(&b.of)), a.len.saturating_add(b.len)))
        }
        (Shape::Time, Shape::Duration) | (Shape::Duration, Shape::Time) => Shape::Time,
        (Shape::Duration, Shape::Duration) => Shape::Duration,
        (a, b) if is_number(a) && a == b => a.clone(),
        (a, b) if a.is_unknown() || b.is_unknown() => Shape::Any(a.size().sum(b.size())),
        _ => return Ok(None),
    };
    if shape.bytes() > limits::BUILT_STRING_BYTES {
        return Err(format!("may build strings of {} bytes, and {} are allowed", shape.bytes(), limits::BUILT_STRING_BYTES));
    }
    Ok(Some(shape))
}

fn arithmetic(name: &str, operands: &[Shape]) -> Option<Shape> {
    match (name, operands) {
        (op::NEGATE, [a]) if a.is_unknown() || matches!(a, Shape::Int | Shape::Double) => Some(a.clone()),
        (op::SUBSTRACT, [Shape::Time, Shape::Time] | [Shape::Duration, Shape::Duration]) => Some(Shape::Duration),
        (op::SUBSTRACT, [Shape::Time, Shape::Duration]) => Some(Shape::Time),
        (op::NEGATE, _) => None,
        (_, [a, b]) if is_number(a) && a == b => Some(a.clone()),
        (_, [a, b]) if a.is_unknown() || b.is_unknown() => Some(Shape::Any(a.size().max(b.size()))),
        _ => None,
    }
}

fn function(name: &str, member: bool, operands: &[Shape]) -> Option<Shape> {
    let unknown = operands.first().is_some_and(Shape::is_unknown);
    let from = |accepted: &[&str]| unknown || operands.first().is_some_and(|shape| accepted.contains(&shape.name()));
    let converts = |accepted: &[&str], shape: Shape| (!member && operands.len() == 1 && from(accepted)).then_some(shape);
    match (name, operands) {
        ("size", [_]) if from(&["string", "bytes", "list", "map"]) => Some(Shape::Int),
        ("contains" | "startsWith" | "endsWith", [text, part]) if member && is_text(text) && is_text(part) => Some(Shape::Bool),
        ("bool", _) => converts(&["bool", "string"], Shape::Bool),
        ("int", _) => converts(&["int", "uint", "double", "string", "timestamp"], Shape::Int),
        ("uint", _) => converts(&["int", "uint", "double", "string"], Shape::UInt),
        ("double", _) => converts(&["int", "uint", "double", "string"], Shape::Double),
        ("timestamp", _) => converts(&["string", "timestamp", "int"], Shape::Time),
        ("duration", _) => converts(&["string", "duration"], Shape::Duration),
        ("bytes", [a]) => converts(&["string", "bytes"], Shape::Bytes(a.bytes())),
        // No number, date or duration is longer when it is written out.
        ("string", [a]) => {
            converts(&["bool", "int", "uint", "double", "string", "bytes", "timestamp", "duration"], Shape::Text(a.bytes().max(512)))
        }
        ("dyn", [a]) => converts(&[a.name()], Shape::Any(a.size())),
        ("type", [a]) => converts(&[a.name()], Shape::Type),
        ("getHours" | "getMinutes" | "getSeconds" | "getMilliseconds", [_]) if member && from(&["timestamp", "duration"]) => {
            Some(Shape::Int)
        }
        (
            "getDate" | "getDayOfMonth" | "getDayOfWeek" | "getDayOfYear" | "getFullYear" | "getMonth" | "getHours" | "getMinutes"
            | "getSeconds" | "getMilliseconds",
            [_, zone @ ..],
        ) if member && zone.len() <= 1 && zone.iter().all(is_text) && from(&["timestamp"]) => Some(Shape::Int),
        ("optional.none", []) => Some(Shape::Optional(Arc::new(Shape::Never))),
        ("optional.of" | "optional.ofNonZeroValue", [a]) => Some(Shape::Optional(Arc::new(a.clone()))),
        ("hasValue", [_]) if member && from(&["optional"]) => Some(Shape::Bool),
        ("value", [Shape::Optional(inner)]) if member => Some(Shape::clone(inner)),
        ("orValue", [Shape::Optional(inner), other]) if member => Some(Shape::clone(inner).or(other.clone())),
        ("or", [Shape::Optional(_), Shape::Optional(_)]) if member => Some(operands[0].clone().or(operands[1].clone())),
        ("value" | "orValue" | "or", [first, rest @ ..]) if member && unknown && rest.len() <= 1 => {
            Some(rest.iter().cloned().fold(Shape::Any(first.size()), Shape::or))
        }
        _ => None,
    }
}

fn refusal(name: &str, member: bool, operands: &[Shape]) -> String {
    let symbol: String = if name.starts_with(char::is_alphabetic) { name.to_owned() } else { name.replace(['_', '@'], "") };
    let types: Vec<_> = operands.iter().map(Shape::name).collect();
    let hint = match operands {
        [Shape::Text(_), Shape::Time] | [Shape::Time, Shape::Text(_)] => ": write timestamp(…) around the string",
        [Shape::Text(_), Shape::Duration] | [Shape::Duration, Shape::Text(_)] => ": write duration(…) around the string",
        [a, b] if is_number(a) && is_number(b) => ": convert one, for instance with int(…)",
        [a, Shape::Text(_)] if is_number(a) => ": write string(…) or int(…)",
        [Shape::Text(_), b] if is_number(b) => ": write string(…) or int(…)",
        _ => "",
    };
    if name.starts_with(char::is_alphabetic) && !FUNCTIONS.contains(&name) {
        return match nearest::to(name, FUNCTIONS.into_iter().filter(|name| !name.starts_with('@'))) {
            Some(known) => format!("there is no function `{name}`; did you mean `{known}`?"),
            None => format!("there is no function `{name}` here"),
        };
    }
    match (operands, member) {
        ([], _) => format!("`{symbol}` needs operands"),
        ([one], false) => format!("`{symbol}` cannot be used on a {}{hint}", one.name()),
        (_, true) => format!("`{symbol}` cannot be called on a {} with ({}){hint}", types[0], types[1..].join(", ")),
        (_, false) => format!("`{symbol}` cannot be used on {}{hint}", types.join(" and ")),
    }
}
