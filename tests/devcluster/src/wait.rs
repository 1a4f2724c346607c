//! Waiting for what is waited for: looks often, gives up at a deadline, never sleeps for a guessed time.
//!
//! Used inside this crate and by its tests and users.

use std::{future::Future, time::Duration};

/// Between two looks.
const EVERY: Duration = Duration::from_millis(50);

/// What was waited for did not come.
#[derive(Debug, thiserror::Error)]
#[error("gave up after {} s waiting for {what}", .limit.as_secs_f32())]
pub struct TimedOut {
    /// What was waited for.
    pub what: String,
    /// For how long.
    pub limit: Duration,
}

/// Looks until there is something, at most for `limit`, and returns it. A look that never returns is cut off by the limit as well.
pub async fn until<T, F, Look>(what: &str, limit: Duration, mut look: F) -> Result<T, TimedOut>
where
    F: FnMut() -> Look,
    Look: Future<Output = Option<T>>,
{
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(EVERY).await;
        }
    };
    tokio::time::timeout(limit, looking).await.map_err(|_| TimedOut { what: what.to_owned(), limit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn returns_what_came_and_names_what_did_not() {
        let mut looks = 0;
        let third = until("the third look", Duration::from_secs(5), || {
            looks += 1;
            std::future::ready((looks == 3).then_some(looks))
        });
        assert_eq!(third.await.unwrap(), 3);

        let never = until("a miracle", Duration::from_millis(60), std::future::pending::<Option<()>>).await.unwrap_err();
        assert_eq!(never.to_string(), "gave up after 0.06 s waiting for a miracle");
    }
}
