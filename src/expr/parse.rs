//! Source to tree. Only [`super::pool`] may run it: the parser recurses.

use cel::{
    Env, ParseErrors,
    common::ast::{IdedExpr, SourceInfo},
};

use super::{error::ExprError, limits};

/// The root that CEL reserves. Its parser refuses the word as a variable, and people know the object by no other name.
pub(super) const NAMESPACE: &str = "namespace";
/// What stands in for it in the tree. As long as it is, so that positions stay right.
pub(super) const STAND_IN: &str = "namespac_";

/// A tree, and where its nodes stand in the source.
pub(super) struct Parsed {
    /// The tree, with macros expanded.
    pub expression: IdedExpr,
    /// Positions.
    pub info: SourceInfo,
    /// [`STAND_IN`] is the namespace. Otherwise it is whatever the author meant by it.
    pub has_stand_in: bool,
}

/// Parses with the macros of this environment.
pub(super) fn parse(source: &str, env: &Env) -> Result<Parsed, ExprError> {
    let parse = |source: &str, has_stand_in: bool| {
        let parsed = env.parser().max_recursion_depth(limits::PARSER_DEPTH).parse_with_source_info(source);
        parsed.map(|(expression, info)| Parsed { expression, info, has_stand_in })
    };
    parse(source, false)
        .or_else(|errors| match renamed(source, &errors) {
            Some(source) => parse(&source, true),
            None => Err(errors),
        })
        .map_err(|errors| ExprError::syntax(&errors))
}

/// The source with [`STAND_IN`] wherever the parser itself found [`NAMESPACE`] as a variable: nothing here needs to know what is
/// a string or a field.
fn renamed(source: &str, errors: &ParseErrors) -> Option<String> {
    if source.contains(STAND_IN) {
        return None;
    }
    let places = errors.errors.iter().filter(|error| error.msg == format!("reserved identifier: {NAMESPACE}")).map(|error| error.pos);
    let mut renamed = source.to_owned();
    for (line, column) in places {
        let (line, column) = (usize::try_from(line).ok()?.checked_sub(1)?, usize::try_from(column).ok()?.checked_sub(1)?);
        let start: usize = source.split_inclusive('\n').take(line).map(str::len).sum();
        let start = start + source.get(start..)?.chars().take(column).map(char::len_utf8).sum::<usize>();
        let place = start..start + NAMESPACE.len();
        if source.get(place.clone())? != NAMESPACE {
            return None;
        }
        renamed.replace_range(place, STAND_IN);
    }
    (renamed != source).then_some(renamed)
}
