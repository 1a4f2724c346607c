//! CredentialClass: ceilings and names that the schema itself holds.

use serde_json::{Value, json};

use super::{
    quiet::{Author, quiet},
    samples,
    trial::{Case, every_rule_is_tried, refused, taken, verdict},
};

fn specs() -> Vec<Case> {
    let ttl = |default: Value, max: Value| json!({"spec": {"ttl": {"default": default, "max": max}}});
    let ca = |ca: Value| json!({"spec": {"x509": {"ca": ca}}});
    let x509 = |x509: Value| json!({"spec": {"x509": x509}});
    let spec = |spec: Value| json!({"spec": spec});
    let token = |fields: Value| {
        let mut token = json!({"namespace": "lent", "name": "reader"});
        crate::scene::merge(&mut token, fields);
        json!({"x509": null, "delivery": null, "serviceAccountToken": token})
    };
    let lends = |fields: Value, more: Value| {
        let mut spec = token(fields);
        crate::scene::merge(&mut spec, more);
        json!({"spec": spec})
    };
    const ONE: &str = "give exactly one of x509 and serviceAccountToken";
    const DELIVERED: &str = "certificates are delivered by CSR or Secret, tokens by Sealed or Secret";
    const TTL: &str = "must be 1s to 24h, written like 30s, 15m or 1h30m";
    vec![
        taken("all fields", json!({})),
        taken(
            "only what has no default",
            spec(json!({"ttl": null, "delivery": null, "allowedNamespaces": null, "delegateTo": null,
                        "x509": {"ca": {"managed": {"name": null}}, "subject": null, "dnsNames": null, "usages": null,
                                 "crl": {"url": null, "nextUpdate": null}}})),
        ),
        taken("a default of the max", ttl(json!("15m"), json!("15m"))),
        taken("the same in other words", ttl(json!("900s"), json!("15m"))),
        refused("a default beyond the max", ttl(json!("10m1s"), json!("10m")), "spec.ttl", "ttl.default must not be longer than ttl.max"),
        refused(
            "a default beyond the default max",
            ttl(json!("15m1s"), Value::Null),
            "spec.ttl",
            "ttl.default must not be longer than ttl.max",
        ),
        refused(
            "a max below the default default",
            ttl(Value::Null, json!("5m")),
            "spec.ttl",
            "ttl.default must not be longer than ttl.max",
        ),
        refused(
            "a max beyond 15m without a list",
            spec(json!({"ttl": {"max": "15m1s"}, "x509": {"crl": null}})),
            "spec",
            "ttl.max must be at most 15m: without x509.crl",
        ),
        taken("a max of 15m without a list", spec(json!({"ttl": {"max": "15m"}, "x509": {"crl": null}}))),
        taken("a day with a list", ttl(json!("10m"), json!("24h"))),
        refused(
            "a list that is good for less than a minute",
            x509(json!({"crl": {"nextUpdate": "59s"}})),
            "spec.x509.crl",
            "nextUpdate must be at least 60s",
        ),
        taken("a list that is good for a minute", x509(json!({"crl": {"nextUpdate": "1m"}}))),
        refused("a list by FTP", x509(json!({"crl": {"url": "ftp://host/list"}})), "spec.x509.crl.url", "should match"),
        refused("a list behind a blank", x509(json!({"crl": {"url": "http://host/a list"}})), "spec.x509.crl.url", "should match"),
        refused("a default of 0", ttl(json!("0s"), json!("15m")), "spec.ttl.default", TTL),
        refused("a negative default", ttl(json!("-1s"), json!("15m")), "spec.ttl.default", "should match"),
        refused("words", ttl(json!("10m"), json!("soon")), "spec.ttl.max", "should match"),
        taken("a CA of the operator", ca(json!({"managed": {}}))),
        taken("a CA in a Secret", ca(json!({"managed": null, "secretName": "corp-ca"}))),
        refused("two CAs", ca(json!({"secretName": "corp-ca"})), "spec.x509.ca", "give exactly one of managed and secretName"),
        refused("no CA", ca(json!({"managed": null})), "spec.x509.ca", "give exactly one of managed and secretName"),
        refused("a CA of a strange name", ca(json!({"managed": {"name": "Corp CA"}})), "spec.x509.ca.managed.name", "should match"),
        taken("namespaces by name alone", spec(json!({"allowedNamespaces": {"selector": null}}))),
        taken("namespaces by label alone", spec(json!({"allowedNamespaces": {"names": null}}))),
        refused(
            "no namespaces",
            spec(json!({"allowedNamespaces": {"names": null, "selector": null}})),
            "spec.allowedNamespaces",
            "name namespaces, or give a selector",
        ),
        refused(
            "an empty list of namespaces",
            spec(json!({"delegateTo": {"names": []}})),
            "spec.delegateTo.names",
            "should have at least 1 items",
        ),
        refused(
            "a selector of nothing",
            spec(json!({"allowedNamespaces": {"selector": {"matchLabels": {"env": null}}}})),
            "spec.allowedNamespaces.selector.matchLabels",
            "should have at least 1 properties",
        ),
        taken("both deliveries", spec(json!({"delivery": ["CSR", "Secret"]}))),
        refused("no delivery", spec(json!({"delivery": []})), "spec.delivery", "should have at least 1 items"),
        refused("a delivery twice", spec(json!({"delivery": ["CSR", "CSR"]})), "spec.delivery[1]", "Duplicate value"),
        refused("a delivery of another kind", spec(json!({"delivery": ["Mail"]})), "spec.delivery[0]", "Unsupported value"),
        refused("a certificate that is sealed", spec(json!({"delivery": ["CSR", "Sealed"]})), "spec", DELIVERED),
        refused("no trust domain", x509(json!({"trustDomain": null})), "spec.x509.trustDomain", "Required value"),
        refused("an upper-case trust domain", x509(json!({"trustDomain": "Shop.example"})), "spec.x509.trustDomain", "should match"),
        refused("a usage of another kind", x509(json!({"usages": ["CodeSigning"]})), "spec.x509.usages[0]", "Unsupported value"),
        refused("no kind of credential", spec(json!({"x509": null})), "spec", ONE),
        refused("two kinds of credential", spec(json!({"serviceAccountToken": {"namespace": "lent", "name": "reader"}})), "spec", ONE),
        taken("an account that is lent", lends(json!({}), json!({}))),
        taken("for an hour", lends(json!({}), json!({"ttl": {"max": "1h"}}))),
        refused("for longer", lends(json!({}), json!({"ttl": {"max": "61m"}})), "spec", "ttl.max must be at most 1h"),
        taken(
            "for others that ask the API server",
            lends(json!({"audiences": ["vault"], "verifier": "TokenReview"}), json!({"ttl": {"max": "1h"}})),
        ),
        refused(
            "for others that do not, beyond 15m",
            lends(json!({"audiences": ["vault"]}), json!({"ttl": {"max": "16m"}})),
            "spec",
            "State verifier: TokenReview if it does ask",
        ),
        taken("sealed and in a Secret", lends(json!({}), json!({"delivery": ["Sealed", "Secret"]}))),
        refused("a token by CSR", lends(json!({}), json!({"delivery": ["CSR"]})), "spec", DELIVERED),
        refused("an account without a name", lends(json!({"name": null}), json!({})), "spec.serviceAccountToken.name", "Required value"),
        refused(
            "an account of no namespace",
            lends(json!({"namespace": null}), json!({})),
            "spec.serviceAccountToken.namespace",
            "Required value",
        ),
        refused(
            "an account of a strange name",
            lends(json!({"name": "Reader"}), json!({})),
            "spec.serviceAccountToken.name",
            "should match",
        ),
        refused(
            "for nobody",
            lends(json!({"audiences": []}), json!({})),
            "spec.serviceAccountToken.audiences",
            "should have at least 1 items",
        ),
        refused(
            "another way to check",
            lends(json!({"verifier": "Trust"}), json!({})),
            "spec.serviceAccountToken.verifier",
            "Unsupported value",
        ),
    ]
}

