//! What was too large for the bounds of inputs.
//!
//! It exists: `has()` is true and it counts in `size()`. Whatever looks *at* it makes the whole evaluation an error. An error
//! returned to the interpreter would not do: `!=` has no errors, and `.?`, `&&` and `||` swallow them. So looking leaves a note
//! on the thread, and [`watch`] reads it afterwards.

use std::{any::Any, cell::RefCell, sync::Arc};

use cel::common::{
    types::Type,
    value::{BuiltinRef, StaticVal, Val},
};

thread_local! {
    static LOOKED_AT: RefCell<Option<Arc<str>>> = const { RefCell::new(None) };
}

static TYPE: Type = Type::new_unspecified_type("cut-off value");

/// Runs an evaluation on this thread. The error says what was cut off and yet looked at, whatever the evaluation gave.
pub(super) fn watch<T>(evaluation: impl FnOnce() -> T) -> Result<T, Arc<str>> {
    LOOKED_AT.set(None);
    let result = evaluation();
    LOOKED_AT.take().map_or(Ok(result), Err)
}

/// Stands where something was left out.
#[derive(Clone, Debug)]
pub(super) struct CutOff(Arc<str>);

impl CutOff {
    /// With what is told to people who look at it.
    pub(super) fn boxed(why: String) -> Box<dyn Val> {
        Box::new(Self(why.into()))
    }

    fn looked_at(&self) {
        LOOKED_AT.with_borrow_mut(|note| note.get_or_insert_with(|| self.0.clone()).clone());
    }
}

impl Val for CutOff {
    fn get_type(&self) -> &Type {
        self.looked_at();
        &TYPE
    }

    fn cel_type() -> &'static Type {
        &TYPE
    }

    fn equals(&self, _other: &dyn Val) -> bool {
        self.looked_at();
        false
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        self.looked_at();
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        self.looked_at();
        Some(self)
    }

    fn as_builtin<'b, 'v>(&'b self) -> BuiltinRef<'b, 'v>
    where
        Self: 'v,
    {
        self.looked_at();
        BuiltinRef::Other
    }
}

impl StaticVal for CutOff {}
