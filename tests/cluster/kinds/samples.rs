//! One object of each kind with every field set, as far as fields do not exclude each other.

use serde_json::{Value, json};

/// A request as a client writes it; the API server adds the requester.
pub fn request(namespace: &str) -> Value {
    json!({
        "apiVersion": "daypass.dev/v1alpha1", "kind": "AccessRequest", "metadata": {"name": "sample", "namespace": namespace},
        "spec": {"className": "orders-db", "ttl": "15m", "purpose": "reconcile late orders", "csr": "a signing request"},
    })
}

/// A status of a request.
pub fn request_status() -> Value {
    json!({
        "state": "Revoking", "workload": "Deployment/orders", "reason": "PodGone", "conditions": conditions(),
        "decision": {
            "outcome": "Allow", "reason": "Permitted", "message": "granted", "retryAfter": "30s", "policy": "ClusterAccessPolicy/orders",
            "id": "0a1b", "time": "2026-11-24T10:00:00Z",
        },
        "credential": {
            "delivery": "CSR", "secretName": "daypass-sample", "certificate": "a chain",
            "sealed": {"version": 1, "suite": "KEM/KDF/AEAD", "enc": "a key", "ciphertext": "a credential"}, "caBundle": "roots", "notBefore": "2026-11-24T10:00:00Z",
            "expiresAt": "2026-11-24T10:15:00Z", "serial": "0a", "tokenID": "JTI=1", "revocation": {"kind": "ExpiryOnly", "boundSeconds": 900},
        },
        "ended": {
            "reason": "PodGone", "time": "2026-11-24T10:05:00Z", "verifiedTime": "2026-11-24T10:15:00Z", "secondsToDead": 600,
            "proof": "NotAfterPassed", "message": "the pod is gone",
        },
    })
}

/// A lease as the operator writes it.
pub fn lease(namespace: &str) -> Value {
    let requester = json!({
        "username": "system:serviceaccount:shop:orders", "uid": "u-1", "podName": "orders-1", "podUID": "p-1", "nodeName": "node-1",
        "nodeUID": "n-1", "credentialID": "JTI=1",
    });
    json!({
        "apiVersion": "daypass.dev/v1alpha1", "kind": "CredentialLease", "metadata": {"name": "sample", "namespace": namespace},
        "spec": {
            "requestNamespace": "shop", "requestName": "orders-1", "requestUID": "r-1", "attempt": 0, "className": "orders-db",
            "delivery": "Secret", "requester": requester, "workload": "Deployment/orders",
            "policy": {"name": "ClusterAccessPolicy/orders", "uid": "c-1", "generation": 1, "hash": "00"}, "decisionID": "0a1b",
            "secret": {"name": "daypass-orders-1", "uid": "s-1"},
            "x509": {
                "ca": "default", "serial": "0a", "uri": "spiffe://shop.example/ns/shop/sa/orders", "commonName": "orders",
                "dnsNames": ["orders.shop.svc"], "notAfter": "2026-11-24T10:15:00Z",
                "crl": {"issuer": "0a1b", "url": "http://daypass.daypass-system/crl/default.crl", "boundSeconds": 60},
            },
            "notBefore": "2026-11-24T10:00:00Z", "expiresAt": "2026-11-24T10:15:00Z",
        },
    })
}

/// A lease for a token.
pub fn token_lease(namespace: &str) -> Value {
    let mut lease = lease(namespace);
    let token = json!({
        "namespace": "lent", "serviceAccount": "reader", "serviceAccountUID": "a-1", "audiences": ["vault"],
        "boundTo": {"name": "daypass-token-1", "uid": "b-1"}, "revocable": true, "notAfter": "2026-11-24T10:16:00Z",
    });
    json_patch::merge(&mut lease, &json!({"metadata": {"name": "token"}, "spec": {"x509": null, "token": token}}));
    lease
}

/// A status of a lease.
pub fn lease_status() -> Value {
    json!({
        "state": "Closed", "reason": "PodGone", "endedTime": "2026-11-24T10:05:00Z", "closedTime": "2026-11-24T10:15:00Z",
        "proof": "NotAfterPassed", "message": "the pod is gone", "lock": {"name": "sample", "uid": "k-1"},
    })
}

