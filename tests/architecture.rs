//! The direction of dependencies, checked. Reads every `use` line and every path of `src` and compares them with `architecture/rules.rs`.
//!
//! A failure says which rule broke, where and why. The last tests give the checker wrong samples: each must be caught, or it checks nothing.

#[path = "architecture/rules.rs"]
mod rules;
#[path = "architecture/source.rs"]
mod source;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use rules::{architecture, detector, housekeeping};
use source::Source;

#[test]
fn dependencies_point_one_way_and_every_power_has_its_home() -> io::Result<()> {
    let sources = read("src")?;
    let edges: BTreeSet<(String, String)> = sources.iter().flat_map(|source| source.edges()).collect();
    assert!(edges.contains(&("cluster".into(), "core".into())), "the checker no longer sees what is certainly there: {edges:?}");
    let violations = architecture(&sources);
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
    Ok(())
}

#[test]
fn every_file_says_what_it_is_for_and_stays_small() -> io::Result<()> {
    let mut violations = Vec::new();
    for directory in ["src", "frequency", "xtask", "tests", "benches"] {
        for file in rust_files(&root().join(directory))? {
            violations.extend(housekeeping(&name(&file), &fs::read_to_string(&file)?));
        }
    }
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
    Ok(())
}

#[test]
fn the_frequency_detector_is_pure() -> io::Result<()> {
    let own = |source: &PathBuf| name(source).trim_start_matches("frequency/").to_owned();
    let files = rust_files(&root().join("frequency/src"))?;
    assert!(files.len() > 10, "the checker no longer sees the detector: {files:?}");
    let sources = files.iter().map(|file| Ok(Source::parse(&own(file), &fs::read_to_string(file)?))).collect::<io::Result<Vec<_>>>()?;
    let violations = detector(&sources);
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
    for (text, expected) in [
        ("use std::time::Instant;", "std::time::Instant: the detector is pure"),
        ("use std::collections::HashMap;", "the detector is pure"),
        ("use jiff::Timestamp;", "jiff::Timestamp: the detector is pure"),
        ("use crate::lab::theory;", "may not use what measures it"),
    ] {
        let violations = detector(&[Source::parse("src/score.rs", text)]);
        assert!(violations.len() == 1 && violations[0].contains(expected), "`{text}` gave {violations:#?}");
    }
    Ok(())
}

#[test]
fn the_page_about_the_architecture_names_every_module() -> io::Result<()> {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md"))?;
    let modules: BTreeSet<String> = read("src")?.iter().filter_map(|source| source.module().first().cloned()).collect();
    let missing: Vec<&String> = modules.iter().filter(|module| !page.contains(&format!("`{module}`"))).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md says nothing of {missing:?}: add a row to its table of modules");
    Ok(())
}

#[test]
fn wrong_samples_are_caught_and_the_rule_is_named() {
    for (file, text, expected) in [
        ("src/core/decide.rs", "use kube::Client;", "core may not use kube"),
        ("src/core/decide.rs", "use {serde::Serialize, tokio::sync::{self}};", "core may not use tokio::sync"),
        ("src/core/decide.rs", "fn f() { tracing::info!(\"x\"); }", "core may not use tracing"),
        ("src/core/decide.rs", "use std::{fmt, time::{Duration, Instant}};", "core may not use std::time::Instant"),
        ("src/core/decide.rs", "use std::collections::HashMap;", "core may not use std::collections::HashMap"),
        ("src/core/decide.rs", "use aws_lc_rs::digest;", "core may not use aws_lc_rs::digest"),
        ("src/core/decide.rs", "use crate::cluster::Clock;", "core may not use crate::cluster"),
        ("src/core/decide.rs", "use super::super::cluster::Clock;", "core may not use crate::cluster"),
        ("src/core/a/b.rs", "mod c { use super::super::super::super::expr::Program; }", "core may not use crate::expr"),
        ("src/core/decide.rs", "#[cfg(test)]\nmod tests { use crate::issue::x509; }", "core may not use crate::issue"),
        ("src/api/lease.rs", "fn f(x: crate::core::Snapshot) {}", "api may not use crate::core"),
        (
            "src/cluster/watch.rs",
            "use crate::{\n    core::Snapshot,\n    issue::x509::csr,\n};",
            "watch.rs:3: cluster may not use crate::issue::x509",
        ),
        ("src/cluster/watch.rs", "use crate::install::rbac;", "cluster may not use crate::install::rbac"),
        ("src/issue/x509/csr.rs", "use crate::expr::Program;", "issue may not use crate::expr"),
        ("src/expr/fence.rs", "use crate::secret::Secret;", "expr may not use crate::secret"),
        ("src/controller/request.rs", "use crate::app;", "controller may not use crate::app"),
        ("src/controller/request.rs", "use rcgen::KeyPair;", "rcgen belongs to issue"),
        ("src/controller/request.rs", "use aws_lc_rs::signature::Ed25519KeyPair;", "aws_lc_rs belongs to issue"),
        ("src/cluster/act/mod.rs", "use aws_lc_rs::rand::SystemRandom;", "aws_lc_rs::rand belongs to issue, controller"),
        ("src/controller/request.rs", "fn f() { let p = cel::Program::compile(s); }", "cel belongs to expr"),
        ("src/controller/request.rs", "fn f() { key.expose(); }", "expose() belongs to"),
        ("src/controller/request.rs", "#![allow(clippy::disallowed_methods)]", "clippy::disallowed_methods belongs to"),
        ("src/main.rs", "use daypass::core;\nuse rcgen::KeyPair;", "main.rs:2: rcgen belongs to issue"),
        ("src/shiny.rs", "use std::fmt;", "shiny has no place"),
    ] {
        let violations = architecture(&[Source::parse(file, text)]);
        assert!(violations.len() == 1 && violations[0].contains(expected), "`{text}` in {file} gave {violations:#?}, not `{expected}`");
    }
}

