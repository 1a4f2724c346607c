//! One request, told so that a person knows what became of it and what to do. Pure.

use jiff::Timestamp;

use super::{
    relative::{relative, span},
    row::{Life, Row, not_after},
};
use crate::{
    api::{AccessRequest, Condition, Delivery, RequestState, condition::ConditionStatus},
    core::explain::plain,
};

/// An operator that runs answers within a second; past this somebody should look.
const ANSWERED_WITHIN: jiff::SignedDuration = jiff::SignedDuration::from_secs(10);

/// What became of a request, why, what to do, who asked, and when what happened. `program` is how this one is called, for commands to copy.
pub fn detail(request: &AccessRequest, now: Timestamp, program: &str) -> String {
    let row = Row::of(request);
    let reason = row.reason.as_deref().map(|reason| format!(", {}", plain(reason))).unwrap_or_default();
    let mut text = format!("AccessRequest {}/{}: {}{reason}\n", row.namespace, row.name, row.state.as_str());
    if let Some(message) = &row.message {
        text.push_str(&format!("  {}\n", plain(message)));
    }
    text.push('\n');
    let mut line = |label: &str, value: String| {
        let label = if label.is_empty() { String::new() } else { format!("{label}:") };
        text.push_str(&format!("{label:13}{}\n", plain(&value)));
    };
    for (at, step) in steps(&row, now, program).into_iter().enumerate() {
        line(if at == 0 { "What to do" } else { "" }, step);
    }
    line("Class", row.class_name.clone());
    line("Asked by", asker(request, &row));
    line("Asked", asked(request, &row, now));
    if let Some(decided) = decided(request, now) {
        line("Decided", decided);
    }
    if let Some(credential) = credential(request, &row, now) {
        line("Credential", credential);
    }
    for (label, told) in ends(&row, now) {
        line(label, told);
    }
    let conditions = request.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    for (at, condition) in conditions.iter().enumerate() {
        line(if at == 0 { "Conditions" } else { "" }, told(condition, &row, now));
    }
    text
}

/// The next steps, the most useful first.
fn steps(row: &Row, now: Timestamp, program: &str) -> Vec<String> {
    let (name, namespace) = (&row.name, &row.namespace);
    let explain = format!("why, policy by policy: {program} explain {name} -n {namespace}");
    match row.state {
        RequestState::Pending => match row.requested_time.map(|time| now.duration_since(time)) {
            Some(waited) if waited > ANSWERED_WITHIN => {
                vec![format!("see whether Daypass runs: it has not answered for {}", span(waited)), explain]
            }
            _ => vec!["nothing yet: it is being decided".into()],
        },
        RequestState::Denied => {
            let again = match row.retry_time {
                Some(time) if time > now => format!("ask again in {}, or sooner if the cause is gone", span(time.duration_since(now))),
                Some(_) => "ask again: the time that may cure it has passed".into(),
                None => "do what the message says, then make a new request: this one stays denied".into(),
            };
            vec![again, explain]
        }
        RequestState::Active => vec![format!("nothing; to give it back before its time: kubectl delete dpreq {name} -n {namespace}")],
        RequestState::Revoking => vec![match &row.serial {
            Some(serial) => format!("wait; whoever cannot wait makes the verifiers refuse serial {serial} themselves"),
            None => "wait; it is taken back, and asked for until it is refused".into(),
        }],
        RequestState::Ended => vec!["nothing; for another credential make a new request".into()],
        RequestState::Failed => vec!["make a new request; if it fails again, look at Daypass's log".into()],
    }
}

fn asker(request: &AccessRequest, row: &Row) -> String {
    let node =
        Some(&request.spec.requester.node_name).filter(|node| !node.is_empty()).map(|node| format!(" on {node}")).unwrap_or_default();
    let workload = row.workload.as_ref().map(|workload| format!(" of {workload}")).unwrap_or_default();
    format!("{}, pod {}{workload}{node}", row.requester, row.pod)
}

fn asked(request: &AccessRequest, row: &Row, now: Timestamp) -> String {
    let time = row.requested_time.map_or_else(|| "at an unknown time".into(), |time| dated(time, now));
    let ttl = request.spec.ttl.as_ref().map(|ttl| format!(", for {ttl}")).unwrap_or_default();
    let purpose = request.spec.purpose.as_ref().map(|purpose| format!(", purpose: {purpose}")).unwrap_or_default();
    format!("{time}{ttl}{purpose}")
}

fn decided(request: &AccessRequest, now: Timestamp) -> Option<String> {
    let decision = request.status.as_ref()?.decision.as_ref()?;
    let policy = decision.policy.as_ref().map(|policy| format!(" by {policy}")).unwrap_or_default();
    Some(format!("{}, {:?}{policy}, {} (decision {})", dated(decision.time, now), decision.outcome, decision.reason, decision.id))
}

fn credential(request: &AccessRequest, row: &Row, now: Timestamp) -> Option<String> {
    let credential = request.status.as_ref()?.credential.as_ref()?;
    let what = if credential.serial.is_some() { "certificate" } else { "token" };
    let place = match (credential.delivery, &credential.secret_name) {
        (Delivery::Secret, Some(secret)) => format!("{what} in Secret {secret}"),
        (Delivery::Sealed, _) => format!("{what} sealed in status"),
        _ => format!("{what} in status"),
    };
    let id = match (&credential.serial, &credential.token_id) {
        (Some(serial), _) => format!(", serial {serial}"),
        (None, Some(id)) => format!(", {id}"),
        (None, None) => String::new(),
    };
    let mut text = format!("{place}{id}");
    if let Life::Live { expires_at } = row.life {
        text.push_str(&format!(", ends {}", dated(expires_at, now)));
        if let Some(accepted) = not_after(request).filter(|accepted| *accepted > expires_at) {
            text.push_str(&format!("; shortened: verifiers accept it until {accepted:.0}"));
        }
    }
    Some(text)
}

