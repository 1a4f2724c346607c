//! The tokens that this process minted, in memory only, until they are proven dead; and what it knows of their being refused.
//!
//! All of it can be lost: a token that nobody holds any more is proven dead by what it was bound to being gone for long enough.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;

use crate::{cluster::act::Reserved, core::lifecycle::TokenFact, secret::Secret};

/// A token that was minted.
#[derive(Clone)]
pub struct HeldToken {
    /// The bearer token.
    pub token: Secret<String>,
    /// Its id, once the API server has accepted it: only then does its being refused prove anything.
    pub accepted: Option<TokenId>,
}

/// The id of a token as the API server's audit log has it; empty if it has none.
pub type TokenId = String;

/// How far an attempt of this process has come.
#[derive(Clone)]
pub enum Attempt {
    /// Its lease is open, and nothing was minted under it.
    Opened {
        /// The delivered Secret, still empty.
        delivered: Option<Reserved>,
    },
    /// A token was minted.
    Minted {
        /// The token.
        held: HeldToken,
        /// The delivered Secret, still empty.
        delivered: Option<Reserved>,
    },
}

/// By the name of the lease.
#[derive(Default)]
pub struct Tokens(Mutex<HashMap<String, Known>>);

#[derive(Default)]
struct Known {
    attempt: Option<Attempt>,
    /// Since when what it is bound to has been seen to be gone.
    gone_since: Option<Timestamp>,
    reviewed: Option<TokenFact>,
}

impl Tokens {
    /// This process has come so far with the attempt of this lease.
    pub fn note(&self, lease: &str, attempt: Attempt) {
        self.lock().entry(lease.to_owned()).or_default().attempt = Some(attempt);
    }

    /// How far it has come; `None`: another process began it.
    pub fn attempt(&self, lease: &str) -> Option<Attempt> {
        self.lock().get(lease)?.attempt.clone()
    }

    /// The token of this lease, if this process has seen it be accepted.
    pub fn accepted(&self, lease: &str) -> Option<HeldToken> {
        match self.lock().get(lease)?.attempt.as_ref()? {
            Attempt::Minted { held, .. } if held.accepted.is_some() => Some(held.clone()),
            _ => None,
        }
    }

    /// What the token is bound to is gone, seen for the first time or again.
    pub fn bound_went(&self, lease: &str, now: Timestamp) {
        self.lock().entry(lease.to_owned()).or_default().gone_since.get_or_insert(now);
    }

    /// It is.
    pub fn bound_is_gone(&self, lease: &str) -> bool {
        self.lock().get(lease).is_some_and(|known| known.gone_since.is_some())
    }

    /// What API servers said of the token since.
    pub fn reviewed(&self, lease: &str, fact: TokenFact) {
        self.lock().entry(lease.to_owned()).or_default().reviewed = Some(fact);
    }

    /// What is known of the token being refused.
    pub fn fact(&self, lease: &str, now: Timestamp) -> TokenFact {
        let known = self.lock();
        let Some(known) = known.get(lease) else { return TokenFact::Unseen { gone_since: now } };
        let unseen = TokenFact::Unseen { gone_since: known.gone_since.unwrap_or(now) };
        let can_be_shown = matches!(&known.attempt, Some(Attempt::Minted { held, .. }) if held.accepted.is_some());
        match known.reviewed {
            Some(TokenFact::Unseen { .. }) => unseen,
            Some(fact) => fact,
            None if can_be_shown => TokenFact::Unasked { gone_since: known.gone_since.unwrap_or(now) },
            None => unseen,
        }
    }

    /// The lease is closed: nobody needs the token any more.
    pub fn forget(&self, lease: &str) {
        self.lock().remove(lease);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn minted(accepted: Option<&str>) -> Attempt {
        let held = HeldToken { token: Secret::new("token".into()), accepted: accepted.map(str::to_owned) };
        Attempt::Minted { held, delivered: None }
    }

    #[test]
    fn a_token_that_was_never_accepted_proves_nothing_by_being_refused() {
        let tokens = Tokens::default();
        tokens.note("seen", minted(Some("JTI=1")));
        tokens.note("unseen", minted(None));
        for lease in ["seen", "unseen"] {
            tokens.bound_went(lease, at(10));
        }
        assert_eq!(tokens.fact("seen", at(12)), TokenFact::Unasked { gone_since: at(10) });
        assert_eq!(tokens.fact("unseen", at(12)), TokenFact::Unseen { gone_since: at(10) });
        assert_eq!(tokens.fact("of another process", at(12)), TokenFact::Unseen { gone_since: at(12) });
    }

    #[test]
    fn what_is_gone_is_gone_since_it_was_first_seen_to_be() {
        let tokens = Tokens::default();
        tokens.bound_went("lease", at(10));
        tokens.bound_went("lease", at(20));
        assert_eq!(tokens.fact("lease", at(21)), TokenFact::Unseen { gone_since: at(10) });
    }

    #[test]
    fn where_nobody_answers_the_time_since_it_went_counts() {
        let tokens = Tokens::default();
        tokens.note("lease", minted(Some("JTI=1")));
        tokens.bound_went("lease", at(10));
        tokens.reviewed("lease", TokenFact::Unseen { gone_since: at(15) });
        assert_eq!(tokens.fact("lease", at(16)), TokenFact::Unseen { gone_since: at(10) });
        tokens.reviewed("lease", TokenFact::Refused);
        assert_eq!(tokens.fact("lease", at(17)), TokenFact::Refused);
        tokens.forget("lease");
        assert_eq!(tokens.fact("lease", at(18)), TokenFact::Unseen { gone_since: at(18) });
    }
}
