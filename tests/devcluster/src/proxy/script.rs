//! What the proxy does to which write.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use http::Method;

/// A request as the proxy sees it. Bodies and credentials are passed on unread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// The path.
    pub path: String,
    /// The query, without its question mark.
    pub query: Option<String>,
    /// What the client calls itself.
    pub user_agent: String,
}

impl Call {
    /// Whether it is meant to change something. A dry run is a write here: a fault may hit it as well.
    pub fn is_write(&self) -> bool {
        [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(&self.method)
    }

    /// Whether its query asks for a dry run. One asked for in a body does not show.
    pub fn dry_run(&self) -> bool {
        self.query.iter().any(|query| query.split('&').any(|pair| pair == "dryRun=All"))
    }
}

/// What happens to one write.
#[derive(Clone)]
pub enum Action {
    /// The connection closes without an answer.
    Drop,
    /// The proxy answers with this code and a fitting Status, whatever the API server said.
    Answer(u16),
    /// It goes on, late.
    Delay(Duration),
    /// It goes on when [`super::Proxy::release`] is called.
    Hang,
    /// This is done, and then the connection closes without an answer.
    Call(Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>),
}

impl Action {
    /// Calls this, for instance to kill the operator, and then closes the connection without an answer.
    pub fn call<F, Done>(hook: F) -> Self
    where
        F: Fn() -> Done + Send + Sync + 'static,
        Done: Future<Output = ()> + Send + 'static,
    {
        Self::Call(Arc::new(move || Box::pin(hook())))
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drop => f.write_str("Drop"),
            Self::Answer(code) => write!(f, "Answer({code})"),
            Self::Delay(time) => write!(f, "Delay({time:?})"),
            Self::Hang => f.write_str("Hang"),
            Self::Call(_) => f.write_str("Call"),
        }
    }
}

/// When it happens.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Instead of forwarding, or, for `Delay` and `Hang`, before.
    Before(Action),
    /// After the API server has answered, so that what it did is done.
    After(Action),
}

/// Which writes are counted, and what happens to the n-th of them.
pub struct Script {
    counts: Box<dyn Fn(&Call) -> bool + Send + Sync>,
    faults: BTreeMap<usize, Fault>,
}

impl Script {
    /// Counts the writes for which this is true, and disturbs none.
    pub fn counting(matches: impl Fn(&Call) -> bool + Send + Sync + 'static) -> Self {
        Self { counts: Box::new(matches), faults: BTreeMap::new() }
    }

    /// Counts all writes, and disturbs none.
    pub fn quiet() -> Self {
        Self::counting(|_| true)
    }

    /// This happens before the n-th counted write, from 1, is forwarded.
    #[must_use]
    pub fn before(mut self, n: usize, action: Action) -> Self {
        self.faults.insert(n, Fault::Before(action));
        self
    }

    /// This happens after the n-th counted write, from 1, was done.
    #[must_use]
    pub fn after(mut self, n: usize, action: Action) -> Self {
        self.faults.insert(n, Fault::After(action));
        self
    }

    /// Whether this call is counted.
    pub(super) fn counts(&self, call: &Call) -> bool {
        call.is_write() && (self.counts)(call)
    }

    /// What happens to the n-th.
    pub(super) fn fault(&self, n: usize) -> Option<Fault> {
        self.faults.get(&n).cloned()
    }
}
