//! Finds the leases that are meant, asks for the end of each, and looks what became of them. Goes on whatever fails; knows no person.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt, api::ListParams};

use super::{
    held::{Held, Standing},
    select::Selection,
};
use crate::{
    api::CredentialLease,
    cluster::{ApiError, Clock, act::Revokes, client::call, records::images_of},
};

/// How many leases or pods are read at a time.
const PAGE: u32 = 250;
/// How many ends are asked for at once.
pub const AT_ONCE: usize = 8;

/// The leases that somebody means.
pub struct Ledger {
    client: Client,
    /// Where the operator runs.
    namespace: String,
    selection: Selection,
    /// UIDs of the pods that were ever seen with the image: their leases are meant also when they are gone.
    pods: BTreeSet<String>,
}

/// Why the ledger, or the pods of an image, cannot be read.
#[derive(Debug)]
pub struct Unread {
    /// The resource, as RBAC calls it.
    pub resource: &'static str,
    /// Where; `None` = in every namespace.
    pub namespace: Option<String>,
    /// What came of it.
    pub error: ApiError,
}

impl Ledger {
    /// In this namespace.
    pub fn new(client: Client, namespace: &str, selection: Selection) -> Self {
        Self { client, namespace: namespace.to_owned(), selection, pods: BTreeSet::new() }
    }

    /// Every lease that is meant; closed ones only where they are asked for.
    pub async fn meant(&mut self, closed: bool) -> Result<Vec<CredentialLease>, Unread> {
        if let Some(image) = self.selection.image.clone() {
            self.pods.extend(self.pods_of(&image).await?);
        }
        let mut fields = self.selection.fields();
        if !closed {
            fields.push("status.state!=Closed".into());
        }
        let listed = list(&self.leases(), &fields.join(",")).await;
        let listed =
            listed.map_err(|error| Unread { resource: "credentialleases.daypass.dev", namespace: Some(self.namespace.clone()), error })?;
        Ok(listed.into_iter().filter(|lease| self.selection.covers(lease, &self.pods)).collect())
    }

    async fn pods_of(&self, image: &str) -> Result<Vec<String>, Unread> {
        let namespace = self.selection.namespace.clone();
        let api = match &namespace {
            Some(namespace) => Api::<Pod>::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let listed = list(&api, "").await.map_err(|error| Unread { resource: "pods", namespace, error })?;
        Ok(listed.iter().filter(|pod| images_of(pod).any_is(image)).filter_map(ResourceExt::uid).collect())
    }

    fn leases(&self) -> Api<CredentialLease> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

/// Everything that these fields select, page by page.
pub async fn list<K>(api: &Api<K>, fields: &str) -> Result<Vec<K>, ApiError>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let mut params = ListParams::default().limit(PAGE).fields(fields);
    let mut all = Vec::new();
    loop {
        let page = call(api.list(&params)).await?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(all),
        }
    }
}

/// The end of everything that is meant.
pub struct Chase<'l> {
    ledger: &'l mut Ledger,
    revokes: Revokes,
    reason: String,
    /// By name, whatever was met so far.
    pub held: BTreeMap<String, Held>,
    /// How many were opened after the first look.
    pub late: usize,
}

/// What one look at the ledger brought.
#[derive(Debug, Default)]
pub struct Pass {
    /// Leases that were not met before.
    pub new: usize,
    /// What did not work for now and is tried again.
    pub trouble: Option<ApiError>,
    /// Names of the leases that stand otherwise than before.
    pub changed: Vec<String>,
}

impl<'l> Chase<'l> {
    /// Nothing is asked for yet; this is what the first look has found.
    pub fn new(ledger: &'l mut Ledger, revokes: Revokes, reason: &str, found: Vec<Held>) -> Self {
        let held = found.into_iter().map(|held| (held.lease.clone(), held)).collect();
        Self { ledger, revokes, reason: reason.to_owned(), held, late: 0 }
    }

    /// Nothing more comes of anything that was met.
    pub fn is_settled(&self) -> bool {
        self.held.values().all(Held::is_settled)
    }

