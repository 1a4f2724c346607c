//! One request from its making to its answer.
//!
//! Whatever ends an attempt without an answer leaves its name with [`Debts`], so that nothing that was asked for stays behind. Called by the
//! holder of a credential.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use data_encoding::BASE32_DNSCURVE;
use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    hand::{Hand, Handed, NoKey, Offer, Unusable},
    place::{Place, PlaceError},
};
use crate::{
    api::{AccessRequest, AccessRequestSpec, RequestState, Ttl, request::Outcome},
    cluster::ApiError,
    core::renewal::pause_after_failure,
};

/// An unanswered request is looked at this often, whatever its watch says.
const LOOKED_AFTER: Duration = Duration::from_secs(10);
/// The same for a credential that is held.
const WATCHED_FOR: Duration = Duration::from_secs(60);

/// What to ask for.
#[derive(Clone, Debug)]
pub struct Want {
    /// The class.
    pub class: String,
    /// How long it should live; the policy's default if absent.
    pub ttl: Option<Ttl>,
    /// What it is for.
    pub purpose: Option<String>,
    /// Where its key is to be.
    pub hand: Hand,
}

/// A credential that was granted.
#[derive(Clone, Debug)]
pub struct Granted {
    /// The request as it was answered.
    pub request: AccessRequest,
    /// What came of it.
    pub handed: Handed,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was granted, by the operator's clock.
    pub granted_at: Timestamp,
}

/// A refusal that is an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Name of the request.
    pub request: String,
    /// Why, one word.
    pub reason: String,
    /// Why, and what to do.
    pub message: String,
    /// Ask again after this, where time may cure it.
    pub retry_after: Option<Duration>,
}

/// What came of asking.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A credential.
    Granted(Box<Granted>),
    /// A refusal.
    Denied(Denied),
}

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AskError {
    /// There is no way to ask from here.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The API server takes no such request from this pod.
    #[error(
        "the API server refuses AccessRequests of this pod: {0} (its account needs the ClusterRole daypass-requester in its namespace)"
    )]
    Refused(ApiError),
    /// The namespace's quota is used up, or has not been counted yet.
    #[error("the namespace's ResourceQuota admits no further AccessRequest: {0} (raise it, or wait until finished requests are removed)")]
    Quota(ApiError),
    /// The API server never takes a request like this one.
    #[error("the API server does not take the request: {0}")]
    Invalid(ApiError),
    /// The API server does not answer.
    #[error("{0}")]
    Away(ApiError),
    /// The operator does not answer.
    #[error("AccessRequest {request} was not answered within {} s: is Daypass running?", .waited.as_secs())]
    Unanswered {
        /// Name of the request.
        request: String,
        /// For how long.
        waited: Duration,
    },
    /// Somebody deleted the request, or the operator gave it up.
    #[error("AccessRequest {request} came to nothing: {message}")]
    Lost {
        /// Name of the request.
        request: String,
        /// What became of it.
        message: String,
    },
    /// What was granted cannot be used.
    #[error("AccessRequest {request} was answered with {problem}")]
    Unusable {
        /// Name of the request.
        request: String,
        /// What came.
        problem: Unusable,
    },
    /// No key pair.
    #[error("no key pair can be made: {0}")]
    Key(#[from] NoKey),
}

impl AskError {
    /// The API server's wish to be left alone for a while.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Away(error) => error.retry_after(),
            _ => None,
        }
    }

    /// Nothing was made.
    fn is_certain(&self) -> bool {
        !matches!(self, Self::Away(error) if !error.is_definite())
    }
}

/// Requests that were made, or may have been, and are not wanted any more: names, and UIDs as far as they are known.
#[derive(Debug, Default)]
pub struct Debts(Mutex<Vec<(String, Option<String>)>>);

impl Debts {
    /// This one is to be given back.
    pub fn owe(&self, name: &str, uid: Option<String>) {
        self.forget(name);
        self.all().push((name.to_owned(), uid));
    }

    /// This one is not: it is held, or ended by itself.
    pub fn forget(&self, name: &str) {
        self.all().retain(|(owed, _)| owed != name);
    }