#[test]
fn every_rule_of_the_schema_is_tried() {
    every_rule_is_tried("CredentialClass", &[&specs()]);
}

#[tokio::test]
async fn a_class_that_could_never_work_is_refused_when_it_is_applied() {
    let stage = quiet();
    let (admin, sample, mut differences) = (Author::admin(&stage), samples::class(), vec![]);
    for case in specs() {
        differences.push(case.differs(&admin.try_create(&case.of(&sample)).await));
    }
    verdict(differences);
}

#[tokio::test]
async fn what_a_class_leaves_out_is_filled_in_for_all_to_read() {
    let class = json!({
        "apiVersion": "daypass.dev/v1alpha1", "kind": "CredentialClass", "metadata": {"name": "sample"},
        "spec": {"x509": {"ca": {"managed": {}}, "trustDomain": "shop.example"}},
    });
    let filled = Author::admin(&quiet()).try_create(&class).await.unwrap();
    assert_eq!(filled["spec"]["ttl"], json!({"default": "10m", "max": "15m"}));
    assert_eq!(filled["spec"]["delivery"], Value::Null, "what leaves nothing readable behind; a Secret has to be asked for aloud");
    assert_eq!(filled["spec"]["x509"]["ca"], json!({"managed": {"name": "default"}}));
    assert_eq!(filled["spec"]["x509"]["usages"], json!(["ClientAuth"]));
    assert_eq!(filled["spec"]["x509"].get("crl"), None, "a list has to be asked for");
}
