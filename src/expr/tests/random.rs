//! Nobody's expressions: whatever is written, nothing panics, and what is accepted answers.

use proptest::prelude::*;

use super::*;

/// Pieces that expressions are made of, so that a fair part of what is generated gets past the parser.
fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "pod",
        "node",
        "request",
        "namespace",
        "task",
        "now",
        ".spec",
        ".metadata",
        ".labels",
        ".containers",
        "['app']",
        "[0]",
        ".?spec",
        "[?'x']",
        ".image",
        ".name",
        ".all(c, ",
        ".exists(c, ",
        ".map(c, ",
        ".filter(c, ",
        "c",
        "c.image",
        ")",
        "(",
        "[",
        "]",
        "{",
        "}",
        " && ",
        " || ",
        " == ",
        " != ",
        " < ",
        " in ",
        " ? ",
        " : ",
        " + ",
        " - ",
        " / ",
        " % ",
        "!",
        "-",
        "1",
        "0",
        "2u",
        "0.5",
        "'a'",
        "b'a'",
        "null",
        "true",
        "false",
        "has(",
        "size(",
        "string(",
        "int(",
        "timestamp(",
        "duration('1h')",
        ".matches('a+')",
        ".orValue(",
        ".optMap(c, ",
        "optional.of(",
        "optional.none()",
        ",",
        "type(",
        "dyn(",
        "\n",
        " ",
        "'",
        "\\",
        "ü",
    ])
}

/// Expressions that parse, and mostly have types.
fn sentence() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "pod.metadata.name",
        "pod.metadata.labels.app",
        "pod.metadata.labels",
        "pod.spec.containers",
        "pod.spec.priority",
        "node.spec.taints",
        "now",
        "task.kind",
        "1",
        "0",
        "2u",
        "0.5",
        "'a'",
        "b'a'",
        "null",
        "true",
        "false",
        "[]",
        "{}",
        "c",
        "request.spec.ttl",
        "timestamp('2026-01-01T00:00:00Z')",
        "duration('1h')",
        "optional.none()",
        "pod.spec.?priority",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(5, 40, 3, |inner| {
        let binary = prop::sample::select(vec!["&&", "||", "==", "!=", "<", "<=", "in", "+", "-", "*", "/", "%"]);
        let unary = prop::sample::select(vec![
            "!(",
            "-(",
            "size(",
            "string(",
            "int(",
            "double(",
            "uint(",
            "bool(",
            "bytes(",
            "dyn(",
            "type(",
            "timestamp(",
            "duration(",
            "optional.of(",
        ]);
        let looped = prop::sample::select(vec!["all", "exists", "exists_one", "map", "filter", "optMap"]);
        let method = prop::sample::select(vec!["contains", "startsWith", "orValue", "or", "getHours"]);
        prop_oneof![
            (inner.clone(), binary, inner.clone()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            (unary, inner.clone()).prop_map(|(op, a)| format!("{op}{a})")),
            (inner.clone(), looped, inner.clone()).prop_map(|(a, op, b)| format!("({a}).{op}(c, {b})")),
            (inner.clone(), method, inner.clone()).prop_map(|(a, op, b)| format!("({a}).{op}({b})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a})[{b}]")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[{a}, {b}]")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{{{a}: {b}}}")),
        ]
    })
}

/// A panic of the crate reaches the test as its failure.
fn survives(source: &str) {
    on_large_stack(|| {
        if let Ok(program) = Program::compile(source) {
            let _ = program.evaluate(&world());
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_in_any_order_never_panic(pieces in prop::collection::vec(piece(), 0..40)) {
        survives(&pieces.concat());
    }

    #[test]
    fn sentences_never_panic(sentence in sentence()) {
        survives(&sentence);
    }

    #[test]
    fn any_text_never_panics(text in ".{0,60}") {
        survives(&text);
    }

    /// Whatever has no types left at run time was let through knowingly: a `dyn`.
    #[test]
    fn what_is_accepted_gives_a_verdict(sentence in sentence()) {
        let comparison = format!("({sentence}) == ({sentence}) || true");
        if let Ok(program) = compile(&comparison) {
            prop_assert_eq!(on_large_stack(|| program.evaluate(&world())), Tri::True);
        }
    }
}