#[test]
fn right_samples_pass_however_they_are_written() {
    for (file, text) in [
        ("src/core/names.rs", "use aws_lc_rs::digest::{SHA256, digest};\nuse data_encoding::HEXLOWER;"),
        ("src/core/mod.rs", "pub mod decide;\npub use decide::{decide, reconsider as again};"),
        ("src/core/decide.rs", "use std::{collections::BTreeMap, fmt};\nuse crate::api::{self, DenialReason::*};\nuse super::snapshot;"),
        ("src/core/decide.rs", "// use kube::Client;\n/* tokio::spawn /* nested */ */\nconst A: &str = \"use kube::Client;\";"),
        ("src/core/decide.rs", "const A: &str = r#\"kube::\"Client\"\"#; const B: char = '\"'; fn f<'a>(x: &'a str) -> u8 { b'\\'' }"),
        ("src/core/decide.rs", "fn f() -> impl Iterator + use<> { kube.len(); Self::new() }"),
        ("src/core/decide.rs", "#[cfg(test)]\nmod tests { use super::*; use proptest::prelude::*; }"),
        ("src/cluster/guard.rs", "use crate::{core::guard, install::guard::VERIFY, secret::Secret};"),
        ("src/cluster/mod.rs", "use tokio::time;\nfn f() { time::sleep(d) }"),
        ("src/lib.rs", "pub mod core;\npub mod api;"),
    ] {
        let violations = architecture(&[Source::parse(file, text)]);
        assert!(violations.is_empty(), "`{text}` in {file} gave {violations:#?}");
    }
}

#[test]
fn a_test_module_in_a_file_of_its_own_is_still_a_test_module() {
    let declared = Source::parse("src/core/mod.rs", "#[cfg(test)]\nmod laws;\nmod decide;");
    let laws = Source::parse("src/core/laws/strategies.rs", "use proptest::prelude::*;");
    let decide = Source::parse("src/core/decide.rs", "use proptest::prelude::*;");
    assert_eq!(architecture(&[declared, laws, decide]).len(), 1);
}

#[test]
fn files_without_a_purpose_or_without_an_end_are_caught() {
    assert!(housekeeping("a.rs", "use std::fmt;\n").unwrap().contains("a.rs:1: does not begin with a `//!`"));
    assert!(housekeeping("a.rs", &format!("//! Doc.\n{}", "\n".repeat(500))).unwrap().contains("501 lines"));
    assert_eq!(housekeeping("a.rs", &format!("//! Doc.\n{}", "\n".repeat(499))), None);
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn name(file: &Path) -> String {
    file.strip_prefix(root()).unwrap_or(file).to_string_lossy().replace('\\', "/")
}

fn read(directory: &str) -> io::Result<Vec<Source>> {
    rust_files(&root().join(directory))?.iter().map(|file| Ok(Source::parse(&name(file), &fs::read_to_string(file)?))).collect()
}

/// Every `.rs` file below a directory, which may be absent, in a stable order.
fn rust_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
