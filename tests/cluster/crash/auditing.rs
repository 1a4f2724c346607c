//! An auditor that looks all the time, from the first grant to the end of the test.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::SignedDuration;
use kube::Client;
use stage::{
    Stage,
    auditor::{Auditor, Sight},
};
use tokio::task::JoinHandle;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(150);

/// A running audit.
pub struct Auditing {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
    client: Client,
    namespace: String,
}

struct Seen {
    auditor: Auditor,
    violations: BTreeSet<String>,
    looks: usize,
}

impl Auditing {
    /// Begins to look. An ending is late after `bound`.
    pub fn begin(stage: &Stage, bound: SignedDuration) -> Self {
        let namespace = stage.operator_name().namespace.clone();
        let client = stage.cluster.admin().unwrap();
        let seen = Arc::new(Mutex::new(Seen { auditor: Auditor::new(bound), violations: BTreeSet::new(), looks: 0 }));
        let (noted, looking, ledger) = (seen.clone(), client.clone(), namespace.clone());
        let task = tokio::spawn(async move {
            loop {
                // While the API server is away there is nothing to see.
                if let Ok(sight) = Sight::take(&looking, &ledger).await {
                    let mut seen = noted.lock().unwrap();
                    let found = seen.auditor.judge(&sight);
                    seen.violations.extend(found);
                    seen.looks += 1;
                }
                tokio::time::sleep(EVERY).await;
            }
        });
        Self { seen, task, client, namespace }
    }

    /// Looks a last time, when everything should be over, and fails the test over whatever was ever found.
    pub async fn end(self) {
        self.task.abort();
        let sight = Sight::take(&self.client, &self.namespace).await.unwrap();
        let mut seen = self.seen.lock().unwrap();
        let found = seen.auditor.judge_the_end(&sight);
        seen.violations.extend(found);
        assert!(seen.looks > 10, "the auditor looked only {} times", seen.looks);
        assert!(!sight.before.is_empty(), "nothing was ever granted: nothing was tested");
        assert!(seen.violations.is_empty(), "the auditor found: {:#?}", seen.violations);
    }
}

impl Drop for Auditing {
    fn drop(&mut self) {
        self.task.abort();
    }
}
