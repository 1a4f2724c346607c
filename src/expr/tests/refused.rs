//! What is refused before it can be evaluated, and what the author is told.

use super::*;

#[track_caller]
fn says(source: &str, part: &str) {
    let message = refusal(source);
    assert!(message.contains(part), "`{source}` is refused with `{message}`, which does not say `{part}`");
}

#[test]
fn the_position_counts_lines_and_characters() {
    says("true &&\n  reqest.spec.ttl == ''", "2:3: unknown name `reqest`; did you mean `request`?");
    says("'ü' == 'ü' && reqest.spec.ttl == ''", "1:15: ");
    says("1 +", "1:");
    says("pod.spec.containers.all(c,", "1:");
    says("", "1:1: ");
}

#[test]
fn misspelt_fields_are_refused_wherever_they_stand() {
    says("request.spec.ttlSecond <= 900", "`request.spec` has no field `ttlSecond`");
    says("pod.spec.containerz.all(c, true)", "did you mean `pod.spec.containers`?");
    says("false && pod.spec.nodename == 'x'", "did you mean `pod.spec.nodeName`?");
    says("has(pod.spec.priority) ? pod.spec.prority > 0 : true", "did you mean `pod.spec.priority`?");
    says("pod.spec.containers.all(c, c.imag != '')", "did you mean `c.image`?");
    says("pod['spec']['containerz'] == []", "has no field `containerz`");
    says("has(pod.spec.hostnetwork)", "did you mean `pod.spec.hostNetwork`?");
    says("pod.?spec.?containerz.hasValue()", "has no field `containerz`");
}

#[test]
fn the_short_way_to_taints_is_answered_with_the_long_one() {
    says("node.taints.all(t, t.key != 'quarantine')", "did you mean `node.spec.taints`?");
    says("pod.labels['app'] == 'x'", "did you mean `pod.metadata.labels`?");
}

#[test]
fn status_of_a_request_is_not_there_to_be_read() {
    says("request.status.state == 'Active'", "has no field `status`");
    error_of(verdict("(true ? request : task).status.state == 'Active'"));
}

#[test]
fn operands_of_the_wrong_type_are_refused_in_branches_that_no_sample_takes() {
    says("request.spec.ttl <= 900", "`<=` cannot be used on string and int");
    says("false && pod.spec.priority > '5'", "`>` cannot be used on int and string");
    says("now < '2027-01-31T00:00:00Z'", "write timestamp(…)");
    says("duration(request.spec.ttl) < '15m'", "write duration(…)");
    says("pod.spec.containers == 2", "`==` cannot be used on list and int");
    says("pod.metadata.labels.tier > 5", "`>` cannot be used on string and int");
    says("pod.metadata.name && true", "`&&` cannot be used on string and bool");
    says("!pod.metadata.name", "`!` cannot be used on a string");
    says("pod.spec.containers.all(c, c.name + 1 == 'a1')", "`+` cannot be used on string and int");
    says("pod.metadata.name.contains(1)", "`contains` cannot be called on a string with (int)");
    says("pod.metadata.name.all(c, true)", "cannot loop over a string");
    says("pod.spec.all(f, true)", "name its fields");
    says("pod == pod", "compare the fields");
    says("pod.spec.containers == pod.spec.initContainers", "compare the fields");
    says("'labels' in pod.metadata", "write has(object.field)");
    says("pod[pod.metadata.name] == ''", "cannot be used on map and string");
}

#[test]
fn hiding_an_object_behind_a_dyn_does_not_make_it_comparable() {
    says("dyn(pod) == dyn(pod)", "compare the fields");
    says("(true ? pod : task) == (true ? pod : node)", "compare the fields");
    says("[pod, 1] == [pod, 1]", "compare the fields");
    says("pod.spec.containers.all(c, dyn(pod) + 1 == 1 || true)", "whole objects");
    says("{dyn(pod): 1} == {}", "whole objects");
    says("dyn(pod) < 1", "whole objects");
    says("pod.spec.containers[0.5].name == ''", "cannot be used on list and double");
    accepted("dyn(pod) != null && dyn(pod).metadata.name != ''");
}

#[test]
fn the_reserved_name_is_no_loop_variable() {
    says("pod.spec.containers.all(namespace, namespace.image != '')", "cannot be the variable of a loop");
    says("pod.spec.?priority.optMap(namespace, namespace > 0).orValue(true)", "cannot be the variable of a loop");
}

