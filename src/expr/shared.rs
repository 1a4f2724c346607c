//! Maps and lists of inputs that are shared instead of copied.
//!
//! The interpreter clones the value that a comprehension binds, once an item, and the crate's own containers clone deeply. These
//! count references, so that the cost of an expression does not depend on how large the objects are that it passes by. They
//! answer as built-in values: equality with a literal holds in both directions. Made by [`super::value`] alone.

use std::sync::Arc;

use cel::{
    ExecutionError,
    common::{
        traits::{Adder, Container, Indexer, Iterable, Sizer, Zeroer},
        types::{CelList, CelMap, Type},
        value::{Builtin, BuiltinRef, CowVal, Val},
    },
};

macro_rules! shared {
    ($(#[$doc:meta])* $name:ident, $inner:ident, $variant:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub(super) struct $name(Arc<$inner<'static>>);

        impl From<$inner<'static>> for $name {
            fn from(inner: $inner<'static>) -> Self {
                Self(Arc::new(inner))
            }
        }

        impl Val for $name {
            fn get_type(&self) -> &Type {
                self.0.get_type()
            }

            fn cel_type() -> &'static Type {
                $inner::cel_type()
            }

            fn as_adder<'b, 'v>(&'b self) -> Option<&'b (dyn Adder + 'v)>
            where
                Self: 'v,
            {
                self.0.as_adder()
            }

            fn as_container(&self) -> Option<&dyn Container> {
                self.0.as_container()
            }

            fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
            where
                Self: 'v,
            {
                self.0.as_indexer()
            }

            fn into_indexer<'v>(self: Box<Self>) -> Option<Box<dyn Indexer + 'v>>
            where
                Self: 'v,
            {
                Some(self)
            }

            fn as_iterable<'b, 'v>(&'b self) -> Option<&'b (dyn Iterable + 'v)>
            where
                Self: 'v,
            {
                self.0.as_iterable()
            }

            fn as_sizer(&self) -> Option<&dyn Sizer> {
                self.0.as_sizer()
            }

            fn as_zeroer(&self) -> Option<&dyn Zeroer> {
                self.0.as_zeroer()
            }

            fn equals(&self, other: &dyn Val) -> bool {
                self.0.equals(other)
            }

            fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
            where
                Self: 'v,
            {
                Box::new(self.clone())
            }

            fn as_builtin<'b, 'v>(&'b self) -> BuiltinRef<'b, 'v>
            where
                Self: 'v,
            {
                BuiltinRef::$variant(&self.0)
            }

            fn into_builtin<'v>(self: Box<Self>) -> Option<Builtin<'v>>
            where
                Self: 'v,
            {
                Some(Builtin::$variant((*self.0).clone()))
            }
        }

        impl Indexer for $name {
            fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
            where
                Self: 'v,
            {
                Indexer::get(&*self.0, index)
            }

            fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
            where
                Self: 'v,
            {
                Indexer::get(&*self.0, index).map(CowVal::into_owned)
            }
        }
    };
}

shared!(
    /// A map of an input.
    SharedMap,
    CelMap,
    Map
);
shared!(
    /// A list of an input.
    SharedList,
    CelList,
    List
);
