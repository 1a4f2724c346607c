//! What every process of the operator's account is built from: how it reaches the API server and who it is, and an operator with nothing
//! started yet.

use std::{path::PathBuf, sync::Arc};

use jiff::SignedDuration;
use kube::{Client, Config};

use super::AppError;
use crate::{
    cluster::{
        Clock, World,
        act::Writer,
        client,
        events::Events,
        guard::{self, Guard, spec_hash},
        identity::{self, OwnToken},
    },
    controller::{
        Operator, Settings, classes::Classes, lists::Lists, locks::Locks, notes::Notes, overdue::Late, policies::Policies, queue::Queue,
        slots::Slots, tokens::Tokens,
    },
    expr::Expressions,
    install::{OperatorName, guard as shipped},
    telemetry::Metrics,
};

/// Longest pause between two tries of an answer or a judgement.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(10);
/// The same for ends: they must be proven within 5 s of what can be.
const LONGEST_PAUSE_OF_ENDS: SignedDuration = SignedDuration::from_secs(3);
/// Where a kubelet mounts a pod's token.
const IN_CLUSTER_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Where a process stands, and who it is.
pub struct Ground {
    config: Config,
    clock: Arc<Clock>,
    token_file: Option<PathBuf>,
    /// Its token, as it was at the start, and who that is.
    pub own: OwnToken,
    /// The operator that it belongs to.
    pub name: OperatorName,
}

impl Ground {
    /// Finds it out from kubeconfig or pod; what is said wins.
    pub async fn find(token_file: Option<PathBuf>, namespace: Option<String>, account: Option<String>) -> Result<Self, AppError> {
        let config = client::infer().await.map_err(AppError::Kubeconfig)?;
        let token_file = token_file.or_else(|| token_file_of(&config));
        let own = identity::read(token_file.as_ref()).await?;
        let (_, own_account) = own.requester.service_account().unwrap_or_default();
        let name = OperatorName {
            namespace: namespace.unwrap_or_else(|| own.namespace.clone()),
            service_account: account.unwrap_or_else(|| own_account.to_owned()),
        };
        Ok(Self { config, clock: Arc::new(Clock::default()), token_file, own, name })
    }

    /// A client with connections of its own.
    pub fn client(&self) -> Result<Client, AppError> {
        self.client_for(self.config.clone())
    }

    fn client_for(&self, config: Config) -> Result<Client, AppError> {
        client::build(config, &self.clock).map_err(|error| AppError::Api { what: "cannot build a client", error })
    }

    /// What the guard is told, which sings at these API servers as well.
    pub fn guard(&self, servers: &[http::Uri]) -> guard::Settings {
        let (policy, binding) = shipped::shipped(&self.name);
        guard::Settings {
            config: self.config.clone(),
            servers: servers.to_vec(),
            token_file: self.token_file.clone(),
            shipped: (spec_hash(&policy), spec_hash(&binding)),
        }
    }

    /// An operator that does nothing yet.
    pub fn operator(&self, settings: Settings, guard: &guard::Settings) -> Result<Arc<Operator>, AppError> {
        // Sets of connections of their own: an end never waits behind a grant, and neither waits behind a watch.
        let (issuing, ending) = (self.client()?, self.client()?);
        let clock = self.clock.clone();
        let mut reviewers = vec![ending.clone()];
        for server in guard.servers.iter().filter(|server| **server != self.config.cluster_url) {
            let mut of_this_server = self.config.clone();
            of_this_server.cluster_url = server.clone();
            reviewers.push(self.client_for(of_this_server)?);
        }
        let expressions = Expressions::start(2)
            .map_err(|error| AppError::System { what: "cannot start the threads that evaluate expressions".into(), error })?;
        Ok(Arc::new(Operator {
            world: World::default(),
            guard: Guard::new(guard, clock.clone()),
            issuing: Writer::new(issuing.clone(), &settings.namespace),
            ending: Writer::new(ending, &settings.namespace),
            reviewers,
            tokens: Tokens::default(),
            expressions,
            policies: Policies::default(),
            classes: Classes::default(),
            lists: Lists::default(),
            locks: Locks::default(),
            late: Late::default(),
            slots: Slots::default(),
            events: Events::new(issuing, Some(self.own.requester.pod_name.clone()), clock.clone()),
            metrics: Arc::new(Metrics::default()),
            requests: Arc::new(Queue::new(clock.clone(), LONGEST_PAUSE)),
            leases: Arc::new(Queue::new(clock.clone(), LONGEST_PAUSE_OF_ENDS)),
            judging: Arc::new(Queue::new(clock.clone(), LONGEST_PAUSE)),
            watch_again: tokio::sync::watch::channel(0).0,
            notes: Notes::new(clock.now()),
            policies_changed: tokio::sync::Notify::new(),
            classes_changed: tokio::sync::Notify::new(),
            lists_changed: tokio::sync::Notify::new(),
            locks_changed: tokio::sync::Notify::new(),
            clock,
            settings,
        }))
    }
}

fn token_file_of(config: &Config) -> Option<PathBuf> {
    config.auth_info.token_file.as_ref().map(PathBuf::from).or_else(|| {
        let mounted = PathBuf::from(IN_CLUSTER_TOKEN);
        mounted.exists().then_some(mounted)
    })
}
