//! Patterns of `matches`, compiled once and bounded. The crate would compile them anew at every call.

use std::any::Any;

use cel::{
    DeclarationError, Env, ExecutionError,
    common::{
        types::{CelBool, CelString, STRING_TYPE, Type},
        value::{CowVal, StaticVal, Val},
    },
};
use regex::{Regex, RegexBuilder};

use super::limits;

/// Cost of one match beside that of the text, which is one a byte: an unfavourable pattern takes many steps for each.
pub(super) const COST: u64 = 32;

static TYPE: Type = Type::new_unspecified_type("pattern");

/// A compiled pattern. It stands in the expression as a variable, under [`name`].
#[derive(Clone, Debug)]
pub(super) struct Pattern(Regex);

/// The variable for the pattern of this number. No source can spell it.
pub(super) fn name(number: usize) -> String {
    format!("@pattern{number}")
}

/// The number in a variable made by [`name`].
pub(super) fn number(name: &str) -> Option<usize> {
    name.strip_prefix("@pattern")?.parse().ok()
}

impl Pattern {
    /// Compiles it, or says why not.
    pub(super) fn compile(source: &str) -> Result<Self, String> {
        if source.len() > limits::PATTERN_BYTES {
            return Err(format!("the pattern has {} bytes, and {} are allowed", source.len(), limits::PATTERN_BYTES));
        }
        RegexBuilder::new(source).size_limit(limits::PATTERN_PROGRAM_BYTES).build().map(Self).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "the pattern is too expensive: repeat less".to_owned(),
            error => format!("the pattern is not valid: {}", error.to_string().lines().last().unwrap_or_default()),
        })
    }
}

/// Teaches `matches` to take a [`Pattern`], called as a method or as a function.
pub(super) fn declare(env: &mut Env) -> Result<(), DeclarationError> {
    env.add_member_overload("matches", "string_matches_pattern", STRING_TYPE, vec![TYPE.to_owned()], matches)?;
    env.add_overload("matches", "matches_string_pattern", vec![STRING_TYPE, TYPE.to_owned()], matches)
}

fn matches<'b, 'v>(operands: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [text, pattern] = operands.as_slice() else {
        return Err(ExecutionError::invalid_argument_count(2, operands.len()));
    };
    match (text.downcast_ref::<CelString>(), pattern.downcast_ref::<Pattern>()) {
        (Some(text), Some(Pattern(regex))) => Ok(CowVal::owned(CelBool::from(regex.is_match(text.inner())))),
        _ => Err(ExecutionError::missing_argument_or_target()),
    }
}

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        &TYPE
    }

    fn cel_type() -> &'static Type {
        &TYPE
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Pattern {}