#[test]
fn what_is_not_true_or_false_is_no_condition() {
    says("pod.metadata.name", "of type string");
    says("size(pod.spec.containers)", "of type int");
    says("pod.metadata.labels['app']", "of type string");
}

#[test]
fn functions_that_do_not_exist_are_named() {
    says("pod.metadata.name.startswith('x')", "did you mean `startsWith`?");
    says("pod.metadata.name.lowerAscii() == 'x'", "there is no function `lowerAscii`");
    says("authorizer.group('').check('get').allowed()", "unknown name `authorizer`");
    says("google.protobuf.Timestamp{seconds: 1} == now", "messages cannot be made here");
}

#[test]
fn constants_that_can_never_be_valid_are_refused() {
    says("now < timestamp('31.01.2027')", "this constant is never valid");
    says("duration('a while') > duration('1h')", "this constant is never valid");
    says("1 / 0 == 1", "division by zero");
}

#[test]
fn a_pattern_is_a_constant_of_bounded_size() {
    says("pod.metadata.name.matches(pod.metadata.labels.app)", "must be written out");
    says("pod.metadata.name.matches('a' + 'b')", "must be written out");
    says("pod.metadata.name.matches('(')", "the pattern is not valid");
    says(&format!("pod.metadata.name.matches('{}')", "a".repeat(129)), "129 bytes");
    says("pod.metadata.name.matches('((a{100}){100}){100}')", "too expensive");
    says("matches(pod.spec.priority, 'a')", "needs a string");
}

#[test]
fn inputs_that_would_end_the_process_are_refused() {
    let chain = |term: &str, joint: &str, terms: usize| vec![term; terms].join(joint);
    // The longest chains that fit the source.
    says(&format!("{} > 0", chain("1", "+", 500)), "levels deep");
    says(&format!("x.{}", chain("a", ".", 500)), "levels deep");
    for (open, close) in [("(", ")"), ("[", "]"), ("{1:", "}"), ("!(", ")"), ("size(", ")")] {
        let levels = 1000 / (open.len() + close.len());
        says(&format!("{}1{}", open.repeat(levels), close.repeat(levels)), ":");
    }
    says(&chain("true", "?true:", 140), ":");
}

#[test]
fn signs_in_a_row_are_nothing_special() {
    accepted(&format!("{}true", "!".repeat(1000)));
    accepted(&format!("{}1 > 0", "-".repeat(1000)));
}

#[test]
fn a_source_that_is_too_long_never_reaches_the_parser() {
    says(&"1+".repeat(600), "has 1200 bytes");
}

#[test]
fn more_parts_than_allowed_are_refused_even_where_they_lie_flat() {
    says(&format!("size([{}]) > 0", vec!["1"; 300].join(",")), "more than 256 parts");
}

#[test]
fn four_nested_loops_are_refused_and_two_are_not() {
    let list = format!("[{}]", (0..8).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
    says(&format!("{list}.all(a, {list}.all(b, {list}.all(c, {list}.all(d, a+b+c+d >= 0))))"), "more than 2 loops");
    accepted(&format!("{list}.all(a, {list}.all(b, a + b >= 0))"));
}

#[test]
fn a_string_bomb_is_refused_by_what_it_could_build() {
    // Each step makes the string four times as long: 246 bytes of source made 4 MiB.
    let bomb = format!("['xxxxxxxx']{}.all(s, size(s) > 0)", ".map(s, s+s+s+s)".repeat(10));
    assert!(bomb.len() < 250);
    says(&bomb, "may build strings of");
    says("[pod.metadata.name].map(s, s+s+s+s).map(s, s+s+s+s).all(s, s != '')", "may build strings of");
    accepted("pod.metadata.namespace + '/' + pod.metadata.name == 'shop/orders'");
}

#[test]
fn lists_cannot_be_multiplied_into_more_work_than_allowed() {
    let grow = "pod.spec.containers.map(c, pod.spec.containers.map(d, c.image + d.image))";
    says(&format!("{grow}.all(l, l.all(s, {grow}.all(m, size(m) > 0)))"), ":");
    says("pod.spec.volumes.all(v, pod.spec.volumes.all(w, v.name + w.name != w.name + v.name))", "steps");
}
