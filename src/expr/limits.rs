//! Every bound of the fence in one place, each with its reason.
//!
//! The `cel` crate neither bounds time nor checks types, so these numbers are what keeps an expression cheap. A thread cannot be
//! killed: the limits on structure and cost do the bounding, the deadline only stops the caller from waiting.

use std::time::Duration;

/// Longest source; the schema of policies says the same, but `daypass lint` and dry runs come here without it.
pub(super) const SOURCE_BYTES: usize = 1024;
/// Most nodes of the parsed tree, expanded macros included.
pub(super) const NODES: usize = 256;
/// Deepest tree. Evaluation and every walk here recurse once a level.
pub(super) const DEPTH: usize = 64;
/// Deepest nesting that the parser follows; it counts brackets and argument lists, not chains.
pub(super) const PARSER_DEPTH: u16 = 32;
/// Comprehensions inside comprehensions: each level multiplies the work by the length of a list.
pub(super) const NESTED_LOOPS: usize = 2;
/// Longest pattern of `matches`.
pub(super) const PATTERN_BYTES: usize = 128;
/// Largest compiled pattern in bytes: matching takes time in proportion to it.
pub(super) const PATTERN_PROGRAM_BYTES: usize = 64 * 1024;
/// Longest string that an expression may build.
pub(super) const BUILT_STRING_BYTES: u64 = 32 * 1024;
/// Highest estimated cost. One unit is about the evaluation of one node, so that the worst accepted expression stays far
/// below [`DEADLINE`] (a test measures it).
pub(super) const COST: u64 = 200_000;

/// Longest string of an input.
pub(super) const INPUT_STRING_BYTES: usize = 4096;
/// Most entries of a map of an input (labels, annotations, any object).
pub(super) const INPUT_ENTRIES: usize = 64;
/// Most items of a list of an input.
pub(super) const INPUT_ITEMS: usize = 64;
/// Most containers of a pod: they are the lists that are looped over within loops.
pub(super) const INPUT_CONTAINERS: usize = 32;
/// Deepest nesting of an input; the deepest field of a pod is twelve levels down.
pub(super) const INPUT_DEPTH: usize = 16;

/// The most items that a list of an input may have under this field name.
pub(super) fn items_of(field: &str) -> usize {
    match field {
        "containers" | "initContainers" | "ephemeralContainers" => INPUT_CONTAINERS,
        _ => INPUT_ITEMS,
    }
}

/// How long a caller waits for an answer, waiting in the queue included.
pub(super) const DEADLINE: Duration = Duration::from_millis(250);
/// Stack of a thread that parses and evaluates. Long chains overflow the two megabytes of an ordinary thread, and a stack
/// overflow ends the process. Only what is used becomes resident.
pub(super) const STACK_BYTES: usize = 64 * 1024 * 1024;
/// Expressions that may wait for a thread.
pub(super) const QUEUE: usize = 256;
/// Programs kept by source. Whoever may dry-run a policy reaches the compiler, so the cache is bounded.
pub(super) const CACHED_PROGRAMS: usize = 1024;
