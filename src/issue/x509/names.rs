//! Names in a certificate: they come from the class and from the stamped requester, never from a CSR.
//!
//! Called by the controller: [`check`] when it judges a class, [`names`] when it decides on a request.

use crate::api::{Requester, class::X509Spec};

use super::template::{SyntaxError, Template, Variable};

/// Longest common name (RFC 5280, ub-common-name).
const MAX_COMMON_NAME: usize = 64;
/// Longest DNS name, and longest label of one (RFC 1035 §2.3.4).
const MAX_DNS_NAME: usize = 253;
const MAX_LABEL: usize = 63;
/// Longest URI name; room for every trust domain, namespace and service account that Kubernetes admits.
const MAX_URI: usize = 1024;

/// The names that a certificate carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
    pub uri: String,
    /// Common name of the subject; the subject is empty without one.
    pub common_name: Option<String>,
    /// DNS names, in the order of the class, each once.
    pub dns_names: Vec<String>,
}

/// A field that gives no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct NamesError {
    /// Which field, as written in the class (or in the request), for instance `x509.dnsNames[1]`.
    pub field: String,
    /// What is wrong with it and what would be right.
    pub problem: NamesProblem,
}

/// Why a field gives no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamesProblem {
    /// A variable that does not exist.
    #[error("unknown variable {{{0}}}; known are {{namespace}}, {{serviceAccount}}, {{class}} and {{cluster}}")]
    UnknownVariable(String),
    /// A brace without its partner.
    #[error("unbalanced brace; variables are written {{namespace}}")]
    UnbalancedBrace,
    /// Uses `{cluster}` where the cluster has no name.
    #[error("uses {{cluster}}, but the operator does not know the name of its cluster; configure it, or leave the variable out")]
    NoCluster,
    /// Too long.
    #[error("{length} characters where at most {max} are allowed; shorten the template")]
    TooLong {
        /// Length of the rendered name.
        length: usize,
        /// The most that is allowed.
        max: usize,
    },
    /// Not a trust domain.
    #[error("a trust domain is lower-case letters, digits, dots, dashes and underscores, beginning and ending with a letter or digit")]
    TrustDomain,
    /// Not a common name.
    #[error("a common name is letters, digits and any of . _ @ : - between them")]
    CommonName,
    /// Not a DNS name.
    #[error("a DNS name is labels of at most 63 lower-case letters, digits and dashes, joined by dots, the last one not a number")]
    DnsName,
    /// Not a service account.
    #[error("only service accounts can be named in a certificate (system:serviceaccount:<namespace>:<name>)")]
    ServiceAccount,
}

/// The names that a requester gets from a class.
pub fn names(spec: &X509Spec, class: &str, requester: &Requester, cluster: &str) -> Result<Names, NamesError> {
    let (namespace, service_account) = requester
        .service_account()
        // Checked although the API server did: these two end up in a path, where a slash would make another identity.
        .filter(|(namespace, name)| is_label(namespace) && is_subdomain(name))
        .ok_or(NamesError { field: "requester.username".into(), problem: NamesProblem::ServiceAccount })?;
    render(spec, !cluster.is_empty(), |variable| match variable {
        Variable::Namespace => namespace,
        Variable::ServiceAccount => service_account,
        Variable::Class => class,
        Variable::Cluster => cluster,
    })
}

/// Whether the templates of a class can give names at all. Whatever this refuses, [`names`] refuses for every requester: all rules
/// are about letters, labels and lengths, and no value of a variable is shorter or simpler than the one letter tried here.
pub fn check(spec: &X509Spec) -> Result<(), NamesError> {
    render(spec, true, |_| "x").map(drop)
}

fn render<'a>(spec: &X509Spec, has_cluster: bool, value: impl Fn(Variable) -> &'a str) -> Result<Names, NamesError> {
    let fill = |field: &str, text: &str, rule: fn(&str) -> Result<(), NamesProblem>| {
        let fail = |problem| NamesError { field: field.to_owned(), problem };
        let template = Template::parse(text).map_err(|error| fail(error.into()))?;
        if template.uses(Variable::Cluster) && !has_cluster {
            return Err(fail(NamesProblem::NoCluster));
        }
        let name = template.render(&value);
        rule(&name).map_err(fail)?;
        Ok(name)
    };

    let trust_domain = &spec.trust_domain;
    let uri = format!("spiffe://{trust_domain}/ns/{}/sa/{}", value(Variable::Namespace), value(Variable::ServiceAccount));
    trust_domain_rule(trust_domain)
        .and_then(|()| at_most(MAX_URI, &uri))
        .map_err(|problem| NamesError { field: "x509.trustDomain".into(), problem })?;

    let common_name =
        spec.subject.as_ref().map(|subject| fill("x509.subject.commonName", &subject.common_name, common_name_rule)).transpose()?;

    let mut dns_names = Vec::new();
    for (index, text) in spec.dns_names.iter().enumerate() {
        let name = fill(&format!("x509.dnsNames[{index}]"), text, dns_name_rule)?;
        if !dns_names.contains(&name) {
            dns_names.push(name);
        }
    }
    Ok(Names { uri, common_name, dns_names })
}

