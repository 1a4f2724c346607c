//! Takes an installation down: stops the operator, has every lease ended by the loop that always ends them, and marks what may be deleted then.
//!
//! `app::drain` runs it beside the watches and the lease loop of an operator that issues nothing. Whatever the API server answers, it tries
//! again: the one who gives up is whoever started it. Each step can be done twice, so a drain that was killed is begun again.

use std::{collections::BTreeMap, time::Duration};

use kube::ResourceExt;

use super::Operator;
use crate::{
    api::{ANNOTATION_DRAINED, CredentialLease, lease::LeaseState},
    cluster::ApiError,
    core::leaving::{Open, progress},
    install::{drain, rights},
};

/// What ends every grant that nothing else has ended.
pub const WHY: &str = "Daypass is being taken down: ask the platform team where credentials come from now";

/// Before something that failed is tried again, and between two looks.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// The value of the mark. Always the same: marking twice changes nothing.
const MARK: &str = "true";

/// How to drain.
pub struct Drain {
    /// Service account of the operator, and of this process.
    pub account: String,
    /// UID of the pod of this process.
    pub own_pod: String,
    /// Credentials that only time ends are not waited for.
    pub accept_expiry: bool,
    /// Tells people how far it is.
    pub tell: Box<dyn Fn(&str) + Send + Sync>,
}

impl Drain {
    fn tell(&self, line: impl AsRef<str>) {
        (self.tell)(line.as_ref());
    }
}

impl Operator {
    /// Returns when nothing is open any more and everything is marked: the leases that only time ends, where those are not waited for.
    pub async fn drain(&self, how: &Drain) -> Vec<CredentialLease> {
        loop {
            self.stop_the_operator(how).await;
            let Some(left) = self.end_everything(how).await else { continue };
            self.mark_drained(how, Some(MARK)).await;
            // Between the last look and the mark an operator may have come and granted; from the mark on none grants anything.
            if self.operators(how).await.is_empty() && self.is_left(&self.still_open(how).await, &left) {
                return left;
            }
            how.tell("an operator has come back in between: it is stopped again");
            self.mark_drained(how, None).await;
        }
    }

    /// Scales the operator to nothing and waits until its pods are gone, because what they are granting at this moment is in no ledger yet.
    async fn stop_the_operator(&self, how: &Drain) {
        let home = &self.settings.namespace;
        let name = rights::DEPLOYMENT;
        match again(how, "scale the operator to nothing", || self.ending.scale_to_zero(name)).await {
            true => how.tell(format!("Deployment {home}/{name} is scaled to nothing")),
            false => how.tell(format!("there is no Deployment {home}/{name}: only pods of its account are waited for")),
        }
        let mut said = String::new();
        loop {
            let pods = self.operators(how).await;
            if pods.is_empty() {
                return how.tell("no operator is running");
            }
            let line = format!("waiting for pods of the operator to go: {}", pods.join(", "));
            if said != line {
                how.tell(&line);
                said = line;
            }
            tokio::time::sleep(PAUSE.0).await;
        }
    }

    /// Waits until every lease is closed, or dies by itself where that is enough. `None`: an operator has come back, and may grant.
    async fn end_everything(&self, how: &Drain) -> Option<Vec<CredentialLease>> {
        let mut said = String::new();
        loop {
            let began = self.clock.monotonic();
            let back = self.operators(how).await;
            if !back.is_empty() {
                how.tell(format!("an operator has come back ({}): it is stopped again", back.join(", ")));
                return None;
            }
            let open = self.still_open(how).await;
            if open.is_empty() || (how.accept_expiry && open.iter().all(|lease| self.only_time_ends(lease))) {
                return Some(open);
            }
            let line = progress(&open.iter().map(|lease| self.stands(lease)).collect::<Vec<_>>());
            if said != line {
                how.tell(&line);
                said = line;
            }
            // A tenth of an API server's time at most.
            tokio::time::sleep((self.clock.monotonic().duration_since(began) * 10).clamp(PAUSE.0, PAUSE.1)).await;
        }
    }

    /// Pods that may be operators: every one that runs as its account and is no drain. Each with its node, for whoever has to look there.
    async fn operators(&self, how: &Drain) -> Vec<String> {
        let pods = again(how, "list the operator's pods", || self.ending.list_pods_of(&how.account)).await;
        let is_drain = |labels: &BTreeMap<String, String>| labels.get(drain::LABEL).is_some_and(|name| name == drain::NAME);
        let operators = pods.into_iter().filter(|pod| pod.uid().as_ref() != Some(&how.own_pod) && !is_drain(pod.labels()));
        let named = |pod: k8s_openapi::api::core::v1::Pod| {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_else(|| "no node".into());
            format!("{} on {node}", pod.name_any())
        };
        operators.map(named).collect()
    }

    async fn still_open(&self, how: &Drain) -> Vec<CredentialLease> {
        again(how, "list the leases", || self.ending.list_open_leases()).await
    }

    async fn mark_drained(&self, how: &Drain, mark: Option<&str>) {
        again(how, "mark the namespace", || self.ending.mark_namespace(mark)).await;
        for name in rights::DEFINITIONS {
            again(how, "mark the definitions", || self.ending.mark_definition(name, mark)).await;
        }
    }

    /// Nothing is open but what was left to itself before.
    fn is_left(&self, open: &[CredentialLease], left: &[CredentialLease]) -> bool {
        open.iter().all(|lease| left.iter().any(|known| known.name_any() == lease.name_any()))
    }

    /// Everything that can be taken back is: what remains is what a verifier accepts without asking anybody, and its time.
    fn only_time_ends(&self, lease: &CredentialLease) -> bool {
        let (spec, name) = (&lease.spec, lease.name_any());
        let secret_is_gone = spec.secret.is_none() || self.notes.secret_gone(&name);
        let token_is_taken_back = spec.token.as_ref().is_none_or(|token| !token.revocable && self.tokens.bound_is_gone(&name));
        // A list of revoked certificates ends it sooner than time does.
        let no_list = spec.crl().is_none();
        lease.state() == Some(LeaseState::Revoking) && no_list && secret_is_gone && token_is_taken_back
    }

    fn stands(&self, lease: &CredentialLease) -> Open {
        if self.only_time_ends(lease) { Open::Until(lease.spec.not_after()) } else { Open::Ending }
    }

    /// Why nothing is granted while the operator's namespace bears the mark: it may be deleted at any moment, and the ledger with it.
    pub(super) fn drained(&self) -> Option<String> {
        let home = &self.settings.namespace;
        let namespace = self.world.namespaces.get(&crate::cluster::cache::Key::new("", home.as_str()))?;
        namespace.json.pointer("/metadata/annotations")?.get(ANNOTATION_DRAINED)?;
        let objects = rights::DEFINITIONS.iter().map(|name| format!(" crd/{name}")).collect::<String>();
        Some(format!(
            "Daypass was drained to be taken down. To use it again: kubectl annotate namespace/{home}{objects} {ANNOTATION_DRAINED}-"
        ))
    }
}

/// Does it until it works, and tells each problem once.
async fn again<T, F>(how: &Drain, what: &str, attempt: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, ApiError>>,
{
    let (mut pause, mut said) = (PAUSE.0, String::new());
    loop {
        match attempt().await {
            Ok(done) => return done,
            Err(error) => {
                let problem = error.to_string();
                if said != problem {
                    how.tell(format!("cannot {what}: {problem}; trying again"));
                    said = problem;
                }
                tokio::time::sleep(pause.max(error.retry_after().unwrap_or_default()).min(PAUSE.1)).await;
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }
}
