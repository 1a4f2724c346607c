//! Classes as decisions take them: judged whenever a class, an authority or the guard changes, and reported on.
//!
//! Writes class status, and through [`super::authorities`] the operator's own authorities and their published roots.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::SignedDuration;
use kube::ResourceExt;

use super::{
    Generation, Operator,
    authorities::{Authorities, Named, Unavailable, same_names},
};
use crate::{
    api::{
        Condition, CredentialClass, CredentialClassSpec,
        class::{Makes, TokenSpec, X509Spec},
        condition::{self, ConditionStatus},
        request::Revocation,
    },
    cluster::{
        ApiError, World,
        cache::{Cached, Key},
        records::ClassRecord,
    },
    core::{
        health::{Conditions, Health},
        revocation::{self, CEILING_WITHOUT_LIST},
        snapshot::{ClassFacts, GuardFacts},
    },
    issue::x509,
};

/// Every class that was judged.
#[derive(Default)]
pub struct Classes {
    /// By name: what was judged, and the result.
    judged: Mutex<HashMap<String, (Generation, ClassFacts)>>,
    /// The authorities that they name.
    pub authorities: Authorities,
}

impl Classes {
    /// What a decision takes of the class of this name.
    pub fn facts(&self, world: &World, name: &str) -> ClassFacts {
        let Some(record) = world.classes.get(&Key::new("", name)) else { return ClassFacts::Absent };
        match self.judged.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
            Some((generation, facts)) if *generation == generation_of(&record) => facts.clone(),
            _ => ClassFacts::Unjudged,
        }
    }

    /// Takes in what was judged. Whether anything is news; and whether some class is taken back faster or more slowly than before.
    fn replace(&self, judged: HashMap<String, (Generation, ClassFacts)>) -> (bool, bool) {
        let mut held = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        let news = *held != judged;
        let revocation = |(_, facts): &(Generation, ClassFacts)| match facts {
            ClassFacts::Ready { revocation, .. } => Some(revocation.clone()),
            _ => None,
        };
        let speed = judged.iter().any(|(name, now)| {
            let before = held.get(name).and_then(revocation);
            before.is_some() && revocation(now).is_some_and(|now| Some(now) != before)
        });
        *held = judged;
        (news, speed)
    }
}

fn generation_of(record: &ClassRecord) -> Generation {
    (record.object_uid().to_owned(), record.metadata.generation.unwrap_or_default())
}

/// What came of judging one class.
struct Judgement {
    facts: ClassFacts,
    /// Why it is not Ready: one word, and what to do.
    not_ready: Option<(String, String)>,
    /// Nobody has to edit the class: time or another object may cure it.
    passing: bool,
    warnings: Vec<String>,
}

impl Judgement {
    /// It cannot issue. `passing`: nobody has to edit it.
    fn not_ready(reason: &str, message: String, passing: bool) -> Self {
        let facts = ClassFacts::NotReady { reason: reason.to_owned(), message: message.clone() };
        Self { facts, not_ready: Some((reason.to_owned(), message)), passing, warnings: vec![] }
    }
}

/// So long a root is trusted after its authority was replaced, at least.
const LEAST_LEAF_MAX: SignedDuration = SignedDuration::from_mins(16);
/// For clocks that are behind.
const CLOCKS: SignedDuration = SignedDuration::from_mins(1);

/// Between two looks when nothing seems to have changed: authorities age, counts move.
const REFRESH: Duration = Duration::from_secs(15);

impl Operator {
    /// Judges every class whenever a class, an authority or the guard changes.
    pub async fn judge_classes(self: Arc<Self>) {
        loop {
            let _ = tokio::time::timeout(REFRESH, self.classes_changed.notified()).await;
            if !self.world.unsynced().is_empty() {
                continue;
            }
            let records = self.world.classes.list();
            let with_lists = self.authorities_with_lists();
            let named = self.named(&records, &with_lists);
            self.classes.authorities.refresh(&named, &self.world, &self.issuing, self.clock.now()).await;
            let same = same_names(&self.names_of(&records));
            let (_, live) = self.world.live();
            let (guard, mut ready) = (self.guard.facts(), 0);
            let mut verdicts = HashMap::new();
            for record in &records {
                let name = record.key().name;
                let mut judgement = self.judge(record, &with_lists);
                let signs = record.class.as_ref().is_ok_and(|class| class.spec.x509.is_some());
                let stuck = self.classes.authorities.problem().filter(|_| signs && judgement.not_ready.is_none());
                judgement.warnings.extend(stuck.map(|problem| format!("RootsNotPublished: {problem}")));
                judgement.warnings.extend(same.get(&name).into_iter().flatten().map(|other| {
                    format!("SameNameAsClass {other}: both classes give certificates of one authority the same names, so verifiers cannot tell them apart")
                }));
                ready += usize::from(matches!(judgement.facts, ClassFacts::Ready { .. }));
                verdicts.insert(name, (record.clone(), judgement));
            }
            let judged = verdicts.iter().map(|(name, (record, j))| (name.clone(), (generation_of(record), j.facts.clone()))).collect();
            let (news, speed) = self.classes.replace(judged);
            if news {
                self.wake_pending();
            }
            // How fast credentials of a class are taken back is a matter of policies.
            if speed {
                self.judge_everything();
            }
            for (name, (record, judgement)) in &verdicts {
                self.report_class(record, judgement, &guard, live.get(name).copied().unwrap_or_default()).await;
            }
            self.metrics.classes(records.len(), ready);
        }
    }

