//! RBAC of the operator's own account, rendered from `rights`, and of what everybody may read.

use serde_json::{Value, json};

use super::{
    Account, Values,
    object::{NAME, metadata, metadata_in, operator_subject},
    rights::{DRAIN, LISTS, RIGHTS, ROOTS, Reach, Right},
};

/// Name of the Role and RoleBinding in each namespace where credentials may be delivered as Secrets.
const SECRETS: &str = "daypass-secrets";

/// The operator's account and its rights everywhere and at home, and the right of all workloads to read the roots and the lists.
pub fn objects(values: &Values) -> Vec<Value> {
    let (operator, home) = (&values.operator, values.operator.namespace.as_str());
    let account = json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata_in(home, &operator.service_account),
        // Only the operator's own pod asks for a token.
        "automountServiceAccountToken": false,
    });
    let everybody = json!({"kind": "Group", "name": "system:serviceaccounts", "apiGroup": RBAC});
    let roots = json!({"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [ROOTS, LISTS], "verbs": ["get", "watch"]});
    vec![
        account,
        role(Kind::Cluster, metadata(NAME), rules(RIGHTS, Reach::Everywhere)),
        binding(Kind::Cluster, metadata(NAME), NAME, operator_subject(operator)),
        role(Kind::Namespaced, metadata_in(home, NAME), rules(RIGHTS, Reach::Home)),
        binding(Kind::Namespaced, metadata_in(home, NAME), NAME, operator_subject(operator)),
        role(Kind::Namespaced, metadata_in(home, ROOTS), vec![roots]),
        binding(Kind::Namespaced, metadata_in(home, ROOTS), ROOTS, everybody),
    ]
}

/// The operator's rights on Secrets, in each namespace that is listed and in no other.
pub fn secret_namespaces(values: &Values) -> Vec<Value> {
    let both = |namespace: &String| {
        [
            role(Kind::Namespaced, metadata_in(namespace, SECRETS), rules(RIGHTS, Reach::SecretNamespaces)),
            binding(Kind::Namespaced, metadata_in(namespace, SECRETS), SECRETS, operator_subject(&values.operator)),
        ]
    };
    values.secret_namespaces.iter().flat_map(both).collect()
}

/// The right to lend each listed service account, and no other: a Role of its own in its namespace, because one that covered the name
/// cluster-wide would cover it in every namespace.
pub fn service_accounts(values: &Values) -> Vec<Value> {
    let both = |account: &Account| {
        let lend = || metadata_in(&account.namespace, &format!("daypass-account-{}", account.name));
        let named = RIGHTS.iter().filter(|right| right.reach == Reach::Accounts).map(|right| {
            let mut rule = rule(right);
            rule["resourceNames"] = json!([account.name]);
            rule
        });
        let rules = rules(RIGHTS, Reach::AccountNamespaces).into_iter().chain(named).collect();
        let name = format!("daypass-account-{}", account.name);
        [role(Kind::Namespaced, lend(), rules), binding(Kind::Namespaced, lend(), &name, operator_subject(&values.operator))]
    };
    values.service_accounts.iter().flat_map(both).collect()
}

/// What the operator's account may do besides while it drains, under this name.
pub(super) fn drain(values: &Values, name: &str) -> Vec<Value> {
    let (operator, home) = (&values.operator, values.operator.namespace.as_str());
    vec![
        role(Kind::Cluster, metadata(name), rules(DRAIN, Reach::Everywhere)),
        binding(Kind::Cluster, metadata(name), name, operator_subject(operator)),
        role(Kind::Namespaced, metadata_in(home, name), rules(DRAIN, Reach::Home)),
        binding(Kind::Namespaced, metadata_in(home, name), name, operator_subject(operator)),
    ]
}

pub(super) const RBAC: &str = "rbac.authorization.k8s.io";

#[derive(Clone, Copy)]
enum Kind {
    Cluster,
    Namespaced,
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Cluster => "Cluster",
            Self::Namespaced => "",
        }
    }
}

fn rules(table: &[Right], reach: Reach) -> Vec<Value> {
    table.iter().filter(|right| right.reach == reach).map(rule).collect()
}

fn rule(right: &Right) -> Value {
    let mut rule = json!({"apiGroups": [right.group], "resources": [right.resource], "verbs": right.verbs});
    if !right.names.is_empty() {
        rule["resourceNames"] = json!(right.names);
    }
    rule
}

fn role(kind: Kind, metadata: Value, rules: Vec<Value>) -> Value {
    json!({"apiVersion": format!("{RBAC}/v1"), "kind": format!("{}Role", kind.prefix()), "metadata": metadata, "rules": rules})
}

fn binding(kind: Kind, metadata: Value, role: &str, subject: Value) -> Value {
    json!({
        "apiVersion": format!("{RBAC}/v1"),
        "kind": format!("{}RoleBinding", kind.prefix()),
        "metadata": metadata,
        "roleRef": {"apiGroup": RBAC, "kind": format!("{}Role", kind.prefix()), "name": role},
        "subjects": [subject],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_on_secrets_are_bound_in_the_listed_namespaces_and_by_default_in_none() {
        assert_eq!(secret_namespaces(&Values::default()), Vec::<Value>::new());
        let values = Values { secret_namespaces: vec!["shop".into(), "billing".into()], ..Values::default() };
        let places: Vec<_> = secret_namespaces(&values).iter().map(|o| o["metadata"]["namespace"].clone()).collect();
        assert_eq!(places, ["shop", "shop", "billing", "billing"]);
    }

    #[test]
    fn an_account_is_lent_by_name_in_its_own_namespace_and_nowhere_else() {
        assert_eq!(service_accounts(&Values::default()), Vec::<Value>::new());
        let accounts =
            [("lent", "orders-admin"), ("other", "reader")].map(|(ns, name)| Account { namespace: ns.into(), name: name.into() });
        for (object, account) in
            service_accounts(&Values { service_accounts: accounts.to_vec(), ..Values::default() }).chunks(2).zip(&accounts)
        {
            assert_eq!(object[0]["kind"], "Role");
            assert_eq!(object[0]["metadata"]["namespace"], account.namespace.as_str());
            let tokens: Vec<&Value> =
                object[0]["rules"].as_array().unwrap().iter().filter(|r| r["resources"][0] == "serviceaccounts/token").collect();
            assert_eq!(tokens.len(), 1);
            assert_eq!(tokens[0]["resourceNames"], json!([account.name]));
        }
    }

    #[test]
    fn every_right_of_the_table_is_rendered_once() {
        let account = Account { namespace: "lent".into(), name: "orders-admin".into() };
        let values = Values { secret_namespaces: vec!["shop".into()], service_accounts: vec![account], ..Values::default() };
        let objects = [objects(&values), secret_namespaces(&values), service_accounts(&values)].concat();
        let rules =
            objects.iter().filter(|o| o["metadata"]["name"] != ROOTS).filter_map(|o| o["rules"].as_array()).map(Vec::len).sum::<usize>();
        assert_eq!(rules, RIGHTS.len());
    }
}
