//! An eye on a credential that is held: notices that it ended before its time, and says so. Called by the holder.

use std::sync::Arc;

use kube::ResourceExt;

use super::{ask::ended_early, place::Place, standing::Standing};
use crate::{api::AccessRequest, telemetry::AgentMetrics};

/// Notices that a credential ended before its time.
pub(super) struct Watch {
    pub place: Arc<Place>,
    pub standing: Arc<Standing>,
    pub metrics: Arc<AgentMetrics>,
    /// The request that it came from.
    pub request: AccessRequest,
}

impl Watch {
    /// Returns when it did and that was said.
    pub async fn once(self) {
        let expires_at = self.request.status.as_ref().and_then(|status| status.credential.as_ref()).map(|c| c.expires_at);
        let why = ended_early(&self.place, &self.request).await;
        if expires_at.is_some_and(|expires_at| self.standing.ended(expires_at, why.clone())) {
            tracing::warn!(class = self.standing.class(), request = self.request.name_any(), "the credential ended early: {why}");
            self.metrics.ended_early(self.standing.class());
        }
    }

    /// The same, and never returns.
    pub async fn and_wait(self) {
        self.once().await;
        std::future::pending().await
    }
}
