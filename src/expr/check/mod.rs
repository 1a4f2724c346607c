//! The fence: everything that is asked of an expression before it may ever be evaluated.
//!
//! The `cel` crate only parses. This gives every part a [`Shape`], and so refuses, wherever in the expression they stand and
//! however evaluation would go: unknown roots, fields that the API object does not have, functions that do not exist, operands
//! of the wrong type, patterns that are not constant, results that are not a boolean, and a cost that is too high.
//!
//! Not refused, because they depend on the objects and not on the author: label and annotation keys, optional fields that happen
//! to be absent, positions in lists, numbers that overflow.

mod call;
mod nearest;
mod structure;

use std::sync::Arc;

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, MapExpr, SourceInfo, operators};

use super::{
    error::ExprError,
    limits,
    parse::{self, Parsed},
    pattern::{self, Pattern},
    schema,
    shape::{Items, Object, Shape},
};

/// What the checker found out about an accepted expression.
#[derive(Debug)]
pub(super) struct Checked {
    /// The compiled patterns of `matches`, by number.
    pub patterns: Vec<Pattern>,
    /// It reads `now`.
    pub reads_now: bool,
    /// Upper bound of the work of one evaluation, in units of about one node.
    pub cost: u64,
}

/// Checks an expression, and replaces the patterns of `matches` by names of compiled ones.
pub(super) fn check(parsed: &mut Parsed) -> Result<Checked, ExprError> {
    let Parsed { expression, info: source, has_stand_in } = parsed;
    let source: &SourceInfo = source;
    structure::check(expression, source)?;
    let mut checker = Checker { source, has_stand_in: *has_stand_in, scopes: Vec::new(), patterns: Vec::new(), reads_now: false };
    let id = expression.id;
    let whole = checker.infer(expression)?;
    if !whole.shape.is_unknown() && whole.shape != Shape::Bool {
        return Err(ExprError::at(id, source, format!("the expression must be true or false, and it is of type {}", whole.shape.name())));
    }
    if whole.cost > limits::COST {
        let message = match whole.cost {
            u64::MAX => "may go through whole objects: name the fields that matter".to_owned(),
            cost => format!("costs up to {cost} steps, and {} are allowed: loop over less, or split the expression", limits::COST),
        };
        return Err(ExprError::at(id, source, message));
    }
    Ok(Checked { patterns: checker.patterns, reads_now: checker.reads_now, cost: whole.cost })
}

/// What is known of a part.
struct Typed {
    shape: Shape,
    cost: u64,
}

struct Checker<'a> {
    source: &'a SourceInfo,
    has_stand_in: bool,
    /// Variables of the loops around, innermost last.
    scopes: Vec<(String, Shape)>,
    patterns: Vec<Pattern>,
    reads_now: bool,
}

