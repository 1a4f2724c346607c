//! One request as `daypass get` knows it: what became of it, in one flat value that is small enough to keep many. Pure.
//!
//! Its JSON form is what scripts read: fields only ever get added.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use serde::Serialize;

use crate::{
    api::{AccessRequest, Delivery, RequestState, request::RevocationKind},
    core::decide::BACKDATE,
};

/// A request, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The class that was asked for.
    pub class_name: String,
    /// Root owner of the pod, once it was looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// The pod.
    pub pod: String,
    /// Who asked.
    pub requester: String,
    /// Where it stands.
    pub state: RequestState,
    /// Why, one word; absent while it is not answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The policy that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_time: Option<Timestamp>,
    /// When it was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_time: Option<Timestamp>,
    /// From when on asking again makes sense, for denials that time may cure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_time: Option<Timestamp>,
    /// How the credential reaches the pod.
    pub delivery: Delivery,
    /// Serial number of the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// What is left of the credential.
    #[serde(flatten)]
    pub life: Life,
}

/// What is left of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "credential", rename_all_fields = "camelCase")]
pub enum Life {
    /// There never was one.
    None,
    /// It is good.
    Live {
        /// Until then.
        expires_at: Timestamp,
    },
    /// Its grant has ended, and verifiers still accept it.
    Dying {
        /// Since when.
        ended_time: Option<Timestamp>,
        /// Until then.
        dead_at: Timestamp,
    },
    /// It is proven that it is refused.
    Dead {
        /// When its grant ended.
        ended_time: Timestamp,
        /// Since when it is known to be refused.
        dead_at: Timestamp,
        /// Whole seconds between the two, rounded up.
        seconds_to_dead: i64,
    },
}

impl Row {
    /// What a request says.
    pub fn of(request: &AccessRequest) -> Self {
        let (spec, status) = (&request.spec, request.status.clone().unwrap_or_default());
        let told = status.conditions.iter().find(|condition| condition.type_ == "Decided").map(|condition| condition.message.clone());
        let message = match (&status.ended, &status.decision) {
            (Some(ended), _) => Some(ended.message.clone()),
            (None, Some(decision)) => Some(decision.message.clone()),
            (None, None) => told,
        };
        let decision = status.decision.as_ref();
        let retry_after = decision.and_then(|decision| decision.retry_after.as_ref()?.parse().ok());
        Self {
            namespace: request.namespace().unwrap_or_default(),
            name: request.name_any(),
            class_name: spec.class_name.clone(),
            pod: spec.requester.pod_name.clone(),
            requester: spec.requester.username.clone(),
            state: status.state,
            message,
            policy: decision.and_then(|decision| decision.policy.clone()),
            requested_time: request.creation_timestamp().map(|time| time.0),
            decided_time: decision.map(|decision| decision.time),
            retry_time: decision.zip(retry_after).and_then(|(decision, after)| decision.time.checked_add(after).ok()),
            delivery: request.delivery(),
            serial: status.credential.as_ref().and_then(|credential| credential.serial.clone()),
            life: life(request),
            workload: status.workload,
            reason: status.reason,
        }
    }
}

/// What is left of the credential of a request.
fn life(request: &AccessRequest) -> Life {
    let Some(status) = &request.status else { return Life::None };
    let Some(credential) = &status.credential else { return Life::None };
    let ended = status.ended.as_ref();
    match status.state {
        RequestState::Active => Life::Live { expires_at: credential.expires_at },
        RequestState::Revoking => {
            Life::Dying { ended_time: ended.map(|ended| ended.time), dead_at: not_after(request).unwrap_or(credential.expires_at) }
        }
        _ => match ended.and_then(|ended| Some((ended, ended.verified_time?))) {
            Some((ended, dead_at)) => {
                Life::Dead { ended_time: ended.time, dead_at, seconds_to_dead: ended.seconds_to_dead.unwrap_or_default() }
            }
            None => Life::None,
        },
    }
}

