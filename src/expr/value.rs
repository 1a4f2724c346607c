//! JSON to CEL, within bounds. Called once an object and decision; never fails: what is too large becomes a [`CutOff`].

use std::collections::HashMap;

use cel::common::{
    types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt},
    value::Val,
};
use serde_json::Value as Json;

use super::{
    cutoff::CutOff,
    limits,
    shared::{SharedList, SharedMap},
};

/// A JSON value within the bounds of [`limits`]. `path` is what people call it, for the message of what is cut off.
pub(super) fn bounded(json: Json, path: &str) -> Box<dyn Val> {
    within(json, path, limits::INPUT_ITEMS, limits::INPUT_DEPTH)
}

fn within(json: Json, path: &str, most_items: usize, depth: usize) -> Box<dyn Val> {
    let Some(depth) = depth.checked_sub(1) else {
        return CutOff::boxed(format!("{path} lies deeper than {} levels", limits::INPUT_DEPTH));
    };
    match json {
        Json::Null => Box::new(CelNull),
        Json::Bool(value) => Box::new(CelBool::from(value)),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => Box::new(CelInt::from(value)),
            (None, Some(value)) => Box::new(CelUInt::from(value)),
            (None, None) => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        Json::String(text) if text.len() > limits::INPUT_STRING_BYTES => {
            CutOff::boxed(format!("{path} is longer than {} bytes", limits::INPUT_STRING_BYTES))
        }
        Json::String(text) => Box::new(CelString::from(text)),
        Json::Array(items) if items.len() > most_items => CutOff::boxed(format!("{path} has more than {most_items} items")),
        Json::Array(items) => {
            let items = items.into_iter().map(|item| within(item, &format!("{path}[]"), limits::INPUT_ITEMS, depth));
            Box::new(SharedList::from(CelList::from(items.collect::<Vec<_>>())))
        }
        Json::Object(entries) if entries.len() > limits::INPUT_ENTRIES => {
            CutOff::boxed(format!("{path} has more than {} entries", limits::INPUT_ENTRIES))
        }
        Json::Object(entries) => {
            let entries = entries.into_iter().map(|(name, value)| {
                let path = format!("{path}.{name}");
                let value = within(value, &path, limits::items_of(&name), depth);
                (CelMapKey::String(CelString::from(name)), value)
            });
            Box::new(SharedMap::from(CelMap::from(entries.collect::<HashMap<_, _>>())))
        }
    }
}
