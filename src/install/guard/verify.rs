//! *verify*, the trust base: a request in etcd says truly which pod's token asked for it, and only that pod's token can touch it again.
//!
//! The operator issues nothing unless this policy and its binding are in force without a gap. Every rule here is one that the canary or the
//! spoof matrix exercises; only one rule may break for the canary's request, so that its refusal names this policy.

use serde_json::json;

use super::{
    VERIFY,
    cel::{cel, pod_of_the_token},
    policy::{Match, Policy, must, named, resources},
};
use crate::{api::GROUP, install::OperatorName};

const DESCRIPTION: &str =
    "Daypass trusts this: an AccessRequest says truly which pod asked, and only that pod can touch it again. Nothing is issued without it.";

pub(super) fn policy(operator: &OperatorName) -> Policy {
    let cel = |text: &str| cel(text, operator);
    let concerns = Match { rules: vec![resources(GROUP, &["accessrequests"], &["CREATE", "UPDATE", "DELETE"])], conditions: vec![] };
    let mut variables = vec![named("create", "request.operation == 'CREATE'")];
    variables.extend(pod_of_the_token());
    variables.extend([
        named("local", "request.userInfo.username.startsWith('system:serviceaccount:' + request.namespace + ':')"),
        // They must act on every request, in their own namespaces too.
        named(
            "trusted",
            cel("
                request.userInfo.username in [
                  $CONTROL_PLANE,
                  $OPERATOR]
            "),
        ),
    ]);
    let validations = [
        must(
            "!variables.create || (variables.local && request.userInfo.?uid.orValue('') != '')",
            "only a service account of this namespace may ask: create the AccessRequest in the pod's namespace, with the pod's own token",
        ),
        must(
            "!variables.create || (variables.podName != '' && variables.podUID != '')",
            "only a token bound to a pod may ask: use the one that is projected into the pod, not kubectl create token or a token Secret",
        ),
        must(
            cel("
                !variables.create || (
                  object.spec.requester.username == request.userInfo.username &&
                  object.spec.requester.uid == request.userInfo.uid &&
                  object.spec.requester.podName == variables.podName &&
                  object.spec.requester.podUID == variables.podUID &&
                  object.spec.requester.nodeName == variables.nodeName &&
                  object.spec.requester.nodeUID == variables.nodeUID &&
                  object.spec.requester.credentialID == variables.credentialID)
            "),
            "spec.requester is not who asked: leave it out, or fill it from the claims of the token that is used",
        ),
        must("request.operation != 'UPDATE' || object.spec == oldObject.spec", "spec is immutable: make a new AccessRequest"),
        must(
            // What is there may stay and go, so that the garbage collector's removals pass; nothing may be added.
            cel("
                request.operation == 'DELETE' ||
                object.metadata.?finalizers.orValue([]).all(f,
                  !variables.create && f in oldObject.metadata.?finalizers.orValue([]))
            "),
            "a request carries no finalizers: remove them from metadata.finalizers",
        ),
        must(
            cel("
                request.operation == 'DELETE' ||
                object.metadata.?ownerReferences.orValue([]).all(o,
                  (o.apiVersion == 'v1' && o.kind == 'Pod' &&
                   o.name == object.spec.requester.podName && o.uid == object.spec.requester.podUID) ||
                  (!variables.create && oldObject.metadata.?ownerReferences.orValue([]).exists(p, p.uid == o.uid)))
            "),
            "a request is owned by nothing but the pod that asked: remove the others from metadata.ownerReferences",
        ),
        must(
            // People come by RBAC; only accounts of the namespace, which RBAC cannot tell from the pod's own, are told apart here.
            cel("
                variables.create || variables.trusted || !variables.local ||
                (variables.podUID != '' && oldObject.spec.requester.podUID == variables.podUID)
            "),
            "a service account may change or delete only what its own pod asked for",
        ),
    ];
    let audit = json!([{
        "key": "requester",
        "valueExpression": "variables.create ? request.userInfo.username + ' pod=' + variables.podName + '/' + variables.podUID : ''",
    }]);
    Policy::validating(
        VERIFY,
        DESCRIPTION,
        concerns,
        json!({"variables": variables, "validations": validations, "auditAnnotations": audit}),
    )
}