/// The end of the certificate itself, where the status tells it. A grant that was shortened ends before it, and the status then tells the end
/// of the grant alone.
pub fn not_after(request: &AccessRequest) -> Option<Timestamp> {
    let credential = request.status.as_ref()?.credential.as_ref()?;
    let life = match credential.revocation.kind {
        // Of one that could not be taken back the bound is its life.
        RevocationKind::ExpiryOnly => SignedDuration::from_secs(credential.revocation.bound_seconds),
        RevocationKind::Bounded => return None,
    };
    Some(credential.not_before.checked_add(BACKDATE).ok()?.checked_add(life).ok()?.max(credential.expires_at))
}

/// The newest of many: what does not fit is only counted.
#[derive(Debug)]
pub struct Newest {
    most: usize,
    rows: Vec<Row>,
    older: usize,
}

impl Newest {
    /// Keeps this many.
    pub fn of(most: usize) -> Self {
        Self { most, rows: Vec::new(), older: 0 }
    }

    /// Takes a page of them.
    pub fn take(&mut self, page: impl IntoIterator<Item = Row>) {
        self.rows.extend(page);
        self.rows.sort_by(|a, b| (a.requested_time, &a.namespace, &a.name).cmp(&(b.requested_time, &b.namespace, &b.name)));
        let surplus = self.rows.len().saturating_sub(self.most);
        self.rows.drain(..surplus);
        self.older += surplus;
    }

    /// What was kept, the newest last, and how many older ones were not.
    pub fn finish(self) -> (Vec<Row>, usize) {
        (self.rows, self.older)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::*, *};

    #[test]
    fn what_is_left_of_a_credential_follows_the_state() {
        let (expires_at, ended) = (at("12:10:00"), at("12:04:00"));
        assert_eq!(Row::of(&pending()).life, Life::None);
        assert_eq!(Row::of(&denied()).life, Life::None);
        assert_eq!(Row::of(&active()).life, Life::Live { expires_at });
        assert_eq!(Row::of(&revoking()).life, Life::Dying { ended_time: Some(ended), dead_at: expires_at });
        let dead = Life::Dead { ended_time: ended, dead_at: at("12:10:01"), seconds_to_dead: 361 };
        assert_eq!(Row::of(&gone()).life, dead);
    }

    #[test]
    fn a_grant_that_was_shortened_ends_before_its_certificate_is_dead() {
        let mut request = revoking();
        request.status.as_mut().unwrap().credential.as_mut().unwrap().expires_at = at("12:04:00");
        assert_eq!(Row::of(&request).life, Life::Dying { ended_time: Some(at("12:04:00")), dead_at: at("12:10:00") });
    }

    #[test]
    fn a_denial_says_from_when_on_to_ask_again() {
        let mut request = denied();
        assert_eq!(Row::of(&request).retry_time, None);
        request.status.as_mut().unwrap().decision.as_mut().unwrap().retry_after = Some(crate::api::Ttl("30s".into()));
        assert_eq!(Row::of(&request).retry_time, Some(at("12:00:31")));
    }

    #[test]
    fn scripts_read_one_flat_object_with_absolute_times() {
        let row = serde_json::to_value(Row::of(&revoking())).unwrap();
        assert_eq!(
            row,
            serde_json::json!({
                "namespace": "shop", "name": "orders-db-1", "className": "orders-db", "workload": "Deployment/orders", "pod": "orders-1",
                "requester": "system:serviceaccount:shop:orders", "state": "Revoking", "reason": "PodGone",
                "message": "pod orders-1 is gone; the certificate cannot be taken back", "policy": "ClusterAccessPolicy/orders",
                "requestedTime": "2026-03-01T12:00:00Z", "decidedTime": "2026-03-01T12:00:01Z", "delivery": "CSR", "serial": "0a1b",
                "credential": "Dying", "endedTime": "2026-03-01T12:04:00Z", "deadAt": "2026-03-01T12:10:00Z",
            })
        );
    }

    #[test]
    fn of_many_the_newest_are_kept_and_come_last() {
        let row = |name: &str, time: &str| Row { name: name.into(), requested_time: Some(at(time)), ..Row::of(&denied()) };
        let mut newest = Newest::of(3);
        newest.take([row("c", "12:00:03"), row("a", "12:00:01")]);
        newest.take([row("e", "12:00:05"), row("d", "12:00:04"), row("b", "12:00:02")]);
        let (rows, older) = newest.finish();
        assert_eq!((rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), older), (vec!["c", "d", "e"], 2));
    }
}