    /// Whether nothing is owed.
    pub fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    /// Gives back what is owed, in the order in which it came to be. What cannot be given back stays owed, and all that comes after it: where
    /// one call fails the next would too.
    pub async fn settle(&self, place: &Place) -> Result<(), AskError> {
        let owed = self.all().clone();
        for (name, uid) in owed {
            place.session()?.asks.give_back(&name, uid.as_deref()).await.map_err(AskError::Away)?;
            self.forget(&name);
        }
        Ok(())
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<(String, Option<String>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that was sent off and may or may not have been made. It is sent again as it is until that is known, so that an outage leaves one
/// name behind and not one for each try.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Its name.
    pub name: String,
    offer: Offer,
}

impl Draft {
    fn of(want: &Want) -> Result<Self, AskError> {
        Ok(Self { name: name_for(&want.class), offer: Offer::of(&want.hand)? })
    }
}

/// Makes a request and waits for its answer, for at most this long. Whenever this is dropped, what may have been made is the draft or owed.
pub async fn ask(place: &Place, debts: &Debts, draft: &mut Option<Draft>, want: &Want, limit: Duration) -> Result<Answer, AskError> {
    let deadline = place.clock().monotonic() + limit;
    let sent = match draft.clone() {
        Some(sent) => sent,
        None => draft.insert(Draft::of(want)?).clone(),
    };
    let late = || Err(AskError::Away(ApiError::NoAnswer(format!("no answer within {} s", limit.as_secs()))));
    let made = tokio::time::timeout(limit, create(place, want, &sent)).await.unwrap_or_else(|_| late());
    if made.as_ref().err().is_none_or(AskError::is_certain) {
        *draft = None;
    }
    let made = made?;
    debts.owe(&sent.name, made.uid());
    if !sent.offer.is_said_by(&made.spec) {
        return Err(AskError::Unusable { request: sent.name, problem: Unusable::Changed });
    }
    let answer = read(answered(place, made, deadline, limit).await?, sent.offer)?;
    debts.forget(&sent.name);
    Ok(answer)
}

/// Waits until a credential is no longer Active, and says what became of it. Never returns while all is well.
pub async fn ended_early(place: &Place, held: &AccessRequest) -> String {
    let mut current = held.clone();
    loop {
        let status = current.status.clone().unwrap_or_default();
        if status.state != RequestState::Active {
            return status
                .ended
                .map_or_else(|| format!("it is {}", status.state.as_str()), |ended| format!("{}: {}", ended.reason, ended.message));
        }
        // Nothing is known of it while the API server is away: it goes on, and ends by its own date.
        match change(place, &current, WATCHED_FOR).await {
            Change::To(next) => current = *next,
            Change::Gone => return "its request was deleted".into(),
            Change::Unknown => {}
        }
    }
}

/// What became of a request in a while.
enum Change {
    To(Box<AccessRequest>),
    Gone,
    Unknown,
}

/// Waits for the next change of a request, for at most this long; then looks for itself, since a watch may die without a sound.
async fn change(place: &Place, current: &AccessRequest, within: Duration) -> Change {
    let next = async {
        match place.session() {
            Ok(session) => session.asks.next_change(current).await,
            Err(error) => Err(ApiError::NoAnswer(error.to_string())),
        }
    };
    match tokio::time::timeout(within, next).await {
        Ok(Ok(Some(next))) if next.uid() == current.uid() => return Change::To(Box::new(next)),
        Ok(Ok(_)) => return Change::Gone,
        Ok(Err(_)) => tokio::time::sleep(pause_after_failure(2, chance())).await,
        Err(_) => {}
    }
    match look(place, current).await {
        Ok(Some(found)) => Change::To(Box::new(found)),
        Ok(None) => Change::Gone,
        Err(_) => Change::Unknown,
    }
}

/// The request as it stands now, if it is still this one.
pub async fn look(place: &Place, held: &AccessRequest) -> Result<Option<AccessRequest>, AskError> {
    match place.session()?.asks.get(&held.name_any()).await {
        Ok(found) => Ok(Some(found).filter(|found| found.uid() == held.uid())),
        Err(ApiError::NotFound(_)) => Ok(None),
        Err(error) => Err(AskError::Away(error)),
    }
}

/// A random number from 0 up to 1. Without random numbers everybody would come back together, which is no reason to stop.
pub fn chance() -> f64 {
    let mut bytes = [0; 4];
    let _ = SystemRandom::new().fill(&mut bytes);
    f64::from(u32::from_be_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}

/// Class and 80 random bits: known before it is made, so that a request whose reply was lost can be given back.
fn name_for(class: &str) -> String {
    let mut bytes = [0; 10];
    let _ = SystemRandom::new().fill(&mut bytes);
    let class: String = class.chars().take(100).collect();
    format!("{}-{}", class.trim_end_matches(['-', '.']), BASE32_DNSCURVE.encode(&bytes))
}

/// One try.
async fn create(place: &Place, want: &Want, sent: &Draft) -> Result<AccessRequest, AskError> {
    let session = place.session()?;
    let spec = AccessRequestSpec {
        class_name: want.class.clone(),
        ttl: want.ttl.clone(),
        purpose: want.purpose.clone(),
        csr: None,
        seal_to: None,
        secret_name: None,
        requester: session.requester.clone(),
    };
    let mut request = AccessRequest::new(&sent.name, sent.offer.say(spec));
    request.metadata.namespace = Some(session.namespace.clone());
    let error = match session.asks.create(&request).await {
        Ok(made) => return Ok(made),
        Err(error) => error,
    };
    Err(match error {
        // The reply of an earlier try was lost.
        ApiError::AlreadyExists(_) => match session.asks.get(&sent.name).await {
            Ok(found) if sent.offer.is_said_by(&found.spec) => return Ok(found),
            Ok(_) => AskError::Lost { request: sent.name.clone(), message: "another request has its name".into() },
            Err(error) => AskError::Away(error),
        },
        ApiError::Forbidden(message) if is_of_a_quota(&message) => AskError::Quota(ApiError::Forbidden(message)),
        ApiError::Forbidden(_) => AskError::Refused(error),
        ApiError::Invalid(_) => AskError::Invalid(error),
        ApiError::NotFound(_) => AskError::Away(ApiError::NotFound(
            "this cluster knows no AccessRequest (is Daypass installed?), or the namespace is gone".into(),
        )),
        error => AskError::Away(error),
    })
}

/// Whether a refusal is the quota plugin's: the API server says so in words alone.
fn is_of_a_quota(message: &str) -> bool {
    ["is forbidden: exceeded quota: ", "is forbidden: status unknown for quota: "].iter().any(|words| message.contains(words))
}

async fn answered(place: &Place, made: AccessRequest, deadline: Instant, limit: Duration) -> Result<AccessRequest, AskError> {
    let (name, mut current) = (made.name_any(), made);
    while current.state() == RequestState::Pending {
        let left = deadline.saturating_duration_since(place.clock().monotonic());
        if left.is_zero() {
            return Err(AskError::Unanswered { request: name, waited: limit });
        }
        match tokio::time::timeout(left, change(place, &current, LOOKED_AFTER)).await {
            Ok(Change::To(next)) => current = *next,
            Ok(Change::Gone) => return Err(AskError::Lost { request: name, message: "it was deleted".into() }),
            Ok(Change::Unknown) | Err(_) => {}
        }
    }
    Ok(current)
}

fn read(request: AccessRequest, offer: Offer) -> Result<Answer, AskError> {
    let (name, status) = (request.name_any(), request.status.clone().unwrap_or_default());
    if let (RequestState::Active, Some(decision), Some(credential)) = (status.state, &status.decision, &status.credential) {
        let handed = offer.take(&request, credential).map_err(|problem| AskError::Unusable { request: name, problem })?;
        let (expires_at, granted_at) = (credential.expires_at, decision.time);
        return Ok(Answer::Granted(Box::new(Granted { request, handed, expires_at, granted_at })));
    }
    match status.decision {
        Some(decision) if decision.outcome == Outcome::Deny => Ok(Answer::Denied(Denied {
            request: name,
            reason: decision.reason,
            message: decision.message,
            retry_after: decision.retry_after.and_then(|after| after.parse().ok()),
        })),
        _ => {
            let condition = status.conditions.into_iter().find(|condition| condition.type_ == "Decided");
            let message = condition.map_or_else(|| format!("it is {}", status.state.as_str()), |c| format!("{}: {}", c.reason, c.message));
            Err(AskError::Lost { request: name, message })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_the_class_and_fits_every_class() {
        for class in ["orders-db", &"a".repeat(253), &format!("{}-.-{}", "b".repeat(98), "c".repeat(20))] {
            let name = name_for(class);
            assert!(name.len() <= 200 && name.starts_with(&class[..1]) && name != name_for(class), "{name}");
            assert!(
                name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c)) && !name.contains(".-"),
                "{name}"
            );
        }
    }

    #[test]
    fn a_quota_is_told_from_a_missing_right() {
        for (message, quota) in [
            ("accessrequests.daypass.dev \"a\" is forbidden: exceeded quota: daypass, requested: count/accessrequests.daypass.dev=1", true),
            ("accessrequests.daypass.dev \"a\" is forbidden: status unknown for quota: daypass, resources: count/accessrequests", true),
            ("accessrequests.daypass.dev is forbidden: User \"system:serviceaccount:shop:quota\" cannot create resource", false),
        ] {
            assert_eq!(is_of_a_quota(message), quota, "{message}");
        }
    }

    #[test]
    fn chance_is_a_share() {
        for _ in 0..1000 {
            assert!((0.0..1.0).contains(&chance()));
        }
    }
}
