//! What inputs cost at most, and that nobody decides on what was cut off.

use super::*;

fn labelled(labels: usize) -> Inputs {
    let mut pod = orders_pod();
    pod["metadata"]["labels"] = (0..labels).map(|n| (format!("l{n}"), json!("x"))).collect();
    with_pod(pod)
}

#[test]
fn a_map_is_whole_at_its_bound_and_cut_off_above_it() {
    assert_eq!(verdict_on("pod.metadata.labels.l0 == 'x'", &labelled(64)), Tri::True);
    let message = error_of(verdict_on("pod.metadata.labels.l0 == 'x'", &labelled(65)));
    assert_eq!(message, "pod.metadata.labels has more than 64 entries");
}

#[test]
fn no_operator_hides_that_something_was_cut_off() {
    let inputs = labelled(65);
    for source in [
        "pod.metadata.labels != {'a': 'b'}",
        "{'a': 'b'} != pod.metadata.labels",
        "[pod.metadata.labels] != [{'a': 'b'}]",
        "pod.metadata.labels.x == 'y' || true",
        "!(pod.metadata.labels.x == 'y' && false)",
        "pod.metadata.?labels.orValue({}) == {}",
        "pod.metadata.labels[?'bad'].orValue('') == ''",
        "!('bad' in pod.metadata.labels)",
        "!has(pod.metadata.labels.bad)",
        "pod.metadata.labels.all(k, k != 'bad')",
        "size(pod.metadata.labels) < 70",
    ] {
        assert!(error_of(verdict_on(source, &inputs)).contains("more than 64 entries"), "{source}");
    }
}

#[test]
fn what_is_cut_off_exists_and_does_not_disturb_what_does_not_look_at_it() {
    let inputs = labelled(65);
    assert_eq!(verdict_on("has(pod.metadata.labels)", &inputs), Tri::True);
    assert_eq!(verdict_on("pod.metadata.name == 'orders-7c9-x2k'", &inputs), Tri::True);
    assert_eq!(verdict_on("pod.spec.containers.all(c, c.image.contains('@sha256:'))", &inputs), Tri::True);
}

#[test]
fn one_evaluation_does_not_remember_what_another_looked_at() {
    let (cut, whole) = (labelled(65), labelled(3));
    let program = accepted("pod.metadata.labels.l0 == 'x'");
    on_large_stack(|| {
        error_of(program.evaluate(&cut));
        assert_eq!(program.evaluate(&whole), Tri::True);
    });
}

#[test]
fn the_thirty_third_container_and_the_sixty_fifth_toleration_cut_off_their_list() {
    let mut pod = orders_pod();
    pod["spec"]["containers"] = vec![json!({"name": "c", "image": "i"}); 33].into();
    pod["spec"]["tolerations"] = vec![json!({"key": "k"}); 65].into();
    let inputs = with_pod(pod);
    assert_eq!(error_of(verdict_on("pod.spec.containers.all(c, c.image != '')", &inputs)), "pod.spec.containers has more than 32 items");
    assert_eq!(error_of(verdict_on("size(pod.spec.tolerations) > 0", &inputs)), "pod.spec.tolerations has more than 64 items");
}

#[test]
fn a_long_string_is_cut_off_alone() {
    let mut pod = orders_pod();
    pod["metadata"]["annotations"] = json!({"long": "x".repeat(4097)});
    pod["metadata"]["labels"]["fits"] = "x".repeat(4096).into();
    let inputs = with_pod(pod);
    assert_eq!(verdict_on("size(pod.metadata.labels.fits) == 4096", &inputs), Tri::True);
    assert_eq!(verdict_on("has(pod.metadata.annotations.long)", &inputs), Tri::True);
    for source in
        ["pod.metadata.annotations.long != ''", "pod.metadata.annotations != {'long': 'x'}", "{'long': 'x'} != pod.metadata.annotations"]
    {
        assert_eq!(error_of(verdict_on(source, &inputs)), "pod.metadata.annotations.long is longer than 4096 bytes", "{source}");
    }
}

#[test]
fn depth_is_bounded() {
    let mut deep = json!("bottom");
    for _ in 0..100 {
        deep = json!({"topologyKey": deep});
    }
    let mut pod = orders_pod();
    pod["metadata"]["labels"]["app"] = deep;
    let message = error_of(verdict_on("pod.metadata.labels.app != pod.metadata.labels.app", &with_pod(pod)));
    assert!(message.contains("deeper than 16 levels"), "{message}");
}