impl Checker<'_> {
    fn infer(&mut self, node: &mut IdedExpr) -> Result<Typed, ExprError> {
        let id = node.id;
        match &mut node.expr {
            Expr::Literal(literal) => Ok(Typed { shape: literal_shape(literal), cost: 1 }),
            Expr::Ident(name) => {
                if self.has_stand_in && name == parse::STAND_IN {
                    parse::NAMESPACE.clone_into(name);
                }
                self.variable(id, name)
            }
            Expr::Select(select) => {
                let operand = self.infer(&mut select.operand)?;
                let shape = self.member(id, &operand.shape, &select.operand, &select.field)?;
                let shape = if select.test { Shape::Bool } else { shape };
                Ok(Typed { shape, cost: operand.cost.saturating_add(1) })
            }
            Expr::Call(_) => self.call(node),
            Expr::List(list) => self.list(list),
            Expr::Map(map) => self.map(map),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Struct(_) | Expr::Unspecified => Err(self.refuse(id, "this cannot be used here")),
        }
    }

    fn refuse(&self, id: u64, message: impl Into<String>) -> ExprError {
        ExprError::at(id, self.source, message)
    }

    fn variable(&mut self, id: u64, name: &str) -> Result<Typed, ExprError> {
        // A lookup goes through the scopes one by one.
        let cost = 1 + self.scopes.len() as u64;
        if let Some((_, shape)) = self.scopes.iter().rev().find(|(variable, _)| variable == name) {
            return Ok(Typed { shape: shape.clone(), cost });
        }
        if let Some(shape) = schema::ROOTS.get(name) {
            self.reads_now |= name == "now";
            return Ok(Typed { shape: shape.clone(), cost });
        }
        if TYPE_NAMES.contains(&name) {
            return Ok(Typed { shape: Shape::Type, cost });
        }
        let known = schema::ROOTS.keys().copied().chain(self.scopes.iter().map(|(variable, _)| variable.as_str()));
        let hint = match nearest::to(name, known.filter(|name| !name.starts_with('@'))) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("there are {}", schema::ROOTS.keys().copied().collect::<Vec<_>>().join(", ")),
        };
        Err(self.refuse(id, format!("unknown name `{name}`; {hint}")))
    }

    /// The shape of `operand.field`.
    fn member(&self, id: u64, shape: &Shape, operand: &IdedExpr, field: &str) -> Result<Shape, ExprError> {
        match shape {
            shape if shape.is_unknown() => Ok(shape.clone()),
            Shape::Map(items) => Ok(Shape::clone(&items.of)),
            Shape::Object(object) => object.fields.get(field).cloned().ok_or_else(|| self.refuse(id, no_field(object, operand, field))),
            Shape::Optional(inner) => Ok(Shape::Optional(Arc::new(self.member(id, inner, operand, field)?))),
            other => Err(self.refuse(id, format!("a {} has no field `{field}`", other.name()))),
        }
    }

    fn call(&mut self, node: &mut IdedExpr) -> Result<Typed, ExprError> {
        let id = node.id;
        let constant = if let Expr::Call(call) = &node.expr { is_constant(call).then(|| node.clone()) } else { None };
        let Expr::Call(call) = &mut node.expr else {
            return Err(self.refuse(id, "this cannot be used here"));
        };
        if call.func_name == "matches" {
            return self.matches(id, call);
        }
        // A field by its name in brackets is a field.
        if let (operators::INDEX | operators::OPT_INDEX | operators::OPT_SELECT, [operand, index]) =
            (call.func_name.as_str(), call.args.as_mut_slice())
            && let Some(field) = literal_text(index)
        {
            let inner = self.infer(operand)?;
            let shape = self.member(id, &inner.shape, operand, &field)?;
            let optional = call.func_name != operators::INDEX && !matches!(shape, Shape::Optional(_));
            return Ok(Typed {
                shape: if optional { Shape::Optional(Arc::new(shape)) } else { shape },
                cost: inner.cost.saturating_add(2),
            });
        }
        let qualified = match call.target.as_deref() {
            Some(IdedExpr { expr: Expr::Ident(name), .. }) if name == "optional" => Some(format!("optional.{}", call.func_name)),
            _ => None,
        };
        let target = if qualified.is_some() { None } else { call.target.as_deref_mut() };
        let member = target.is_some();
        let (mut operands, mut cost) = (Vec::with_capacity(call.args.len() + 1), 1u64);
        for operand in target.into_iter().chain(&mut call.args) {
            let typed = self.infer(operand)?;
            cost = cost.saturating_add(typed.cost);
            operands.push(typed.shape);
        }
        let name = qualified.as_deref().unwrap_or(&call.func_name);
        let (shape, own) = call::result(name, member, &operands).map_err(|message| self.refuse(id, message))?;
        if let Some(problem) = constant.as_ref().and_then(super::program::constant_problem) {
            return Err(self.refuse(id, format!("this constant is never valid: {problem}")));
        }
        Ok(Typed { shape, cost: cost.saturating_add(own) })
    }

    /// `matches` compiles its pattern at every call, unless it is done here, once. So the pattern must be known here.
    fn matches(&mut self, id: u64, call: &mut CallExpr) -> Result<Typed, ExprError> {
        let mut operands: Vec<&mut IdedExpr> = call.target.as_deref_mut().into_iter().chain(&mut call.args).collect();
        let [text, pattern] = operands.as_mut_slice() else {
            return Err(self.refuse(id, "`matches` takes a string and a pattern"));
        };
        let text = self.infer(text)?;
        if !text.shape.is_unknown() && !matches!(text.shape, Shape::Text(_)) {
            return Err(self.refuse(id, format!("`matches` needs a string, and this is of type {}", text.shape.name())));
        }
        let Some(source) = literal_text(pattern) else {
            return Err(self.refuse(id, "the pattern of `matches` must be written out as a string"));
        };
        let compiled = Pattern::compile(&source).map_err(|problem| self.refuse(pattern.id, problem))?;
        pattern.expr = Expr::Ident(pattern::name(self.patterns.len()));
        self.patterns.push(compiled);
        Ok(Typed { shape: Shape::Bool, cost: text.cost.saturating_add(pattern::COST).saturating_add(text.shape.bytes()) })
    }

    fn list(&mut self, list: &mut ListExpr) -> Result<Typed, ExprError> {
        let (mut of, mut cost) = (Shape::Never, 1u64);
        for element in &mut list.elements {
            let element = self.infer(element)?;
            cost = cost.saturating_add(element.cost).saturating_add(element.shape.copy());
            of = of.or(held(element.shape, !list.optional_indices.is_empty()));
        }
        Ok(Typed { shape: Shape::List(Items::built(of, list.elements.len() as u64)), cost })
    }

    fn map(&mut self, map: &mut MapExpr) -> Result<Typed, ExprError> {
        let (mut of, mut cost) = (Shape::Never, 1u64);
        for entry in &mut map.entries {
            let EntryExpr::MapEntry(entry) = &mut entry.expr else { continue };
            let (key, value) = (self.infer(&mut entry.key)?, self.infer(&mut entry.value)?);
            if !key.shape.is_unknown() && !matches!(key.shape, Shape::Text(_) | Shape::Int | Shape::UInt | Shape::Bool) {
                return Err(self.refuse(entry.key.id, format!("a key cannot be of type {}", key.shape.name())));
            }
            // A key of the wrong type is copied into the error.
            let key_cost = if key.shape.is_unknown() { key.shape.whole() } else { key.shape.copy() };
            cost = [key.cost, key_cost, value.cost, value.shape.copy()].into_iter().fold(cost, u64::saturating_add);
            of = of.or(held(value.shape, entry.optional));
        }
        Ok(Typed { shape: Shape::Map(Items::built(of, map.entries.len() as u64)), cost })
    }

    /// The macros are expanded: `all`, `exists`, `exists_one`, `map`, `filter` and `optMap` all come here.
    fn comprehension(&mut self, comprehension: &mut ComprehensionExpr) -> Result<Typed, ExprError> {
        if self.has_stand_in && [&comprehension.iter_var, &comprehension.accu_var].into_iter().any(|name| name == parse::STAND_IN) {
            return Err(self.refuse(comprehension.iter_range.id, "`namespace` cannot be the variable of a loop"));
        }
        let range = self.infer(&mut comprehension.iter_range)?;
        let (item, rounds) = match &range.shape {
            Shape::List(items) => (Shape::clone(&items.of), items.len),
            Shape::Map(items) => (Shape::Text(limits::INPUT_STRING_BYTES as u64), items.len),
            Shape::Any(size) => (range.shape.clone(), size.len),
            other => {
                let hint = if matches!(other, Shape::Object(_)) { ": name its fields" } else { "" };
                return Err(self.refuse(comprehension.iter_range.id, format!("cannot loop over a {}{hint}", other.name())));
            }
        };
        let start = self.infer(&mut comprehension.accu_init)?;
        let copied = item.copy();
        let depth = self.scopes.len();
        self.scopes.push((comprehension.accu_var.clone(), start.shape.clone()));
        self.scopes.push((comprehension.iter_var.clone(), item));
        let goes_on = self.infer(&mut comprehension.loop_cond)?;
        let step = self.infer(&mut comprehension.loop_step)?;
        self.scopes.truncate(depth);
        self.scopes.push((comprehension.accu_var.clone(), accumulated(start.shape, step.shape, rounds)));
        let result = self.infer(&mut comprehension.result)?;
        self.scopes.truncate(depth);

        let round = [copied, goes_on.cost, step.cost].into_iter().fold(2, u64::saturating_add);
        let around = [range.cost, start.cost, result.cost, result.shape.copy()].into_iter().fold(1, u64::saturating_add);
        Ok(Typed { shape: result.shape, cost: rounds.saturating_mul(round).saturating_add(around) })
    }
}

