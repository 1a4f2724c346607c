//! CEL text: how it is written here, and the expressions that several policies share.
//!
//! Traps, each of them measured on a real API server:
//! - `request.subResource` is absent on main resources: `request.?subResource.orValue('')`.
//! - `request.name` is empty for `generateName` and in a deletecollection: read `object` or `oldObject`.
//! - On DELETE `object` is null, on CREATE `oldObject` is: `[object, oldObject].filter(o, o != null)` judges both.
//! - `matchConditions` cannot use `variables`.
//! - An audit annotation must always have the same type: `condition ? text : ''`, never `null`.

use serde_json::Value;

use super::policy::named;
use crate::{
    api::{ANNOTATION_DRAINED, LABEL_CA, LABEL_REQUEST_UID},
    install::{OperatorName, rights::DEPLOYMENT},
};

/// Service accounts of the control plane that have to act on every namespaced object there is.
const CONTROL_PLANE: [&str; 3] = [
    "system:serviceaccount:kube-system:generic-garbage-collector",
    "system:serviceaccount:kube-system:namespace-controller",
    // All controllers share this one where kube-controller-manager runs without --use-service-account-credentials.
    "system:kube-controller-manager",
];

/// An expression without the indentation of its source, with `$OPERATOR`, `$NAMESPACE`, `$CONTROL_PLANE`, `$DEPLOYMENT`, `$REQUEST_UID`, `$CA`
/// and `$DRAINED` filled in as CEL strings (`$CONTROL_PLANE`: as the items of a list). `$` means nothing in CEL, so one that is left over shows.
pub(super) fn cel(text: &str, operator: &OperatorName) -> String {
    let control_plane = CONTROL_PLANE.map(quoted).join(",\n  ");
    dedent(text)
        .replace("$OPERATOR", &quoted(&operator.username()))
        .replace("$NAMESPACE", &quoted(&operator.namespace))
        .replace("$CONTROL_PLANE", &control_plane)
        .replace("$DEPLOYMENT", &quoted(DEPLOYMENT))
        .replace("$REQUEST_UID", &quoted(LABEL_REQUEST_UID))
        .replace("$CA", &quoted(LABEL_CA))
        .replace("$DRAINED", &quoted(ANNOTATION_DRAINED))
}

/// Variables with the pod behind the token that is used, empty where the token is bound to none.
pub(super) fn pod_of_the_token() -> Vec<Value> {
    let claims = [
        ("podName", "pod-name"),
        ("podUID", "pod-uid"),
        ("nodeName", "node-name"),
        ("nodeUID", "node-uid"),
        ("credentialID", "credential-id"),
    ];
    let read = |key: &str| format!("request.userInfo.?extra[?'authentication.kubernetes.io/{key}'][?0].orValue('')");
    claims.into_iter().map(|(name, key)| named(name, read(key))).collect()
}

fn quoted(text: &str) -> String {
    format!("'{text}'")
}

fn dedent(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().skip_while(|line| line.trim().is_empty()).collect();
    let indent = |line: &&str| line.len() - line.trim_start().len();
    let margin = lines.iter().filter(|line| !line.trim().is_empty()).map(indent).min().unwrap_or_default();
    lines.iter().map(|line| line.get(margin..).unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_indentation_does_not_reach_the_cluster() {
        let text = cel(
            "
            a ||
              b == $NAMESPACE
            ",
            &OperatorName::default(),
        );
        assert_eq!(text, "a ||\n  b == 'daypass-system'");
    }

    #[test]
    fn a_word_that_is_no_placeholder_is_left_to_be_noticed() {
        assert!(cel("$OPERATR", &OperatorName::default()).contains('$'));
    }
}
