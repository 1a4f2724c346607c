//! *confine*: what the operator's account may write, whatever RBAC would let it.
//!
//! An allow-list of {resource, operation} over everything there is, CONNECT included, then rules that narrow what is on it. The list is that
//! of `install::rights`: what RBAC grants and what this policy lets pass are one table. Without the rule on the type of Secrets, `create`
//! and `patch` on them is cluster-admin: a `service-account-token` Secret can be made for any account, and an empty patch returns its token.
//!
//! Admission guards neither policies nor bindings, and impersonation by the operator would escape this policy: RBAC withholds both.

use serde_json::{Value, json};

use super::{
    cel::cel,
    policy::{Match, Policy, must, named, resources},
};
use crate::install::{OperatorName, rights};

const DESCRIPTION: &str = "What the account of Daypass may write, whatever RBAC would let it.";

pub(super) fn policy(operator: &OperatorName) -> Policy {
    let cel = |text: &str| cel(text, operator);
    let concerns = Match {
        // "*" would leave out subresources.
        rules: vec![resources("*", &["*/*"], &["*"])],
        conditions: vec![named("the-operator", cel("request.userInfo.username == $OPERATOR"))],
    };
    let variables = [
        named("sub", "request.?subResource.orValue('')"),
        named("what", "request.resource.group + '/' + request.resource.resource + (variables.sub == '' ? '' : '/' + variables.sub)"),
        named("home", cel("request.?namespace.orValue('') == $NAMESPACE")),
        named("may", allow_list()),
        // An update is judged by what it was and by what it becomes.
        named("both", "[object, oldObject].filter(o, o != null)"),
    ];
    let mut validations = vec![json!({
        "expression": "variables.what in variables.may && request.operation in variables.may[variables.what]",
        "messageExpression": "'the operator has no business with ' + request.operation + ' of ' + variables.what",
        "reason": "Forbidden",
    })];
    validations.extend(narrowing(&cel));
    Policy::validating("confine.daypass.dev", DESCRIPTION, concerns, json!({"variables": variables, "validations": validations}))
}

/// `{'group/resource': ['OPERATION', …]}` as a CEL map, a line a resource.
fn allow_list() -> String {
    let line = |(what, operations): (String, Vec<&str>)| format!("'{what}': ['{}']", operations.join("', '"));
    let lines: Vec<String> =
        rights::writes().into_iter().map(|(what, operations)| line((what, operations.into_iter().collect()))).collect();
    format!("{{{}}}", lines.join(",\n "))
}