/// Names of types, as in `type(x) == int`.
const TYPE_NAMES: [&str; 10] = ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

/// What an accumulator can hold after so many rounds, each of which makes `step` of `start`. Only lists grow by rounds: no
/// macro adds up strings.
fn accumulated(start: Shape, step: Shape, rounds: u64) -> Shape {
    match (start, step) {
        (Shape::List(start), Shape::List(step)) => {
            let grown = step.len.saturating_sub(start.len).saturating_mul(rounds).saturating_add(start.len);
            Shape::List(Items::built(Shape::clone(&start.of).or(Shape::clone(&step.of)), grown))
        }
        (start, step) => start.or(step),
    }
}

/// An optional element (`[?x]`) puts in what the optional holds.
fn held(shape: Shape, optional: bool) -> Shape {
    match shape {
        Shape::Optional(inner) if optional => Shape::clone(&inner),
        other => other,
    }
}

fn literal_shape(literal: &LiteralValue) -> Shape {
    match literal {
        LiteralValue::Boolean(_) => Shape::Bool,
        LiteralValue::Bytes(bytes) => Shape::Bytes(bytes.inner().len() as u64),
        LiteralValue::Double(_) => Shape::Double,
        LiteralValue::Int(_) => Shape::Int,
        LiteralValue::Null => Shape::Null,
        LiteralValue::String(text) => Shape::Text(text.inner().len() as u64),
        LiteralValue::UInt(_) => Shape::UInt,
    }
}

