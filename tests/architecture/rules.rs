//! The rules themselves, as data, and their comparison with what the sources refer to. ARCHITECTURE.md explains them.
//!
//! To let a module use something new, change a line here and say why in the same commit.

use std::collections::BTreeSet;

use crate::source::{Reference, Source};

/// One top-level module and the others that it may use.
struct Layer {
    module: &'static str,
    /// Paths below the crate; `install::guard` allows that and what is under it.
    may_use: &'static [&'static str],
    why: &'static str,
}

const BELOW_APP: &[&str] = &["admin", "api", "cluster", "config", "controller", "core", "expr", "install", "issue", "secret", "telemetry"];
const BELOW_CLI: &[&str] =
    &["admin", "api", "app", "cluster", "config", "controller", "core", "expr", "install", "issue", "pod", "secret", "telemetry"];

const LAYERS: &[Layer] = &[
    Layer { module: "api", may_use: &[], why: "shapes know nothing of what is done with them" },
    Layer { module: "secret", may_use: &[], why: "it must stay small enough to be read at a glance" },
    Layer { module: "core", may_use: &["api"], why: "core decides on values and nothing else, so that every decision can be recomputed" },
    Layer { module: "install", may_use: &["api", "core"], why: "what is installed is a function of values alone" },
    Layer { module: "expr", may_use: &["api", "core"], why: "cluster, issue and expr never meet: controller joins them" },
    Layer { module: "issue", may_use: &["api", "core", "secret"], why: "cluster, issue and expr never meet: controller joins them" },
    Layer {
        module: "cluster",
        may_use: &["api", "core", "secret", "install::guard"],
        why: "cluster, issue and expr never meet: controller joins them",
    },
    Layer { module: "telemetry", may_use: &["api", "core", "cluster"], why: "what is measured must not steer what is done" },
    Layer {
        module: "controller",
        may_use: &["api", "cluster", "core", "expr", "install", "issue", "secret", "telemetry"],
        why: "the loops know neither who starts them nor where their settings came from",
    },
    Layer {
        module: "pod",
        may_use: &["api", "cluster", "core", "issue", "secret", "telemetry"],
        why: "a pod's side and the operator's share no loop: a pod carries nothing of what decides",
    },
    Layer { module: "admin", may_use: &["api", "cluster", "controller", "core", "pod", "telemetry"], why: "it shows, it does not act" },
    Layer {
        module: "config",
        may_use: &["api", "cluster", "controller", "core", "install", "telemetry"],
        why: "it turns flags into what each is told",
    },
    Layer { module: "app", may_use: BELOW_APP, why: "app builds everything and is used by cli and main alone" },
    Layer { module: "cli", may_use: BELOW_CLI, why: "only main comes before it" },
];

/// What core may use from outside: values and their shapes.
const CORE_CRATES: &[&str] = &["std", "serde", "thiserror", "jiff"];
/// Hashing and its spelling, for derived names.
const CORE_NAMES_CRATES: &[&str] = &["aws_lc_rs::digest", "data_encoding"];
/// The parts of std that act, look at a clock, or (hash maps) iterate in a random order.
const IMPURE: &[&str] = &[
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::collections::hash_map",
    "std::collections::hash_set",
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// What the frequency detector may use from outside: the same purity, and what writes its state down.
const DETECTOR_CRATES: &[&str] = &["std", "serde", "thiserror", "data_encoding"];

/// Something that only some modules may name. The first line that fits a path counts.
struct Power {
    path: &'static str,
    homes: &'static [&'static str],
    why: &'static str,
}

const POWERS: &[Power] = &[
    Power { path: "cel", homes: &["expr"], why: "it can overflow the stack: only the fence may call it" },
    Power { path: "rcgen", homes: &["issue"], why: "only issue sees keys" },
    Power { path: "x509_parser", homes: &["issue"], why: "only issue reads what strangers send as a CSR" },
    Power { path: "webpki", homes: &["issue"], why: "only issue judges certificates" },
    Power { path: "time", homes: &["issue"], why: "jiff is the time of this program; rcgen's border needs the other one" },
    Power { path: "aws_lc_rs::rand", homes: &["issue", "controller", "pod"], why: "randomness enters everything else as a value" },
    Power { path: "aws_lc_rs", homes: &["issue", "core::names"], why: "only issue sees keys; derived names need a hash" },
    Power { path: "zeroize", homes: &["secret", "issue"], why: "Secret<T> is the one wrapper; only issue has working copies to wipe" },
    Power { path: "axum", homes: &["admin"], why: "one place listens" },
    Power { path: "prometheus_client", homes: &["telemetry"], why: "metric families have closed labels, declared in one place" },
    Power { path: "tracing_subscriber", homes: &["telemetry"], why: "one place decides how logs look" },
    Power { path: "clap", homes: &["cli", "config", "telemetry", "main"], why: "arguments are parsed at the border, once" },
    Power {
        path: "kube",
        homes: &["api", "install", "cluster", "controller", "pod", "app", "cli"],
        why: "keys and expressions never reach a client",
    },
    Power {
        path: "tokio",
        homes: &["cluster", "expr", "controller", "pod", "telemetry", "admin", "app", "cli", "main"],
        why: "shapes, keys and decisions are synchronous",
    },
    Power {
        path: "tracing",
        homes: &["cluster", "expr", "controller", "pod", "telemetry", "admin", "app", "cli", "main"],
        why: "what sees keys does not log",
    },
    Power {
        path: "clippy::disallowed_methods",
        homes: &["cluster::act", "cluster::clock"],
        why: "clippy.toml names one home for writes and one for clocks",
    },
    Power {
        path: "expose()",
        homes: &[
            "secret",
            "issue",
            "cluster::act",
            "cluster::guard",
            "cluster::identity",
            "pod::set",
            "pod::private",
            "pod::child",
            "cli::open",
        ],
        why: "secret bytes are looked at where they are made, sent, written for their owner, or used to log in",
    },
];