fn ends(row: &Row, now: Timestamp) -> Vec<(&'static str, String)> {
    match row.life {
        Life::None | Life::Live { .. } => vec![],
        Life::Dying { ended_time, dead_at } => {
            let ended = ended_time.map(|time| ("Ended", dated(time, now)));
            let dead = if dead_at > now {
                format!("{}: verifiers accept it until then", dated(dead_at, now))
            } else {
                format!("since {}, proof under way", dated(dead_at, now))
            };
            ended.into_iter().chain([("Dead", dead)]).collect()
        }
        Life::Dead { ended_time, dead_at, seconds_to_dead } => {
            vec![("Ended", dated(ended_time, now)), ("Dead", format!("{}, {seconds_to_dead} s after the end", dated(dead_at, now)))]
        }
    }
}

/// A condition; its message only where it says what has not been said.
fn told(condition: &Condition, row: &Row, now: Timestamp) -> String {
    let status = match condition.status {
        ConditionStatus::True => "True",
        ConditionStatus::False => "False",
        ConditionStatus::Unknown => "Unknown",
    };
    let message = Some(&condition.message).filter(|message| Some(*message) != row.message.as_ref()).map(|message| format!(": {message}"));
    let since = relative(condition.last_transition_time, now);
    format!("{} {status}, {}, {since}{}", condition.type_, condition.reason, message.unwrap_or_default())
}

/// `3s ago (2026-03-01T12:00:00Z)`.
fn dated(time: Timestamp, now: Timestamp) -> String {
    format!("{} ({time:.0})", relative(time, now))
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::*, *};

    fn told(request: &AccessRequest, time: &str) -> String {
        detail(request, at(time), "kubectl daypass")
    }

    #[test]
    fn a_denial_says_why_and_what_to_do() {
        assert_eq!(
            told(&denied(), "12:00:13"),
            "\
AccessRequest shop/orders-db-1: Denied, NotPermitted
  no policy permits class orders-db for service account orders of namespace shop: ask the platform team for a ClusterAccessPolicy

What to do:  do what the message says, then make a new request: this one stays denied
             why, policy by policy: kubectl daypass explain orders-db-1 -n shop
Class:       orders-db
Asked by:    system:serviceaccount:shop:orders, pod orders-1 of Deployment/orders on node-1
Asked:       13s ago (2026-03-01T12:00:00Z), for 10m, purpose: nightly report
Decided:     12s ago (2026-03-01T12:00:01Z), Deny, NotPermitted (decision d1)
Conditions:  Decided True, NotPermitted, 12s ago
             Ready False, NotPermitted, 12s ago
"
        );
    }

    #[test]
    fn a_live_credential_says_how_long_it_still_lives_and_how_to_give_it_back() {
        let text = told(&active(), "12:05:48");
        for line in [
            "AccessRequest shop/orders-db-1: Active, Permitted",
            "What to do:  nothing; to give it back before its time: kubectl delete dpreq orders-db-1 -n shop",
            "Decided:     5m47s ago (2026-03-01T12:00:01Z), Allow by ClusterAccessPolicy/orders, Permitted (decision d1)",
            "Credential:  certificate in status, serial 0a1b, ends in 4m12s (2026-03-01T12:10:00Z)",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} in:\n{text}");
        }
        let mut shortened = active();
        shortened.status.as_mut().unwrap().credential.as_mut().unwrap().expires_at = at("12:06:00");
        let text = told(&shortened, "12:05:48");
        assert!(text.contains("ends in 12s (2026-03-01T12:06:00Z); shortened: verifiers accept it until 2026-03-01T12:10:00Z"), "{text}");
    }

    #[test]
    fn nothing_is_called_dead_before_it_is_proven() {
        let text = told(&revoking(), "12:05:48");
        assert!(text.contains("Dead:        in 4m12s (2026-03-01T12:10:00Z): verifiers accept it until then\n"), "{text}");
        assert!(text.contains("Ended:       1m48s ago (2026-03-01T12:04:00Z)\n"), "{text}");
        assert!(text.contains("refuse serial 0a1b themselves"), "{text}");
        assert!(told(&revoking(), "12:10:00").contains("Dead:        since now (2026-03-01T12:10:00Z), proof under way\n"));
        assert!(told(&gone(), "12:11:01").contains("Dead:        1m ago (2026-03-01T12:10:01Z), 361 s after the end\n"));
    }

    #[test]
    fn a_request_that_waits_too_long_points_at_the_operator() {
        assert!(told(&pending(), "12:00:05").contains("nothing yet: it is being decided"));
        assert!(told(&pending(), "12:00:40").contains("see whether Daypass runs: it has not answered for 40s"));
    }

    #[test]
    fn a_denial_that_time_may_cure_says_when_to_ask_again() {
        let mut request = denied();
        request.status.as_mut().unwrap().decision.as_mut().unwrap().retry_after = Some(crate::api::Ttl("30s".into()));
        assert!(told(&request, "12:00:13").contains("What to do:  ask again in 18s, or sooner if the cause is gone\n"));
        assert!(told(&request, "12:01:00").contains("What to do:  ask again: the time that may cure it has passed\n"));
    }

    #[test]
    fn text_from_others_cannot_steer_the_terminal_or_add_lines() {
        let mut request = denied();
        request.spec.purpose = Some("x\u{1b}[2J\nDecided: Allow".into());
        let text = told(&request, "12:00:13");
        assert!(!text.contains('\u{1b}') && !text.contains("\nDecided: Allow"), "{text:?}");
    }
}