    /// What each authority is asked for.
    fn named(&self, records: &[Arc<ClassRecord>], with_lists: &BTreeMap<String, Option<i64>>) -> BTreeMap<String, Named> {
        let mut named: BTreeMap<String, Named> = BTreeMap::new();
        let classes = records.iter().filter_map(|record| record.class.as_ref().ok());
        for (class, x509) in classes.filter_map(|class| Some((class, class.spec.x509.as_ref()?))) {
            let (name, spec) = (x509.ca.name(), x509.ca.clone());
            let lists = with_lists.contains_key(&name);
            let asked = named.entry(name).or_insert(Named { spec, leaf_max: LEAST_LEAF_MAX, lists });
            asked.leaf_max = asked.leaf_max.max(longest(&class.spec) + CLOCKS);
        }
        // A class may have given more in earlier days.
        let now = self.clock.now();
        for lease in self.world.open_leases() {
            if let Some(x509) = &lease.spec.x509
                && let Some(asked) = named.get_mut(&x509.ca)
            {
                asked.leaf_max = asked.leaf_max.max(x509.not_after.duration_since(now) + CLOCKS);
            }
        }
        named
    }

    fn names_of(&self, records: &[Arc<ClassRecord>]) -> BTreeMap<String, BTreeSet<String>> {
        let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let classes = records.iter().filter_map(|record| record.class.as_ref().ok());
        for (class, spec) in classes.filter_map(|class| Some((class, class.spec.x509.as_ref()?))) {
            let name = class.name_any();
            let of_class = |text: &str| text.replace("{class}", &name);
            let parts = (
                spec.ca.name(),
                spec.trust_domain.clone(),
                spec.subject.as_ref().map(|s| of_class(&s.common_name)),
                spec.dns_names.iter().map(|n| of_class(n)).collect::<BTreeSet<_>>(),
            );
            names.entry(format!("{parts:?}")).or_default().insert(name);
        }
        names
    }

    fn judge(&self, record: &ClassRecord, with_lists: &BTreeMap<String, Option<i64>>) -> Judgement {
        let not_ready = Judgement::not_ready;
        let class = match &record.class {
            Ok(class) => class,
            Err(problem) => return not_ready("Unreadable", format!("this version cannot read the class: {problem}"), false),
        };
        if let Some(error) =
            [("default", &class.spec.ttl.default), ("max", &class.spec.ttl.max)].iter().find_map(|(f, t)| t.parse().err().map(|e| (f, e)))
        {
            return not_ready("InvalidTTL", format!("spec.ttl.{}: {}", error.0, error.1), false);
        }
        let x509 = match class.spec.makes() {
            Some(Makes::X509(x509)) => x509,
            Some(Makes::Token(token)) => return self.judge_account(&class.spec, token),
            None => return not_ready("NoCredential", "spec: give exactly one of x509 and serviceAccountToken".into(), false),
        };
        let longest = longest(&class.spec);
        if x509.crl.is_none() && longest.as_secs() > CEILING_WITHOUT_LIST as i64 {
            let message =
                format!("spec.ttl.max: more than {CEILING_WITHOUT_LIST}s needs spec.x509.crl: nothing else takes a certificate back");
            return not_ready("InvalidTTL", message, false);
        }
        if let Some(problem) = x509.crl.as_ref().and_then(|crl| bad_url(crl.url.as_deref()?)) {
            return not_ready("InvalidURL", format!("spec.x509.crl.url: {problem}"), false);
        }
        if let Err(problem) = x509::check(x509) {
            return not_ready("InvalidNames", format!("spec.{problem}"), false);
        }
        match self.classes.authorities.get(&x509.ca.name()) {
            Err(Unavailable { reason, message, momentary: true }) => {
                Judgement { facts: ClassFacts::Unjudged, not_ready: Some((reason.to_owned(), message)), passing: true, warnings: vec![] }
            }
            Err(Unavailable { reason, message, .. }) => not_ready(reason, message, true),
            Ok(loaded) if loaded.authority.not_after() < self.clock.now() + longest => {
                let message = format!(
                    "the certificate authority ends at {}, before a certificate of spec.ttl.max would: renew it, or lower spec.ttl.max",
                    loaded.authority.not_after()
                );
                not_ready("CaExpiring", message, true)
            }
            Ok(loaded) => match self.revocation_of(&class.spec, x509, with_lists) {
                Err(Unavailable { reason, message, momentary: true }) => Judgement {
                    facts: ClassFacts::Unjudged,
                    not_ready: Some((reason.to_owned(), message)),
                    passing: true,
                    warnings: vec![],
                },
                Err(Unavailable { reason, message, .. }) => not_ready(reason, message, true),
                Ok((revocation, warnings)) => Judgement {
                    facts: ClassFacts::Ready { spec: Box::new(class.spec.clone()), not_after: loaded.authority.not_after(), revocation },
                    not_ready: None,
                    passing: false,
                    warnings,
                },
            },
        }
    }

