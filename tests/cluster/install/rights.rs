//! The operator has the rights that it uses and no other: a whole life of it, read off the API server's audit log.

use std::collections::BTreeSet;

use daypass::install::rights::{RIGHTS, Reach, Right};
use devcluster::audit::Event;

use super::play::Play;
use crate::support::{LENT, SECRET_NAMESPACES};

/// A right that no call of its own ever shows: the API server asks for it when a ClusterTrustBundle is written.
const NO_CALL: (&str, &str) = ("signers", "attest");

/// Whether a call is one that this verb of this right is for.
pub fn covers(right: &Right, verb: &str, call: &Event, home: &str) -> bool {
    let Some(on) = &call.object_ref else { return false };
    let resource = on.subresource.as_ref().map_or(on.resource.clone(), |sub| format!("{}/{sub}", on.resource));
    let there = match right.reach {
        Reach::Everywhere => true,
        Reach::Home => on.namespace == home,
        Reach::SecretNamespaces => SECRET_NAMESPACES.contains(&on.namespace.as_str()),
        Reach::AccountNamespaces | Reach::Accounts => on.namespace == LENT,
    };
    let named = right.names.is_empty() || right.names.contains(&on.name.as_str());
    call.verb == verb && on.api_group == right.group && resource == right.resource && there && named
}

fn say(call: &Event) -> String {
    format!(
        "{} {} → {} {}",
        call.verb,
        call.request_uri,
        call.code(),
        call.annotations.get("authorization.k8s.io/reason").map(String::as_str).unwrap_or_default()
    )
}

#[tokio::test]
async fn the_operator_uses_every_right_that_it_has_and_needs_no_other() {
    let mut play = Play::set().await;
    play.inherit().await;
    play.find_the_guard_open().await;
    play.offer().await;
    play.lock().await;
    let pod = play.pod().await;
    play.expire(&pod).await;
    play.give_back(&pod).await;
    play.stand_in_the_way(&pod).await;
    play.lend().await;
    play.lower_the_ceiling(&pod).await;
    play.find_the_guard_open_again().await;
    play.take_away_what_nobody_watches().await;

    let (calls, home) = (play.calls(), play.stage().operator_name().namespace.clone());
    let used = |right: &Right, verb: &str| calls.iter().any(|call| covers(right, verb, call, &home));
    let unused: Vec<String> = RIGHTS
        .iter()
        .flat_map(|right| right.verbs.iter().map(move |verb| (right, *verb)))
        .filter(|(right, verb)| (right.resource, *verb) != NO_CALL && !used(right, verb))
        .map(|(right, verb)| format!("{verb} {}/{} {:?} {:?}", right.group, right.resource, right.names, right.reach))
        .collect();
    assert_eq!(unused, Vec::<String>::new(), "rights that nothing uses: take them away, or let this life use them");

    let refused: BTreeSet<String> = calls
        .iter()
        .filter(|call| call.annotations.get("authorization.k8s.io/decision").is_none_or(|decision| decision != "allow"))
        .map(say)
        .collect();
    assert_eq!(refused, BTreeSet::new(), "rights that are missing");

    let uncovered: BTreeSet<String> = calls
        .iter()
        .filter(|call| {
            call.object_ref.is_some() && !RIGHTS.iter().any(|right| right.verbs.iter().any(|verb| covers(right, verb, call, &home)))
        })
        .map(say)
        .collect();
    assert_eq!(uncovered, BTreeSet::new(), "allowed by somebody else's grant, not by ours");

    let peeked: Vec<String> = calls
        .iter()
        .filter(|call| ["get", "list", "watch"].iter().any(|verb| call.is(verb, "secrets")))
        .filter(|call| call.object_ref.as_ref().is_some_and(|on| on.namespace != home))
        .map(say)
        .collect();
    assert_eq!(peeked, Vec::<String>::new(), "Secrets of tenants are never read");
}