impl From<SyntaxError> for NamesProblem {
    fn from(error: SyntaxError) -> Self {
        match error {
            SyntaxError::Unknown(name) => Self::UnknownVariable(name),
            SyntaxError::Unbalanced => Self::UnbalancedBrace,
        }
    }
}

fn trust_domain_rule(name: &str) -> Result<(), NamesProblem> {
    at_most(255, name)?;
    rule(is_token(name, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit(), b"-._"), NamesProblem::TrustDomain)
}

/// No space, comma, plus, equals, slash, quote or backslash: a common name is matched as text by databases and proxies that print the
/// subject in some form of their own, and there those letters would begin another attribute.
fn common_name_rule(name: &str) -> Result<(), NamesProblem> {
    at_most(MAX_COMMON_NAME, name)?;
    rule(is_token(name, |byte| byte.is_ascii_alphanumeric(), b"._@:-"), NamesProblem::CommonName)
}

/// Preferred name syntax, without wildcards. A last label that is a number would read as an IP address.
fn dns_name_rule(name: &str) -> Result<(), NamesProblem> {
    at_most(MAX_DNS_NAME, name)?;
    let last_is_number = name.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    rule(is_subdomain(name) && !last_is_number, NamesProblem::DnsName)
}

fn rule(holds: bool, problem: NamesProblem) -> Result<(), NamesProblem> {
    if holds { Ok(()) } else { Err(problem) }
}

fn at_most(max: usize, name: &str) -> Result<(), NamesProblem> {
    rule(name.len() <= max, NamesProblem::TooLong { length: name.len(), max })
}

fn is_subdomain(name: &str) -> bool {
    name.len() <= MAX_DNS_NAME && name.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    label.len() <= MAX_LABEL && is_token(label, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit(), b"-")
}