    /// How certificates of a class can be taken back, as its lists are published; with what to know about that.
    fn revocation_of(
        &self,
        spec: &CredentialClassSpec,
        x509: &X509Spec,
        with_lists: &BTreeMap<String, Option<i64>>,
    ) -> Result<(Revocation, Vec<String>), Unavailable> {
        if x509.crl.is_none() {
            return Ok((revocation::of_class(spec, None), vec![]));
        }
        let ca = x509.ca.name();
        let published = self.lists.standing(&ca, &self.world, &self.settings.namespace, self.clock.now())?;
        // Lists that are about to be good for longer are as slow already.
        let bound = published.max(with_lists.get(&ca).copied().flatten().unwrap_or_default());
        let stuck = self.lists.problem(&ca).map(|problem| format!("RevocationListStuck: {}", problem.message));
        Ok((revocation::of_class(spec, Some(bound)), stuck.into_iter().collect()))
    }

    /// Whether the service account can be assumed, and whether that gives anything that is not there for the taking anyway.
    fn judge_account(&self, spec: &CredentialClassSpec, token: &TokenSpec) -> Judgement {
        let whose = format!("{}/{}", token.namespace, token.name);
        if token.namespace == self.settings.namespace {
            let message = format!(
                "spec.serviceAccountToken.namespace: nobody assumes an account of {}, the namespace of Daypass itself",
                token.namespace
            );
            return Judgement::not_ready("OwnNamespace", message, false);
        }
        let Some(account) = self.world.service_accounts.get(&Key::new(&token.namespace, &token.name)) else {
            let message = format!("spec.serviceAccountToken: there is no service account {whose}: create it, or correct the name");
            return Judgement::not_ready("AccountMissing", message, true);
        };
        let mut warnings = vec![];
        if let Some(pod) = self.world.pod_of_account(&token.namespace, &token.name) {
            warnings.push(format!(
                "StandingAccess: pod {} runs as service account {whose} and holds a token of it as long as it runs: what this class lends for a while is there for the taking; keep the account for this class alone",
                pod.key.name
            ));
        }
        if let Some(secret) = account.json.pointer("/secrets/0/name").and_then(|name| name.as_str()) {
            warnings.push(format!(
                "StandingAccess: service account {whose} names Secret {secret}, which holds a token of it that never ends: delete it"
            ));
        }
        let revocation = revocation::of_class(spec, None);
        let facts = ClassFacts::Ready { spec: Box::new(spec.clone()), not_after: jiff::Timestamp::MAX, revocation };
        Judgement { facts, not_ready: None, passing: false, warnings }
    }

