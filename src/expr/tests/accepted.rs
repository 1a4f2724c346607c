//! What authors may write, and what it then says.

use super::*;

#[test]
fn the_expressions_of_the_design_hold_on_a_pinned_production_workload() {
    for source in [
        "pod.spec.containers.all(c, c.image.contains('@sha256:'))",
        "node.spec.taints.all(t, t.key != 'quarantine')",
        "has(pod.metadata.labels.app) && pod.metadata.labels.app == 'orders'",
        "namespace.metadata.labels['env'] == 'prod'",
        "now < timestamp('2027-01-31T00:00:00Z')",
        "request.spec.className in ['orders-db', 'orders-cache'] && duration(request.spec.ttl) <= duration('15m')",
        "serviceAccount.metadata.name == 'orders' && task.kind == 'Deployment'",
        "now - timestamp(pod.metadata.creationTimestamp) < duration('24h')",
        "pod.spec.containers.exists(c, has(c.securityContext) && c.securityContext.privileged == false)",
        "size(pod.spec.containers) == 2 && pod.spec.containers.map(c, c.name) == ['main', 'proxy']",
        "pod.spec.containers.all(c, !has(c.ports) || c.ports.all(p, p.containerPort > 1024))",
        "pod.spec.containers[0].image.matches('^registry[.]example/')",
        "now.getHours() >= 8 && now.getDayOfWeek('Europe/Berlin') < 6",
    ] {
        assert_eq!(verdict(source), Tri::True, "{source}");
    }
}

#[test]
fn absent_optional_fields_are_asked_for_with_has_or_given_a_default() {
    assert_eq!(verdict("has(pod.spec.priority)"), Tri::False);
    assert_eq!(verdict("has(pod.spec.hostNetwork) && pod.spec.hostNetwork"), Tri::False);
    assert_eq!(verdict("pod.spec.?priority.orValue(0) == 0"), Tri::True);
    assert_eq!(verdict("pod.metadata.labels[?'tier'].orValue('') == 'web'"), Tri::True);
    assert_eq!(verdict("pod.spec.?tolerations.optMap(t, size(t)).orValue(7) == 0"), Tri::True);
    assert!(error_of(verdict("pod.spec.priority > 0")).contains("there is no `priority`: ask has"));
}

#[test]
fn a_missing_label_is_an_error_at_run_time_and_no_mistake_of_the_author() {
    assert!(error_of(verdict("pod.metadata.labels.team == 'shop'")).contains("there is no `team`"));
    assert!(error_of(verdict("pod.spec.containers[7].name == 'x'")).contains("shorter"));
    assert!(error_of(verdict("int(pod.metadata.labels.app) > 3")).contains("`int` cannot convert"));
}

#[test]
fn what_decides_alone_outweighs_an_error_beside_it() {
    assert_eq!(verdict("true || pod.metadata.labels.team == 'x'"), Tri::True);
    assert_eq!(verdict("pod.metadata.labels.team == 'x' || true"), Tri::True);
    assert_eq!(verdict("pod.metadata.labels.team == 'x' && false"), Tri::False);
    error_of(verdict("pod.metadata.labels.team == 'x' || false"));
    error_of(verdict("!(pod.metadata.labels.team == 'x')"));
}

#[test]
fn only_an_expression_that_reads_now_depends_on_time() {
    assert!(accepted("now < timestamp('2027-01-31T00:00:00Z')").is_time_dependent());
    assert!(!accepted("pod.metadata.labels.now == 'now'").is_time_dependent());
    assert!(!accepted("pod.spec.containers.all(now, now.image != '')").is_time_dependent());
}

#[test]
fn input_maps_and_lists_equal_literals_in_both_directions() {
    for source in [
        "pod.metadata.labels == {'app': 'orders', 'tier': 'web'}",
        "{'app': 'orders', 'tier': 'web'} == pod.metadata.labels",
        "[] == pod.spec.tolerations",
        "pod.spec.tolerations == []",
        "pod.metadata.labels in [{'app': 'orders', 'tier': 'web'}]",
        "'app' in pod.metadata.labels && pod.metadata.labels.exists(k, k == 'tier')",
    ] {
        assert_eq!(verdict(source), Tri::True, "{source}");
    }
}

#[test]
fn the_namespace_goes_by_its_name_although_cel_reserves_the_word() {
    for source in [
        "has(namespace.metadata.labels.env) && namespace.metadata.labels.env == 'prod'",
        "pod.metadata.namespace == namespace.metadata.name && namespace.metadata.name != 'namespace'",
        "'namespace' == 'namespace' &&\n  'ü' != 'u' && namespace.metadata.labels['env'] == 'prod' // namespace",
        "[namespace.metadata.name].exists(n, n == namespace.metadata.name)",
    ] {
        assert_eq!(verdict(source), Tri::True, "{source}");
    }
    let error = refusal("true &&\n namespace.metadata.label.env == 'prod'");
    assert!(error.starts_with("2:") && error.contains("did you mean `namespace.metadata.labels`?"), "{error}");
    assert!(refusal("namespac_.metadata.name == ''").contains("unknown name `namespac_`"));
    assert!(refusal("package.metadata.name == ''").contains("reserved"));
}

#[test]
fn a_quantity_may_be_used_as_the_string_that_it_is() {
    assert_eq!(verdict("pod.spec.containers[0].resources.limits['cpu'] == '500m'"), Tri::True);
}

#[test]
fn fields_of_the_api_that_no_example_sets_are_known() {
    for source in [
        "has(pod.spec.volumes) && pod.spec.volumes.exists(v, has(v.projected) && v.projected.sources.exists(s, has(s.serviceAccountToken)))",
        "has(pod.spec.ephemeralContainers) && size(pod.spec.ephemeralContainers) > 0",
        "has(node.status.nodeInfo) && node.status.nodeInfo.kernelVersion.startsWith('6.')",
        "has(serviceAccount.automountServiceAccountToken)",
    ] {
        accepted(source);
    }
}

#[test]
fn the_source_is_kept_as_it_was_written() {
    assert_eq!(accepted("true  ||\n false").source(), "true  ||\n false");
}
