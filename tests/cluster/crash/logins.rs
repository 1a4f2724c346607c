//! Logs in with every token that was ever minted, whoever heard of it: the proxy keeps what the API server replied to each mint, also where
//! the reply was lost and where the operator was dead by then.

use std::collections::BTreeMap;

use http::Method;
use k8s_openapi::api::authentication::v1::TokenRequest;
use kube::ResourceExt;

use super::{lives::Life, rig::Rig};
use crate::tokens::whoami;

/// A token, and the UID of the Secret that it is bound to.
struct Minted {
    token: String,
    bound_to: String,
}

impl Rig {
    /// From now on no token is minted unseen.
    pub fn see_every_token(&self) {
        self.proxy
            .keep_replies(|call| call.method == Method::POST && call.path.contains("/serviceaccounts/") && call.path.ends_with("/token"));
    }

    /// Logs in with all of them. Each has a lease and is accepted exactly as long as that is open: the number of those that are, by UID of
    /// the request. Call it when nothing is under way.
    pub async fn log_in_with_everything(&self) -> BTreeMap<String, usize> {
        let leases = self.sight().await.unwrap().after;
        let (mut accepted, mut wrong) = (BTreeMap::new(), Vec::new());
        for Minted { token, bound_to } in self.minted() {
            let of_it =
                |lease: &&daypass::api::CredentialLease| lease.spec.token.as_ref().is_some_and(|token| token.bound_to.uid == bound_to);
            let Some(lease) = leases.iter().find(of_it) else {
                wrong.push(format!("a token bound to {bound_to} has no lease"));
                continue;
            };
            let (open, works) = (lease.state().is_none(), whoami(self.stage(), &token).await.is_some());
            if open != works {
                wrong.push(format!("a token of {} works: {works}, and its lease is open: {open}", lease.spec.request_name));
            }
            *accepted.entry(lease.spec.request_uid.clone()).or_default() += usize::from(works);
        }
        assert_eq!(wrong, Vec::<String>::new());
        accepted
    }

    /// Exactly one token of each of these is accepted.
    pub async fn each_has_one_token(&self, lives: &[Life]) {
        let accepted = self.log_in_with_everything().await;
        for life in lives {
            let uid = life.request.uid().unwrap();
            assert_eq!(accepted.get(&uid), Some(&1), "tokens of {} that are accepted", life.names.request);
        }
    }

    /// None of all that were minted is accepted any more.
    pub async fn no_token_works(&self) {
        let accepted = self.log_in_with_everything().await;
        assert!(!accepted.is_empty(), "nothing was ever minted: nothing was tested");
        assert!(accepted.values().all(|works| *works == 0), "{accepted:?}");
    }

    fn minted(&self) -> Vec<Minted> {
        let read = |reply: Vec<u8>| {
            // A refusal is no TokenRequest.
            let made: TokenRequest = serde_json::from_slice(&reply).ok()?;
            let token = made.status.map(|status| status.token).filter(|token| !token.is_empty())?;
            Some(Minted { token, bound_to: made.spec.bound_object_ref?.uid? })
        };
        self.proxy.kept().into_iter().filter_map(read).collect()
    }
}