/// What the allow-list alone would leave too wide.
fn narrowing(cel: &impl Fn(&str) -> String) -> Vec<Value> {
    vec![
        must(
            cel("
                variables.what != '/secrets' || variables.both.all(o,
                  o.metadata.name.startsWith('daypass-') &&
                  o.?type.orValue('Opaque') in ['Opaque', 'kubernetes.io/tls'] &&
                  (o.?metadata.labels[?$REQUEST_UID].orValue('') != '' ||
                   (variables.home && o.?metadata.labels[?$CA].orValue('') != '')))
            "),
            "the operator touches only Secrets named daypass-*, of type Opaque or kubernetes.io/tls, that carry its label",
        ),
        must(
            cel("
                variables.what != '/secrets' || request.operation == 'DELETE' ||
                object.metadata.?finalizers.orValue([]).all(f,
                  request.operation == 'UPDATE' && f in oldObject.metadata.?finalizers.orValue([]))
            "),
            "the operator adds no finalizers to Secrets",
        ),
        must(
            cel("
                variables.what != '/secrets' || request.operation != 'UPDATE' ||
                (object.?metadata.labels[?$REQUEST_UID] == oldObject.?metadata.labels[?$REQUEST_UID] &&
                 object.?metadata.labels[?$CA] == oldObject.?metadata.labels[?$CA])
            "),
            "a Secret belongs to one request for ever",
        ),
        must(
            cel("
                variables.what != '/serviceaccounts/token' || (!variables.home &&
                 object.?spec.boundObjectRef.kind.orValue('') == 'Secret' && object.?spec.boundObjectRef.apiVersion.orValue('') == 'v1' &&
                 object.?spec.boundObjectRef.name.orValue('').startsWith('daypass-') && object.?spec.boundObjectRef.uid.orValue('') != '' &&
                 object.?spec.expirationSeconds.orValue(3600) <= 3600)
            "),
            "the operator mints only tokens of other namespaces, bound to a daypass-* Secret by UID, for at most 3600 s",
        ),
        must(
            cel("
                !(variables.what in ['/configmaps']) ||
                (variables.home && variables.both.all(o, o.metadata.name.startsWith('daypass-')))
            "),
            "the operator keeps ConfigMaps named daypass-* in its own namespace",
        ),
        must(
            cel("
                variables.what != 'certificates.k8s.io/clustertrustbundles' ||
                variables.both.all(o, o.metadata.name.startsWith('daypass.dev:'))
            "),
            "the operator publishes only its own trust bundles",
        ),
        must(
            cel("
                variables.what != 'daypass.dev/accessrequests' || request.operation != 'CREATE' ||
                (request.dryRun && variables.home)
            "),
            "the operator asks for nothing; its canary is a dry run in its own namespace",
        ),
        must(
            cel("
                !(variables.what in ['daypass.dev/credentialleases', 'daypass.dev/credentialleases/status']) || variables.home
            "),
            "the ledger lives in the operator's namespace",
        ),
        // An owner that goes would take the lock along, and a finalizer would keep a person from lifting it.
        must(
            cel("
                variables.what != 'daypass.dev/accesslocks' ||
                (object.spec.source == 'Engine' && !object.spec.match.?everything.orValue(false) &&
                 object.metadata.?ownerReferences.orValue([]).size() == 0 &&
                 object.metadata.?finalizers.orValue([]).size() == 0)
            "),
            "the operator places only locks of source Engine, never of everything, and binds their life to nothing",
        ),
        // Kubernetes leaves out a zero.
        must(
            cel("
                variables.what != 'apps/deployments/scale' ||
                (variables.home && object.metadata.name == $DEPLOYMENT && object.?spec.?replicas.orValue(0) == 0)
            "),
            "the operator's account scales only the operator, and only to nothing",
        ),
        must(
            cel("
                !(variables.what in ['/namespaces', 'apiextensions.k8s.io/customresourcedefinitions']) ||
                (variables.what == '/namespaces'
                  ? object.metadata.name == $NAMESPACE
                  : object.metadata.name.endsWith('.daypass.dev'))
            "),
            "the operator's account marks only its own namespace and definitions",
        ),
        must(
            cel("
                !(variables.what in ['/namespaces', 'apiextensions.k8s.io/customresourcedefinitions']) ||
                (object.?spec == oldObject.?spec &&
                 object.metadata.?labels == oldObject.metadata.?labels &&
                 object.metadata.?finalizers == oldObject.metadata.?finalizers &&
                 object.metadata.?ownerReferences == oldObject.metadata.?ownerReferences &&
                 [[object, oldObject], [oldObject, object]].all(o,
                   o[0].metadata.?annotations.orValue({}).all(k, k == $DRAINED ||
                     o[0].metadata.?annotations[?k] == o[1].metadata.?annotations[?k])))
            "),
            "of a namespace or a definition the operator's account sets nothing but the annotation daypass.dev/drained",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::install::{Account, Values, drain, rbac};

    fn spec() -> Value {
        policy(&OperatorName::default()).object()["spec"].clone()
    }

    /// What the rendered policy lets pass, read back from its CEL.
    fn allowed() -> BTreeMap<String, Vec<String>> {
        let variables = spec()["variables"].as_array().unwrap().clone();
        let may = variables.iter().find(|variable| variable["name"] == "may").unwrap()["expression"].as_str().unwrap().replace('\'', "\"");
        serde_json::from_str(&may).unwrap()
    }

    /// What the rendered roles grant of writes, read back from every Role and ClusterRole bound to the operator, at work or while it drains.
    fn granted() -> BTreeMap<String, Vec<String>> {
        let account = Account { namespace: "lent".into(), name: "orders-admin".into() };
        let values = Values { secret_namespaces: vec!["shop".into()], service_accounts: vec![account], ..Values::default() };
        let mut granted = BTreeMap::<String, Vec<String>>::new();
        let roles =
            [rbac::objects(&values), rbac::secret_namespaces(&values), rbac::service_accounts(&values), drain::objects(&values)].concat();
        let rules = roles.iter().filter_map(|role| role["rules"].as_array()).flatten();
        let words = |rule: &Value, key: &str| -> Vec<String> { serde_json::from_value(rule[key].clone()).unwrap() };
        for rule in rules {
            for group in words(rule, "apiGroups") {
                for resource in words(rule, "resources") {
                    let operations = words(rule, "verbs").into_iter().filter_map(|verb| rights::operation_of(&verb)).map(str::to_owned);
                    granted.entry(format!("{group}/{resource}")).or_default().extend(operations);
                }
            }
        }
        granted.values_mut().for_each(|operations| {
            operations.sort();
            operations.dedup();
        });
        granted.retain(|_, operations| !operations.is_empty());
        granted
    }

    #[test]
    fn lets_pass_exactly_what_rbac_grants_of_writes() {
        let (allowed, granted) = (allowed(), granted());
        for (what, operations) in &granted {
            assert_eq!(allowed.get(what), Some(operations), "RBAC grants it, confine refuses it: {what}");
        }
        for (what, operations) in &allowed {
            assert_eq!(granted.get(what), Some(operations), "confine lets it pass, RBAC does not grant it: {what}");
        }
    }

    #[test]
    fn narrows_everything_on_the_list_that_is_not_harmless() {
        // Events lie, status of policies and classes misleads, but neither gives anybody a credential.
        // A TokenReview is never asked of admission policies, and stores nothing.
        let harmless = |what: &str| {
            ["events.k8s.io/events", "authentication.k8s.io/tokenreviews"].contains(&what)
                || (what.starts_with("daypass.dev/") && what.ends_with("/status"))
        };
        let rules = spec()["validations"].as_array().unwrap()[1..].iter().map(Value::to_string).collect::<String>();
        for what in allowed().keys().filter(|what| !harmless(what)) {
            assert!(rules.contains(&format!("'{what}'")), "no rule narrows {what}");
        }
    }

    #[test]
    fn nothing_that_would_let_the_operator_out_of_it_is_on_the_list() {
        // Minting is what it is for; a rule narrows it.
        let narrowed = ["/serviceaccounts/token", "authentication.k8s.io/tokenreviews"];
        for what in allowed().keys().filter(|what| !narrowed.contains(&what.as_str())) {
            let resource = what.split_once('/').unwrap().1;
            for out in
                ["token", "exec", "attach", "proxy", "portforward", "roles", "rolebindings", "admissionpolic", "users", "pods", "webhook"]
            {
                assert!(!resource.contains(out), "{what}");
            }
        }
    }
}