/// Every reference that breaks a rule, as a line for people.
pub fn architecture(sources: &[Source]) -> Vec<String> {
    let test_modules: BTreeSet<Vec<String>> = sources.iter().flat_map(Source::test_modules).collect();
    let mut violations = Vec::new();
    for source in sources {
        let module = source.module();
        let Some(top) = module.first() else { continue };
        let layer = LAYERS.iter().find(|layer| layer.module == top);
        if layer.is_none() && top != "main" {
            violations
                .push(format!("{}:1: {top} has no place in the order of modules: give it one in tests/architecture/rules.rs", source.file));
            continue;
        }
        let is_test = (1..=module.len()).any(|length| test_modules.contains(&module[..length]));
        for reference in source.references() {
            // Tests may use any crate, but they point the same way inside ours: one that joins layers belongs into tests/.
            let outside_allowed = is_test || reference.test;
            let problem = match layer {
                Some(layer) if reference.is_internal() => internal(layer, reference),
                _ if outside_allowed || reference.is_internal() => None,
                Some(layer) if layer.module == "core" => purity(module, layer, reference),
                _ => power(module, reference),
            };
            violations.extend(problem.map(|problem| format!("{}:{}: {problem}", source.file, reference.line)));
        }
    }
    violations
}

/// Every reference of the crate `frequency` that makes it less than pure, or that joins what runs to what measures it. Its files are named from
/// its own root.
pub fn detector(sources: &[Source]) -> Vec<String> {
    let test_modules: BTreeSet<Vec<String>> = sources.iter().flat_map(Source::test_modules).collect();
    let mut violations = Vec::new();
    for source in sources {
        let module = source.module();
        let is_test = (1..=module.len()).any(|length| test_modules.contains(&module[..length]));
        let is_lab = module.first().is_some_and(|top| top == "lab");
        for reference in source.references().iter().filter(|reference| !is_test && !reference.test) {
            let path = reference.path.join("::");
            let pure =
                DETECTOR_CRATES.iter().any(|allowed| is_under(&path, allowed)) && !IMPURE.iter().any(|impure| is_under(&path, impure));
            let problem = match reference.is_internal() {
                true if is_under(&path, "crate::lab") && !is_lab => "what runs may not use what measures it",
                false if !pure && !path.starts_with("clippy::") => "the detector is pure, so that a score can be computed again",
                _ => continue,
            };
            violations.push(format!("frequency/{}:{}: {path}: {problem}", source.file, reference.line));
        }
    }
    violations
}

/// What a file looks like from outside: it says what it is for, and it ends.
pub fn housekeeping(file: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    if !text.starts_with("//!") {
        return Some(format!("{file}:1: does not begin with a `//!` line: say what it owns, what it must never do and who calls it"));
    }
    (lines > 500).then(|| format!("{file}:501: {lines} lines: past 500 a file is about more than one thing, split it by meaning"))
}

fn internal(layer: &Layer, reference: &Reference) -> Option<String> {
    let path = reference.path[1..].join("::");
    let own = reference.path.get(1).is_none_or(|top| top == layer.module || !is_module(top));
    let allowed = own || layer.may_use.iter().any(|allowed| is_under(&path, allowed));
    (!allowed).then(|| {
        format!("{} may not use crate::{path}, only {}: {}", layer.module, [&[layer.module], layer.may_use].concat().join(", "), layer.why)
    })
}

/// An item of the crate root (`crate::GROUP`) is nobody's.
fn is_module(top: &str) -> bool {
    top.starts_with(|first: char| first.is_ascii_lowercase())
}

fn purity(module: &[String], layer: &Layer, reference: &Reference) -> Option<String> {
    let path = reference.path.join("::");
    let lint = path.starts_with("clippy::");
    let named = module == ["core", "names"] && CORE_NAMES_CRATES.iter().any(|allowed| is_under(&path, allowed));
    let pure = CORE_CRATES.iter().any(|allowed| is_under(&path, allowed)) && !IMPURE.iter().any(|impure| is_under(&path, impure));
    if lint {
        return power(module, reference);
    }
    (!named && !pure).then(|| format!("core may not use {path}, of other crates only {}: {}", CORE_CRATES.join(", "), layer.why))
}

fn power(module: &[String], reference: &Reference) -> Option<String> {
    let (path, module) = (reference.path.join("::"), module.join("::"));
    let power = POWERS.iter().find(|power| is_under(&path, power.path))?;
    let at_home = power.homes.iter().any(|home| is_under(&module, home));
    (!at_home).then(|| format!("{} belongs to {} alone: {}", power.path, power.homes.join(", "), power.why))
}

/// `a::b` is under `a` and under `a::b`, not under `a::bc`.
fn is_under(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}