/// Not empty, of `outer` and `inner` letters, with `outer` ones at both ends.
fn is_token(text: &str, outer: fn(u8) -> bool, inner: &[u8]) -> bool {
    let bytes = text.as_bytes();
    let ends = bytes.first().is_some_and(|byte| outer(*byte)) && bytes.last().is_some_and(|byte| outer(*byte));
    ends && bytes.iter().all(|byte| outer(*byte) || inner.contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::class::{CaSpec, SubjectSpec, Usage};

    fn spec(trust_domain: &str, common_name: Option<&str>, dns_names: &[&str]) -> X509Spec {
        X509Spec {
            ca: CaSpec { managed: None, secret_name: Some("ca".into()) },
            trust_domain: trust_domain.into(),
            subject: common_name.map(|name| SubjectSpec { common_name: name.into() }),
            dns_names: dns_names.iter().map(|name| (*name).to_owned()).collect(),
            usages: vec![Usage::ClientAuth],
            crl: None,
        }
    }

    fn requester(username: &str) -> Requester {
        Requester {
            username: username.into(),
            uid: String::new(),
            pod_name: String::new(),
            pod_uid: String::new(),
            node_name: String::new(),
            node_uid: String::new(),
            credential_id: String::new(),
        }
    }

    fn orders(spec: &X509Spec) -> Result<Names, NamesError> {
        names(spec, "orders-db", &requester("system:serviceaccount:shop:orders"), "eu-1")
    }

    #[test]
    fn a_requester_gets_the_names_of_the_class_and_nothing_else() {
        let spec = spec(
            "shop.example",
            Some("{serviceAccount}@{cluster}"),
            &["{serviceAccount}.{namespace}.svc", "{class}", "orders.{namespace}.svc"],
        );
        check(&spec).unwrap();
        let expected = Names {
            uri: "spiffe://shop.example/ns/shop/sa/orders".into(),
            common_name: Some("orders@eu-1".into()),
            dns_names: vec!["orders.shop.svc".into(), "orders-db".into()],
        };
        assert_eq!(orders(&spec).unwrap(), expected, "the third name renders to the first and is there once");
    }

    #[test]
    fn what_can_never_be_a_name_makes_the_class_wrong_and_names_the_field() {
        use NamesProblem::*;
        let long = "a".repeat(65);
        let label = format!("{}.svc", "a".repeat(64));
        let cases: &[(X509Spec, &str, NamesProblem)] = &[
            (spec("Shop", None, &[]), "x509.trustDomain", TrustDomain),
            (spec("a/b", None, &[]), "x509.trustDomain", TrustDomain),
            (spec("", None, &[]), "x509.trustDomain", TrustDomain),
            (spec("a", Some("{sa}"), &[]), "x509.subject.commonName", UnknownVariable("sa".into())),
            (spec("a", Some("{namespace"), &[]), "x509.subject.commonName", UnbalancedBrace),
            (spec("a", Some("a,O=admins"), &[]), "x509.subject.commonName", CommonName),
            (spec("a", Some("a/O=admins"), &[]), "x509.subject.commonName", CommonName),
            (spec("a", Some("a b"), &[]), "x509.subject.commonName", CommonName),
            (spec("a", Some("örders"), &[]), "x509.subject.commonName", CommonName),
            (spec("a", Some("{class}-"), &[]), "x509.subject.commonName", CommonName),
            (spec("a", Some(&long), &[]), "x509.subject.commonName", TooLong { length: 65, max: 64 }),
            (spec("a", None, &["ok", "*.{namespace}.svc"]), "x509.dnsNames[1]", DnsName),
            (spec("a", None, &["Orders"]), "x509.dnsNames[0]", DnsName),
            (spec("a", None, &["a..b"]), "x509.dnsNames[0]", DnsName),
            (spec("a", None, &[".{class}"]), "x509.dnsNames[0]", DnsName),
            (spec("a", None, &["{class}."]), "x509.dnsNames[0]", DnsName),
            (spec("a", None, &["a_b"]), "x509.dnsNames[0]", DnsName),
            (spec("a", None, &["10.0.0.1"]), "x509.dnsNames[0]", DnsName),
            (spec("a", None, &[&label]), "x509.dnsNames[0]", DnsName),
            (spec("a", None, &[""]), "x509.dnsNames[0]", DnsName),
        ];
        for (spec, field, problem) in cases {
            let expected = NamesError { field: (*field).into(), problem: problem.clone() };
            assert_eq!(check(spec), Err(expected.clone()), "{spec:?}");
            assert_eq!(orders(spec), Err(expected), "{spec:?}");
        }
    }

    #[test]
    fn what_fits_some_requesters_only_is_found_when_it_is_rendered() {
        let spec = spec("a", Some("{serviceAccount}"), &["{class}.{cluster}"]);
        check(&spec).unwrap();
        let ask = |name: &str, class: &str, cluster: &str| {
            names(&spec, class, &requester(&format!("system:serviceaccount:shop:{name}")), cluster)
        };
        let problem = |result: Result<Names, NamesError>| result.map_err(|error| (error.field, error.problem)).unwrap_err();
        assert!(ask("a", "b", "c").is_ok());
        assert_eq!(
            problem(ask(&["a"; 33].join("."), "b", "c")),
            ("x509.subject.commonName".into(), NamesProblem::TooLong { length: 65, max: 64 })
        );
        assert_eq!(problem(ask("a", "b", "")), ("x509.dnsNames[0]".into(), NamesProblem::NoCluster));
        assert_eq!(problem(ask("a", "b", "Prod")), ("x509.dnsNames[0]".into(), NamesProblem::DnsName));
        assert_eq!(problem(ask("a", "b", "7")), ("x509.dnsNames[0]".into(), NamesProblem::DnsName));
    }

    #[test]
    fn nobody_but_a_service_account_is_named() {
        let spec = spec("a", None, &[]);
        for username in [
            "",
            "alice",
            "system:node:n1",
            "system:serviceaccount:shop",
            "system:serviceaccount:shop:a/ns/x",
            "system:serviceaccount:a/b:c",
            "system:serviceaccount::c",
            "system:serviceaccount:a.b:c",
        ] {
            let error = names(&spec, "c", &requester(username), "").unwrap_err();
            assert_eq!((error.field.as_str(), error.problem), ("requester.username", NamesProblem::ServiceAccount), "{username}");
        }
    }

    #[test]
    fn errors_say_what_would_be_right() {
        let error = check(&spec("a", None, &["{nope}"])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "x509.dnsNames[0]: unknown variable {nope}; known are {namespace}, {serviceAccount}, {class} and {cluster}"
        );
    }
}