fn literal_text(node: &IdedExpr) -> Option<String> {
    match &node.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner().to_owned()),
        _ => None,
    }
}

fn is_constant(call: &CallExpr) -> bool {
    let mut operands = call.target.iter().map(AsRef::as_ref).chain(&call.args).peekable();
    operands.peek().is_some() && operands.all(|operand| matches!(operand.expr, Expr::Literal(_)))
}

fn no_field(object: &Object, operand: &IdedExpr, field: &str) -> String {
    let whole = spelled(operand).unwrap_or_else(|| "this object".to_owned());
    // People leave out `spec` and `status`.
    let inside = object.fields.iter().find(|(_, shape)| matches!(shape, Shape::Object(inner) if inner.fields.contains_key(field)));
    let hint = match inside {
        Some((part, _)) => format!("did you mean `{whole}.{part}.{field}`?"),
        None => match nearest::to(field, object.fields.keys().map(String::as_str)) {
            Some(name) => format!("did you mean `{whole}.{name}`?"),
            None => "see `kubectl explain` for those it has".to_owned(),
        },
    };
    format!("`{whole}` has no field `{field}`; {hint}")
}

/// `a.b.c` as its author wrote it.
fn spelled(node: &IdedExpr) -> Option<String> {
    match &node.expr {
        Expr::Ident(name) => Some(name.clone()),
        Expr::Select(select) => Some(format!("{}.{}", spelled(&select.operand)?, select.field)),
        _ => None,
    }
}
