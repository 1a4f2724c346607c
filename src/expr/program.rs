//! A compiled expression, and its evaluation. Both recurse: only [`super::pool`] may run them.

use std::sync::{Arc, LazyLock};

use cel::{
    Context, Env, ExecutionError, Value,
    common::{
        ast::IdedExpr,
        types::CelBool,
        value::{CowVal, Val},
    },
    context::VariableResolver,
};
use jiff::Timestamp;

use super::{
    check, cutoff,
    error::ExprError,
    inputs::Inputs,
    limits,
    parse::{self, Parsed},
    pattern::{self, Pattern},
    schema,
};
use crate::core::snapshot::Tri;

/// The standard library, and `matches` with compiled patterns.
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    // It can only fail where the same overload exists already: then `matches` does not know patterns, and every use is an error.
    let _ = pattern::declare(&mut env);
    Arc::new(env)
});

/// Objects with every field that the API knows.
static SAMPLE: LazyLock<Inputs> = LazyLock::new(|| {
    let object = schema::sample;
    Inputs::new(
        object("request"),
        object("pod"),
        object("node"),
        object("namespace"),
        object("serviceAccount"),
        object("task"),
        Timestamp::UNIX_EPOCH,
    )
});

/// An expression that passed the fence.
#[derive(Debug)]
pub struct Program {
    source: String,
    expression: IdedExpr,
    patterns: Vec<Pattern>,
    reads_now: bool,
    cost: u64,
}

impl Program {
    /// The expression as its author wrote it.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// It mentions `now`: its verdict may change with nothing but the time.
    pub fn is_time_dependent(&self) -> bool {
        self.reads_now
    }

    /// Upper bound of the work of one evaluation, in units of about one node of the expression.
    pub fn cost(&self) -> u64 {
        self.cost
    }

    /// Parses, checks and tries an expression.
    pub(super) fn compile(source: &str) -> Result<Self, ExprError> {
        if source.len() > limits::SOURCE_BYTES {
            return Err(ExprError::TooLong { bytes: source.len() });
        }
        let mut parsed = parse::parse(source, &ENV)?;
        let check::Checked { patterns, reads_now, cost } = check::check(&mut parsed)?;
        let Parsed { expression, info, .. } = parsed;
        let program = Self { source: source.to_owned(), expression, patterns, reads_now, cost };
        match program.proves_a_mistake() {
            Some(mistake) => Err(ExprError::at(program.expression.id, &info, mistake)),
            None => Ok(program),
        }
    }

    /// What it says of these objects. Never fails: a failure is an answer.
    pub(super) fn evaluate(&self, inputs: &Inputs) -> Tri {
        match cutoff::watch(|| self.truth(inputs)) {
            Ok(Ok(true)) => Tri::True,
            Ok(Ok(false)) => Tri::False,
            Ok(Err(problem)) => Tri::Error(problem),
            Err(cut_off) => Tri::Error(cut_off.to_string()),
        }
    }

    fn truth(&self, inputs: &Inputs) -> Result<bool, String> {
        let scope = Scope { inputs, patterns: &self.patterns };
        let mut context = Context::with_env(ENV.clone());
        context.set_variable_resolver(&scope);
        let value = Value::resolve_val(&self.expression, &context).map_err(|error| told(&error))?;
        match value.downcast_ref::<CelBool>() {
            Some(verdict) => Ok(*verdict.inner()),
            None => Err(format!("the result is a {} and not a bool", value.get_type().name())),
        }
    }

    /// Evaluates it on sample objects. Errors of types cannot depend on the objects, for the samples have the types of the API;
    /// they are a second look, by the evaluator itself, at what the checker accepted. Anything else proves nothing: a label that
    /// the sample lacks, a position in a list, a text that is no number.
    fn proves_a_mistake(&self) -> Option<String> {
        let scope = Scope { inputs: &SAMPLE, patterns: &self.patterns };
        let mut context = Context::with_env(ENV.clone());
        context.set_variable_resolver(&scope);
        match cutoff::watch(|| Value::resolve_val(&self.expression, &context).map(|value| value.downcast_ref::<CelBool>().is_some())) {
            Err(_) | Ok(Ok(true)) => None,
            Ok(Ok(false)) => Some("the expression must be true or false".to_owned()),
            Ok(Err(error)) => is_of_types(&error).then(|| told(&error)),
        }
    }
}

/// Why a call with nothing but constants fails, if it does.
pub(super) fn constant_problem(call: &IdedExpr) -> Option<String> {
    Value::resolve_val(call, &Context::with_env(ENV.clone())).err().map(|error| match error {
        // Only constants of the author's own are in this message.
        ExecutionError::FunctionError { function, message } => shortened(&format!("{function}: {message}")),
        error => told(&error),
    })
}

struct Scope<'a> {
    inputs: &'a Inputs,
    patterns: &'a [Pattern],
}

impl VariableResolver for Scope<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let value: &'b dyn Val = match pattern::number(name) {
            Some(number) => self.patterns.get(number)?,
            None => self.inputs.root(name)?,
        };
        Some(CowVal::Borrowed(value))
    }
}

fn is_of_types(error: &ExecutionError) -> bool {
    matches!(
        error,
        ExecutionError::NoSuchOverload(_)
            | ExecutionError::UndeclaredReference(_)
            | ExecutionError::InvalidArgumentCount { .. }
            | ExecutionError::UnsupportedTargetType { .. }
            | ExecutionError::NotSupportedAsMethod { .. }
            | ExecutionError::UnsupportedKeyType(_)
            | ExecutionError::UnexpectedType { .. }
            | ExecutionError::MissingArgumentOrTarget
            | ExecutionError::ValuesNotComparable(..)
            | ExecutionError::UnsupportedBinaryOperator(..)
    )
}

/// An error as people may read it. The crate's own messages print whole values: they stay inside.
fn told(error: &ExecutionError) -> String {
    let text = match error {
        ExecutionError::NoSuchKey(key) => format!("there is no `{key}`: ask has(…) first"),
        ExecutionError::NoSuchOverload(overload) => overload.to_string(),
        ExecutionError::UndeclaredReference(name) => format!("there is no `{name}`"),
        ExecutionError::UnexpectedType { got, want } => format!("a {want} is needed, and this is a {got}"),
        ExecutionError::IndexOutOfBounds(_) => "the list is shorter than the index".to_owned(),
        ExecutionError::FunctionError { function, .. } => format!("`{function}` cannot convert or use this value"),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "division by zero".to_owned(),
        ExecutionError::Overflow(..) => "the number does not fit".to_owned(),
        ExecutionError::DuplicateKey(_) => "a map has the same key twice".to_owned(),
        _ => "an operator or function was used on a value of the wrong type".to_owned(),
    };
    shortened(&text)
}

fn shortened(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(200).collect()
}
