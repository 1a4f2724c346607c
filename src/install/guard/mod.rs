//! The admission guard: the policies by which the API server itself vouches for requesters and confines the operator.
//!
//! | policy | does |
//! |---|---|
//! | `verify` | a request says truly which pod's token asked; nobody changes or deletes a neighbour's |
//! | `ledger` | status and leases are the operator's; a person may end a lease; an open one cannot be forgotten; a lock says who placed it |
//! | `confine` | what the operator's account may write, whatever RBAC would let it |
//! | `reserve` | Secrets with our labels are the operator's alone |
//! | `leave` | the operator's namespace and our CRDs are deleted only after a drain |
//! | `stamp`, `stamp-revoke`, `stamp-lock` | write who asked, who ended and who locked; a convenience, verify and ledger have the last word |
//!
//! Parametrised by the operator's account alone. No parameters, no selectors, `failurePolicy: Fail`, and every refusal is a 403. Each policy
//! has one file; `known` says when two specs mean the same. Used by the parts of an installation and by `cluster::guard`.

mod cel;
mod confine;
mod known;
mod leave;
mod ledger;
mod policy;
mod reserve;
mod stamp;
mod verify;

use serde_json::Value;

pub use known::known_fields;

use super::OperatorName;
use policy::Policy;

/// Name of the policy that is the trust base, and of its binding.
pub const VERIFY: &str = "verify.daypass.dev";

/// Names of the mutating policies, which API servers before Kubernetes 1.36 do not serve. Everything is safe without them: clients then
/// have to fill `spec.requester`, `spec.revoke.by` and a lock's `spec.by` themselves.
pub const STAMPS: [&str; 3] = [stamp::STAMP, stamp::STAMP_REVOKE, stamp::STAMP_LOCK];

/// All policies, then their bindings, in the order in which they are applied.
///
/// A binding whose policy is missing is silently open, so a policy that an API server refuses must be noticed before its binding exists.
pub fn objects(operator: &OperatorName) -> Vec<Value> {
    let policies = policies(operator);
    policies.iter().map(Policy::object).chain(policies.iter().map(Policy::binding)).collect()
}

/// The specs of the verify policy and of its binding, in the form of [`known_fields`].
pub fn shipped(operator: &OperatorName) -> (Value, Value) {
    let verify = verify::policy(operator);
    let spec = |object: Value| known_fields(&object["spec"]);
    (spec(verify.object()), spec(verify.binding()))
}

fn policies(operator: &OperatorName) -> [Policy; 8] {
    [
        verify::policy(operator),
        ledger::policy(operator),
        confine::policy(operator),
        reserve::policy(operator),
        leave::policy(operator),
        // Last: those that an older API server does not know.
        stamp::stamp(operator),
        stamp::stamp_revoke(operator),
        stamp::stamp_lock(operator),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_kind(suffix: &str) -> Vec<Value> {
        let kind = |object: &Value| object["kind"].as_str().unwrap().to_owned();
        objects(&OperatorName::default()).into_iter().filter(|object| kind(object).ends_with(suffix)).collect()
    }

    #[test]
    fn each_policy_is_bound_by_a_binding_of_its_own_name_that_denies() {
        let (policies, bindings) = (of_kind("AdmissionPolicy"), of_kind("AdmissionPolicyBinding"));
        assert_eq!(policies.len(), bindings.len());
        for (policy, binding) in policies.iter().zip(&bindings) {
            assert_eq!(binding["kind"], format!("{}Binding", policy["kind"].as_str().unwrap()));
            assert_eq!(binding["metadata"]["name"], policy["metadata"]["name"]);
            assert_eq!(binding["spec"]["policyName"], policy["metadata"]["name"]);
            if policy["kind"] == "ValidatingAdmissionPolicy" {
                assert_eq!(binding["spec"]["validationActions"], serde_json::json!(["Deny"]));
            }
        }
    }

    #[test]
    fn no_policy_can_be_switched_off_by_a_parameter_a_selector_or_a_failure() {
        for policy in of_kind("AdmissionPolicy") {
            let spec = &policy["spec"];
            assert_eq!(spec["failurePolicy"], "Fail");
            assert_eq!(spec["matchConstraints"]["matchPolicy"], "Equivalent");
            for absent in [
                "/paramKind",
                "/matchConstraints/namespaceSelector",
                "/matchConstraints/objectSelector",
                "/matchConstraints/excludeResourceRules",
            ] {
                assert_eq!(spec.pointer(absent), None, "{absent} of {}", policy["metadata"]["name"]);
            }
        }
        for binding in of_kind("AdmissionPolicyBinding") {
            assert!(binding["spec"].get("matchResources").is_none() && binding["spec"].get("paramRef").is_none(), "{binding}");
        }
    }

    #[test]
    fn every_refusal_is_a_403_with_a_message() {
        for policy in of_kind("AdmissionPolicy").iter().filter(|policy| policy["kind"] == "ValidatingAdmissionPolicy") {
            for validation in policy["spec"]["validations"].as_array().unwrap() {
                assert_eq!(validation["reason"], "Forbidden", "{validation}");
                assert!(validation["message"].is_string() || validation["messageExpression"].is_string(), "{validation}");
            }
        }
    }

    #[test]
    fn what_is_shipped_of_verify_is_what_is_applied() {
        let operator = OperatorName::default();
        let live = |kind: &str| objects(&operator).into_iter().find(|o| o["kind"] == kind && o["metadata"]["name"] == VERIFY).unwrap();
        let (policy, binding) = shipped(&operator);
        assert_eq!(known_fields(&live("ValidatingAdmissionPolicy")["spec"]), policy);
        assert_eq!(known_fields(&live("ValidatingAdmissionPolicyBinding")["spec"]), binding);
    }
}
