//! Looks again at everything now and then: what no event has told, a clock that was stepped, a verdict that time alone has changed.

use std::{sync::Arc, time::Duration};

use kube::ResourceExt;

use super::Operator;
use crate::{api::RequestState, cluster::cache::Cached};

/// Between two sweeps.
const EVERY: Duration = Duration::from_secs(60);

impl Operator {
    /// Sweeps until the process ends.
    pub async fn sweep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(EVERY).await;
            for lease in self.world.open_leases() {
                if self.policies.any_depends_on_time(&lease.spec.request_namespace) {
                    self.judge_lease(&lease);
                }
                self.leases.add(&lease.spec.request_namespace, &lease.name_any());
            }
            for request in self.world.requests.list() {
                if request.state() == RequestState::Pending || request.state().is_terminal() {
                    self.requests.add(&request.namespace().unwrap_or_default(), request.object_uid());
                }
            }
            self.publish_gauges();
        }
    }

    /// Figures that are read off the caches.
    pub fn publish_gauges(&self) {
        let now = self.clock.read().latest();
        let open = self.world.open_leases();
        let oldest = open
            .iter()
            .filter_map(|lease| match lease.status.as_ref().and_then(|s| s.ended_time) {
                Some(ended) => Some(now.duration_since(ended)),
                None => Some(now.duration_since(lease.spec.expires_at)).filter(|late| late.is_positive()),
            })
            .max();
        self.metrics.gauges(open.len(), oldest.unwrap_or_default(), self.requests.depth(), self.leases.depth());
    }
}
