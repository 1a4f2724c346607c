//! The examples of `deploy/samples`, written by hand because their comments are the point. Applied by nobody but people; tests and the
//! demo read them here.

/// A CredentialClass.
pub const CLASS: &str = include_str!("../../deploy/samples/class.yaml");
/// A Permit, a Forbid and a namespace's own policy.
pub const POLICY: &str = include_str!("../../deploy/samples/policy.yaml");
/// An AccessRequest with a CSR.
pub const REQUEST: &str = include_str!("../../deploy/samples/request.yaml");
/// The right to ask for a namespace's service account, and a quota.
pub const ACCESS: &str = include_str!("../../deploy/samples/access.yaml");

#[cfg(test)]
mod tests {
    use serde::{Serialize, de::DeserializeOwned};
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        api::{AccessPolicy, AccessRequest, ClusterAccessPolicy, CredentialClass, Requester},
        install::people,
    };

    fn documents(text: &str) -> Vec<Value> {
        serde_saphyr::from_multiple(text).unwrap()
    }

    /// Reads `sample` as a `K` and fails if a field of it is unknown, because then it would be dropped.
    fn known<K: DeserializeOwned + Serialize>(sample: &Value) {
        let read: K = serde_json::from_value(sample.clone()).unwrap();
        let back = serde_json::to_value(&read).unwrap();
        contains(&back, sample, "");
    }

    fn contains(whole: &Value, part: &Value, at: &str) {
        match part {
            Value::Object(fields) => fields.iter().for_each(|(key, value)| contains(&whole[key], value, &format!("{at}/{key}"))),
            Value::Array(items) => items.iter().enumerate().for_each(|(i, item)| contains(&whole[i], item, &format!("{at}/{i}"))),
            _ => assert_eq!(whole, part, "{at}"),
        }
    }

    #[test]
    fn samples_have_no_field_that_the_kinds_do_not_have() {
        documents(CLASS).iter().for_each(known::<CredentialClass>);
        for policy in documents(POLICY) {
            if policy["kind"] == "AccessPolicy" { known::<AccessPolicy>(&policy) } else { known::<ClusterAccessPolicy>(&policy) }
        }
        for mut request in documents(REQUEST) {
            let stamped = Requester {
                username: String::new(),
                uid: String::new(),
                pod_name: String::new(),
                pod_uid: String::new(),
                node_name: String::new(),
                node_uid: String::new(),
                credential_id: String::new(),
            };
            request["spec"]["requester"] = json!(stamped);
            known::<AccessRequest>(&request);
        }
    }

    #[test]
    fn samples_fit_together() {
        let (class, request) = (documents(CLASS)[0].clone(), documents(REQUEST)[0].clone());
        assert_eq!(request["spec"]["className"], class["metadata"]["name"]);
        for policy in documents(POLICY).iter().filter(|policy| policy["spec"]["effect"] != "Forbid") {
            assert_eq!(policy["spec"]["classes"], json!([class["metadata"]["name"]]));
        }
        let role = documents(ACCESS)[0]["roleRef"]["name"].clone();
        assert!(people::objects().iter().any(|object| object["metadata"]["name"] == role), "{role}");
    }
}