    /// Looks once, and asks for the end of what is open.
    pub async fn pass(&mut self, clock: &Clock) -> Result<Pass, Unread> {
        let before = self.standings();
        let mut pass = self.look(clock).await?;
        self.ask(&mut pass).await;
        let differs = |(name, held): &(&String, &Held)| before.get(*name) != Some(&held.standing);
        pass.changed = self.held.iter().filter(differs).map(|(name, _)| name.clone()).collect();
        Ok(pass)
    }

    fn standings(&self) -> BTreeMap<String, Standing> {
        self.held.iter().map(|(name, held)| (name.clone(), held.standing.clone())).collect()
    }

    /// Takes in what is there, and looks after what is not listed any more.
    pub async fn look(&mut self, clock: &Clock) -> Result<Pass, Unread> {
        let listed = self.ledger.meant(false).await?;
        let mut pass = Pass::default();
        let there: BTreeSet<String> = listed.iter().map(ResourceExt::name_any).collect();
        for lease in &listed {
            match self.held.get_mut(&lease.name_any()) {
                Some(held) => held.look(lease),
                None => {
                    pass.new += 1;
                    self.held.insert(lease.name_any(), Held::of(lease));
                }
            }
        }
        self.late += pass.new;
        self.look_after(&there, clock, &mut pass).await;
        Ok(pass)
    }

    /// What is not among the open ones any more is closed: each is asked whether it really is.
    async fn look_after(&mut self, there: &BTreeSet<String>, clock: &Clock, pass: &mut Pass) {
        let api = self.ledger.leases();
        let dead = |held: &Held| matches!(held.standing, Standing::Dead { .. });
        let missing = self.held.iter_mut().filter(|(name, held)| !there.contains(*name) && !dead(held));
        let looks = missing.map(|(name, held)| {
            let api = api.clone();
            async move { (held, call(api.get(name)).await) }
        });
        let mut looks = stream::iter(looks).buffer_unordered(AT_ONCE);
        while let Some((held, found)) = looks.next().await {
            match found {
                Ok(lease) => held.look(&lease),
                Err(ApiError::NotFound(_)) => held.standing = gone(held, clock),
                Err(error) => pass.trouble = Some(error),
            }
        }
    }

    async fn ask(&mut self, pass: &mut Pass) {
        let (revokes, reason) = (&self.revokes, self.reason.as_str());
        let open = self.held.values_mut().filter(|held| matches!(held.standing, Standing::Open { .. }));
        let asks = open.map(|held| async move {
            let answer = revokes.revoke(&held.lease, &held.uid, reason).await;
            (held, answer)
        });
        let mut asks = stream::iter(asks).buffer_unordered(AT_ONCE);
        while let Some((held, answer)) = asks.next().await {
            match answer {
                Ok(lease) => held.look(&lease),
                // It was closed and went: the next look tells.
                Err(ApiError::NotFound(_)) => {}
                // Somebody else was faster: the next look tells.
                Err(ApiError::Invalid(message)) if message.contains("revoke is set once") => {}
                Err(error @ (ApiError::Forbidden(_) | ApiError::Invalid(_) | ApiError::AlreadyExists(_))) => {
                    let forbidden = matches!(error, ApiError::Forbidden(_));
                    held.standing = Standing::Failed { message: error.to_string(), forbidden };
                }
                Err(error) => {
                    held.standing = Standing::Open { message: Some(error.to_string()) };
                    pass.trouble = Some(error);
                }
            }
        }
    }
}

/// A lease that is not there at all. Only closed ones may be removed, but whoever removes a definition takes open ones along: it counts as
/// dead where the credential's own time is over as well.
pub fn gone(held: &Held, clock: &Clock) -> Standing {
    if clock.server_now().is_some_and(|now| now >= held.valid_until) && clock.now() >= held.valid_until {
        return Standing::Dead { proof: None, closed_time: None };
    }
    let message =
        format!("it is gone from the ledger and nobody saw it Closed; verifiers may accept the credential until {:.0}", held.valid_until);
    Standing::Failed { message, forbidden: false }
}