#[test]
fn an_object_that_is_not_there_is_an_error_to_look_at_and_nothing_else() {
    let inputs = Inputs::new(json!({}), orders_pod(), Json::Null, Json::Null, json!({}), json!({}), Timestamp::UNIX_EPOCH);
    assert_eq!(error_of(verdict_on("node.metadata.name != 'bad'", &inputs)), "there is no node");
    assert_eq!(error_of(verdict_on("!has(node.spec.taints)", &inputs)), "there is no node");
    assert_eq!(verdict_on("pod.metadata.name != ''", &inputs), Tri::True);
}

#[test]
fn errors_show_no_values() {
    let mut pod = orders_pod();
    pod["metadata"]["annotations"] = json!({"note": "hunter2"});
    let inputs = with_pod(pod);
    for source in ["int(pod.metadata.annotations.note) > 1", "timestamp(pod.metadata.annotations.note) > now"] {
        assert!(!error_of(verdict_on(source, &inputs)).contains("hunter2"), "{source}");
    }
}

/// The dearest expressions that the fence lets through, on the largest inputs that it lets through.
fn dearest() -> (Vec<Program>, Inputs) {
    let text = "x".repeat(4000);
    let mut pod = orders_pod();
    let env: Vec<_> = (0..64).map(|n| json!({"name": format!("N{n}"), "value": text})).collect();
    pod["spec"]["containers"] = vec![json!({"name": "c", "image": text, "env": env}); 32].into();
    pod["spec"]["tolerations"] = vec![json!({"key": "k", "value": "v", "operator": "Equal"}); 64].into();
    pod["metadata"]["annotations"] = (0..64).map(|n| (format!("a{n}"), json!(text))).collect();
    let widest = |body: &str, most: usize| {
        let fill = |terms: usize| format!("pod.spec.tolerations.all(a, pod.spec.tolerations.all(b, {}))", vec![body; terms].join(" && "));
        (1..most).rev().map(fill).find_map(|source| compile(&source).ok()).unwrap()
    };
    let programs = vec![
        widest("a != null", 40),
        widest("a.key != b.value", 40),
        widest("has(b.key)", 40),
        widest("(1 + 1 == 2)", 40),
        accepted("pod.spec.containers.all(c, c.env.all(e, e.name.size() < 64))"),
        accepted("pod.spec.containers.all(c, c.image.matches('^[a-y]*(x|xx|xxx)*(.*x)+.*$'))"),
        accepted("pod.spec.containers.all(c, !c.image.matches('(x+x+)+y|(x|xx)+z'))"),
        accepted(
            "pod.metadata.annotations.map(k, pod.metadata.annotations[k] + pod.metadata.annotations[k]).all(t, t.contains('xy') || size(t) > 0)",
        ),
    ];
    (programs, with_pod(pod))
}

#[test]
fn the_worst_accepted_expressions_stay_within_the_bound_on_steps_and_answer() {
    let (programs, inputs) = dearest();
    on_large_stack(|| {
        for program in &programs {
            let best = (0..3).map(|_| timed(|| program.evaluate(&inputs))).min().unwrap();
            println!("{:>7} steps {best:>12?}  {}", program.cost(), program.source().chars().take(90).collect::<String>());
            // The time is for people to read: how long a step takes is the machine's affair.
            assert!(program.cost() <= limits::COST, "{}", program.source());
        }
    });
}

#[test]
fn no_source_keeps_the_compiler_busy() {
    let nested = |open: &str, inner: &str, close: &str| {
        let levels = (1000 / (open.len() + close.len())).min(usize::from(limits::PARSER_DEPTH) - 4);
        format!("{}{inner}{} == 1", open.repeat(levels), close.repeat(levels))
    };
    let sources = [
        nested("(", "1", ")"),
        nested("[", "1", "]"),
        nested("{1:", "1", "}"),
        nested("size(", "1", ")"),
        nested("true ? 1 : (", "1", ")"),
        nested("pod[", "1", "]"),
        nested("-(1 + ", "1", ")"),
        nested("[1].map(a, ", "1", ")"),
        vec!["true"; 128].join(" && "),
        vec!["1"; 512].join("+"),
        vec!["a"; 512].join("."),
        vec!["true ? true"; 60].join(" : ") + " : true",
        "((((".repeat(250),
        "namespace.".repeat(100),
        "{[(".repeat(300),
    ];
    on_large_stack(|| {
        for source in &sources {
            let took = timed(|| Program::compile(source));
            println!("{took:>12?}  {}", source.chars().take(60).collect::<String>());
            assert!(took < std::time::Duration::from_secs(2), "{took:?} for {source}");
        }
    });
}

/// Measuring is the one thing that needs a clock here.
#[expect(clippy::disallowed_methods, reason = "the test measures a duration; no verdict depends on it")]
fn timed<T>(work: impl FnOnce() -> T) -> std::time::Duration {
    let start = std::time::Instant::now();
    std::hint::black_box(work());
    start.elapsed()
}