    async fn report_class(&self, record: &ClassRecord, judgement: &Judgement, guard: &GuardFacts, live: i64) {
        let Ok(class) = &record.class else {
            tracing::warn!(class = record.key().name, "this version cannot read the class: nothing is issued from it");
            return;
        };
        let held = class.status.clone().unwrap_or_default();
        let mut next = held.clone();
        next.observed_generation = record.metadata.generation;
        next.live = Some(live);
        next.warnings = judgement.warnings.iter().take(16).map(|w| condition::truncate(w, 512)).collect();
        let has_list = class.spec.x509.as_ref().is_some_and(|x509| x509.crl.is_some());
        // Where its list is not published, what the class said last stays: nothing is issued from it.
        match &judgement.facts {
            ClassFacts::Ready { revocation, .. } => next.revocation = Some(revocation.clone()),
            _ if !has_list => next.revocation = Some(revocation::of_class(&class.spec, None)),
            _ => {}
        }
        let open = guard_is_open(guard, &held.conditions);
        let differ = self.clocks_are_told_to_differ(&held.conditions);
        let (health, reason, message) = match (&judgement.not_ready, &open) {
            (Some((reason, message)), _) if judgement.passing => (Health::Reconciling, reason.as_str(), message.clone()),
            (Some((reason, message)), _) => (Health::Stalled, reason.as_str(), message.clone()),
            (None, Some(problem)) => (Health::Reconciling, "GuardNotInForce", format!("nothing is issued: {problem}")),
            (None, None) if differ => (Health::Reconciling, "ClocksDiffer", format!("nothing is issued: {CLOCKS_DIFFER}")),
            (None, None) => (Health::Ready, "Issuing", "credentials of this class can be issued".to_owned()),
        };
        let mut conditions = Conditions::new(&held.conditions, record.metadata.generation, self.clock.now());
        conditions.stand(health, reason, &message);
        match guard {
            GuardFacts::InForce { .. } => {
                conditions.set("GuardInForce", ConditionStatus::True, "Proven", "the API server refuses forged requesters");
            }
            GuardFacts::NotInForce { reason } => conditions.set("GuardInForce", ConditionStatus::False, "NotInForce", reason),
            // Not known at this moment is no news: what was known last stays, and a restart writes nothing.
            GuardFacts::Unknown { .. } => {}
        }
        let skew = differ.then_some(("ClocksDiffer", CLOCKS_DIFFER));
        conditions.alarm("ClocksAgree", skew, ("InStep", "the operator's clock and the API server's agree within 30 s"));
        let late = self.late.of(&record.key().name);
        let late = late.as_deref().map(|late| ("Overdue", late));
        conditions.alarm("EndsProven", late, ("InTime", "every credential of this class that ended was proven dead in time, or is by now"));
        next.conditions = conditions.finish();
        if next == held {
            return;
        }
        let updated = CredentialClass { status: Some(next), ..class.clone() };
        if let Err(error) = self.issuing.put_class_status(&updated).await
            && !matches!(error, ApiError::Conflict(_) | ApiError::NotFound(_))
        {
            tracing::warn!(class = record.key().name, %error, "cannot write the class's status; the next look tries again");
        }
    }
}

/// Why nothing is issued while the clocks differ, and what to do. Always the same words: how far they are apart is a metric.
const CLOCKS_DIFFER: &str = "the operator's clock and the API server's differ by more than 30 s: set the clock of the operator's node, or that of \
                             the API server. Ends go on meanwhile";

impl Operator {
    /// The clocks are known to differ, or were when that was told last and nothing is known now.
    fn clocks_are_told_to_differ(&self, held: &[Condition]) -> bool {
        match self.clock.server_offset() {
            Some(_) => self.clocks_differ(),
            None => held.iter().any(|c| c.type_ == "ClocksAgree" && c.status == ConditionStatus::False),
        }
    }
}

/// What is wrong with the guard. What is not known at this moment is no news: what the class said last stays, and a restart writes nothing.
fn guard_is_open(guard: &GuardFacts, held: &[Condition]) -> Option<String> {
    match guard {
        GuardFacts::InForce { .. } => None,
        GuardFacts::NotInForce { reason } => Some(reason.clone()),
        GuardFacts::Unknown { .. } => {
            held.iter().find(|c| c.type_ == "GuardInForce" && c.status == ConditionStatus::False).map(|c| c.message.clone())
        }
    }
}

/// Longest life of a credential of the class.
fn longest(spec: &CredentialClassSpec) -> SignedDuration {
    SignedDuration::from_secs(spec.ttl.max.parse().map_or(900, |max| max.as_secs() as i64))
}

/// What is wrong with the place of a revocation list. The schema refuses most of it.
fn bad_url(url: &str) -> Option<&'static str> {
    let scheme = url.starts_with("http://") || url.starts_with("https://");
    let printable = url.bytes().all(|byte| byte.is_ascii_graphic());
    let variables = url.replace("{issuer}", "").contains(['{', '}']);
    match (scheme && printable && url.len() <= 512, variables) {
        (false, _) => Some("it must begin with http:// or https:// and hold nothing but printable ASCII, 512 characters at most"),
        (_, true) => Some("the only variable is {issuer}, the id of the key that signs"),
        _ => None,
    }
}
