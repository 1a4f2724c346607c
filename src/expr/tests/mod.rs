//! What the fence promises, told by example. Helpers first: a small world, and expressions about it.

mod accepted;
mod bounds;
mod handle;
mod random;
mod refused;

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::{error::ExprError, inputs::Inputs, limits, program::Program};
use crate::core::snapshot::Tri;

/// Runs on a stack like those of the pool: a smaller one would end the test process instead of failing a test.
pub(super) fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(limits::STACK_BYTES).spawn_scoped(scope, work).unwrap();
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

pub(super) fn compile(source: &str) -> Result<Program, ExprError> {
    on_large_stack(|| Program::compile(source))
}

pub(super) fn accepted(source: &str) -> Program {
    compile(source).unwrap_or_else(|error| panic!("`{source}` must be accepted: {error}"))
}

/// The message with its position.
pub(super) fn refusal(source: &str) -> String {
    match compile(source) {
        Ok(_) => panic!("`{source}` must be refused"),
        Err(error) => error.to_string(),
    }
}

pub(super) fn verdict_on(source: &str, inputs: &Inputs) -> Tri {
    let program = accepted(source);
    on_large_stack(|| program.evaluate(inputs))
}

/// The verdict about [`world`].
pub(super) fn verdict(source: &str) -> Tri {
    verdict_on(source, &world())
}

pub(super) fn error_of(verdict: Tri) -> String {
    match verdict {
        Tri::Error(message) => message,
        other => panic!("expected an error, got {other:?}"),
    }
}

pub(super) fn orders_pod() -> Json {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "orders-7c9-x2k", "namespace": "shop", "uid": "0c7e", "labels": {"app": "orders", "tier": "web"},
            "creationTimestamp": "2026-11-24T08:00:00Z", "managedFields": [{"manager": "kubectl"}],
        },
        "spec": {
            "serviceAccountName": "orders", "nodeName": "core-1",
            "containers": [
                {"name": "main", "image": "registry.example/orders@sha256:abc", "securityContext": {"privileged": false},
                 "ports": [{"containerPort": 8080, "protocol": "TCP"}], "resources": {"limits": {"cpu": "500m"}}},
                {"name": "proxy", "image": "registry.example/proxy@sha256:def"},
            ],
            "tolerations": [],
        },
        "status": {"phase": "Running"},
    })
}

pub(super) fn with_pod(pod: Json) -> Inputs {
    Inputs::new(
        json!({
            "metadata": {"namespace": "shop", "name": "orders-db-x7f"},
            "spec": {"className": "orders-db", "ttl": "15m", "requester": {"podName": "orders-7c9-x2k"}},
            "status": {"state": "Active"},
        }),
        pod,
        json!({"metadata": {"name": "core-1", "labels": {"pool": "core"}}, "spec": {"taints": [{"key": "dedicated", "effect": "NoSchedule"}]}}),
        json!({"metadata": {"name": "shop", "labels": {"env": "prod"}}}),
        json!({"metadata": {"name": "orders", "namespace": "shop"}}),
        json!({"kind": "Deployment", "name": "orders"}),
        "2026-11-24T12:00:00Z".parse::<Timestamp>().unwrap(),
    )
}

pub(super) fn world() -> Inputs {
    with_pod(orders_pod())
}