/// A lock as a person writes it; the API server adds who that is.
pub fn lock() -> Value {
    json!({
        "apiVersion": "daypass.dev/v1alpha1", "kind": "AccessLock", "metadata": {"name": "sample"},
        "spec": {
            "match": {
                "namespaces": ["shop"], "serviceAccountNames": ["orders"], "podUIDs": ["p-1"], "nodes": ["node-1"],
                "images": ["registry.example/orders"], "classes": ["orders-db"],
            },
            "reason": "node-1 may be compromised", "expiresAt": "2099-01-01T00:00:00Z", "source": "Person",
        },
    })
}

/// A lock of everything there is.
pub fn lock_of_everything() -> Value {
    let mut lock = lock();
    lock["spec"]["match"] = json!({"everything": true});
    lock
}

/// A status of a lock.
pub fn lock_status() -> Value {
    json!({
        "observedGeneration": 1, "state": "Active", "matched": 5, "revoked": 4, "provenDead": 3, "waiting": 2,
        "deadBy": "2026-11-24T10:15:00Z", "conditions": conditions(),
    })
}

/// A class.
pub fn class() -> Value {
    json!({
        "apiVersion": "daypass.dev/v1alpha1", "kind": "CredentialClass", "metadata": {"name": "sample"},
        "spec": {
            "ttl": {"default": "10m", "max": "15m"}, "delivery": ["CSR"],
            "allowedNamespaces": {"names": ["shop"], "selector": {"matchLabels": {"env": "prod"}}}, "delegateTo": {"names": ["shop"], "selector": {"matchLabels": {"env": "prod"}}},
            "x509": {
                "ca": {"managed": {"name": "orders"}}, "trustDomain": "shop.example", "subject": {"commonName": "{serviceAccount}"},
                "dnsNames": ["{serviceAccount}.{namespace}.svc"], "usages": ["ClientAuth"],
                "crl": {"url": "http://daypass.daypass-system/crl/default.crl", "nextUpdate": "60s"},
            },
        },
    })
}

/// A class that lends a service account.
pub fn token_class() -> Value {
    let mut class = class();
    let token = json!({"namespace": "lent", "name": "reader", "audiences": ["vault"], "verifier": "TokenReview"});
    json_patch::merge(&mut class, &json!({"spec": {"x509": null, "delivery": ["Sealed"], "serviceAccountToken": token}}));
    class
}

/// A status of a class.
pub fn class_status() -> Value {
    json!({
        "observedGeneration": 1, "conditions": conditions(), "revocation": {"kind": "ExpiryOnly", "boundSeconds": 900}, "live": 3,
        "warnings": ["SameNameAsClass other"],
    })
}

/// A policy for any namespace.
pub fn cluster_policy() -> Value {
    json!({
        "apiVersion": "daypass.dev/v1alpha1", "kind": "ClusterAccessPolicy", "metadata": {"name": "sample"},
        "spec": {
            "effect": "Permit",
            "subjects": [{"namespaces": ["shop"], "serviceAccountNames": ["orders"], "podSelector": {"matchLabels": {"app": "orders"}}}],
            "classes": ["orders-db"], "when": "true", "require": [{"name": "pinned", "expression": "true", "message": "pin images by digest"}],
            "ttl": {"default": "10m", "max": "20m"}, "limits": {"live": 20, "livePerPod": 2}, "revocation": {"atMostSeconds": 60},
            "expiresAt": "2027-01-31T00:00:00Z",
        },
    })
}

/// A policy of a namespace.
pub fn policy(namespace: &str) -> Value {
    let mut policy = cluster_policy();
    policy["kind"] = json!("AccessPolicy");
    policy["metadata"]["namespace"] = json!(namespace);
    policy["spec"]["subjects"][0].as_object_mut().unwrap().remove("namespaces");
    policy
}

/// A status of a policy of either kind.
pub fn policy_status() -> Value {
    json!({"observedGeneration": 1, "conditions": conditions(), "live": 3, "shadowedBy": ["ClusterAccessPolicy/all"]})
}

fn conditions() -> Value {
    json!([{
        "type": "Ready", "status": "True", "reason": "Issued", "message": "the certificate is in status", "observedGeneration": 1,
        "lastTransitionTime": "2026-11-24T10:00:00Z",
    }])
}
