//! Asking again until there is an answer, for a limited time: what a person or a script waits for.
//!
//! Called by the holder for a first credential, and by `request`.

use std::time::Duration;

use super::{
    Refusal,
    ask::{AskError, chance},
};
use crate::{
    cluster::Clock,
    core::renewal::{pause_after_denial, pause_after_failure},
};

/// An API server that has just started, or a RoleBinding that has just been made, refuses what it allows a moment later.
const REFUSED_FOR: Duration = Duration::from_secs(5);

/// Tries for this long; each attempt is told how much of it is left. A denial that time may cure is waited for, any other is final at once.
pub async fn persist<T>(
    clock: &Clock,
    class: &str,
    limit: Duration,
    mut attempt: impl AsyncFnMut(Duration) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let began = clock.monotonic();
    let deadline = began + limit;
    let (mut failures, mut denials) = (0, 0);
    loop {
        let left = deadline.saturating_duration_since(clock.monotonic());
        let refusal = match attempt(left).await {
            Ok(done) => return Ok(done),
            Err(refusal) => refusal,
        };
        let now = clock.monotonic();
        let pause = match &refusal {
            Refusal::Denied(denied) => {
                let Some(after) = denied.retry_after else { return Err(refusal) };
                denials += 1;
                pause_after_denial(denials, Some(after), chance())
            }
            Refusal::Asking(AskError::Refused(_) | AskError::Place(_)) if now.duration_since(began) >= REFUSED_FOR => return Err(refusal),
            Refusal::Asking(AskError::Invalid(_)) | Refusal::Files(_) => return Err(refusal),
            Refusal::Asking(error) => {
                failures += 1;
                pause_after_failure(failures, chance()).max(error.retry_after().unwrap_or_default())
            }
        };
        if now + pause >= deadline {
            return Err(refusal);
        }
        tracing::warn!(class, "{refusal}; asking again in {:.0} s", pause.as_secs_f64());
        tokio::time::sleep(pause).await;
    }
}
