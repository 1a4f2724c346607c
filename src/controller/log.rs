//! The decision log: one line a decision, target `decision`. It outlives the objects.

use crate::core::{Decision, explain::Record, snapshot::Snapshot, status::Stamp};

/// Writes the line.
pub fn decision(stamp: &Stamp, snapshot: &Snapshot, decision: &Decision) {
    let record = Record::of(decision, &snapshot.request);
    let considered = serde_json::to_string(&record.considered).unwrap_or_default();
    tracing::info!(
        target: "decision",
        id = stamp.id,
        outcome = record.outcome,
        reason = record.reason,
        message = record.message,
        policy = record.policy,
        lock = record.lock,
        policy_generation = record.policy_generation,
        policy_hash = record.policy_hash,
        ttl_seconds = record.ttl_seconds,
        asked_seconds = record.asked_seconds,
        cut_by = record.cut_by,
        namespace = record.namespace,
        request = record.name,
        request_uid = record.request_uid,
        class = record.class,
        requester = record.requester,
        pod = record.pod,
        pod_uid = record.pod_uid,
        purpose = record.purpose,
        considered,
    );
}
