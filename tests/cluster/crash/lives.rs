//! Lives of requests: what each asks for and how it ends, what the operator writes for it, and what it came to.

use std::time::Duration;

use daypass::{
    api::{AccessRequest, Delivery, RequestState},
    core::names::{bound_secret_name, lease_name},
    issue::seal::OpeningKey,
};
use devcluster::{
    proxy::{Call, Script},
    wait,
};
use futures::future::join_all;
use http::Method;
use kube::ResourceExt;
use serde_json::json;
use stage::{Csr, Pod, auditor::Sight};

use super::rig::{CLASS, Rig};

/// Seconds that an undisturbed life with a certificate is given.
const COURSE_TTL: u64 = 6;

/// How a grant ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its time runs out.
    Expired,
    /// Its pod deletes the request.
    GivenBack,
    /// A person revokes it.
    Revoked,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Of which class.
    pub class: &'static str,
    /// Delivered how.
    pub delivery: Delivery,
}

/// Certificates in both ways.
pub const CERTIFICATES: [Form; 2] = [Form { class: CLASS, delivery: Delivery::CSR }, Form { class: CLASS, delivery: Delivery::Secret }];

/// One write of the operator, with the names of its life left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The method.
    pub method: Method,
    /// The path, with `{namespace}`, `{request}`, `{secret}`, `{lease}` and `{bound}` for those of the life.
    pub path: String,
}

impl Write {
    /// Creates carry their name in the body alone, which the proxy does not read.
    pub fn is_anonymous(&self) -> bool {
        self.method == Method::POST
    }

    /// It names what is called after the request's UID.
    pub fn follows_the_uid(&self) -> bool {
        self.path.contains("{lease}") || self.path.contains("{bound}")
    }
}

/// What the operator writes in an undisturbed life of one form that ends in one way.
pub struct Course {
    /// What is asked for.
    pub form: Form,
    /// How it ends.
    pub end: End,
    /// The writes of its grant.
    pub grant: usize,
    /// All writes, in order.
    pub writes: Vec<Write>,
}

impl Course {
    /// It was ended as it was meant to be, in time for every write: before its time the lease is marked, and who can be told is told.
    fn is_whole(&self) -> bool {
        let written = |path: &str| self.writes.iter().filter(|write| write.path.ends_with(path)).count();
        let wanted = match self.end {
            End::Expired => (1, 2),
            End::GivenBack => (2, 1),
            End::Revoked => (2, 3),
        };
        // A look at whether what a token is bound to is there reads like its deletion.
        let deleted = written("/secrets/{bound}");
        (written("/{lease}/status"), written("/{request}/status")) == wanted && deleted <= 1
    }
}

/// Names of one life.
#[derive(Clone, Debug)]
pub struct Names {
    pub namespace: String,
    pub request: String,
    /// Known once the request has a UID: those of the first attempt.
    pub lease: String,
    pub bound: String,
}

impl Names {
    /// Of a request that this pod is going to make.
    pub fn new(pod: &Pod, request: &str) -> Self {
        let unknown = || "unknown yet".to_owned();
        Self { namespace: pod.namespace.clone(), request: request.to_owned(), lease: unknown(), bound: unknown() }
    }

    /// The path of this life.
    pub fn fill(&self, path: &str) -> String {
        let path = path.replace("{namespace}", &self.namespace).replace("{secret}", &self.secret()).replace("{request}", &self.request);
        path.replace("{lease}", &self.lease).replace("{bound}", &self.bound)
    }

    /// This call as a write of any life, if it is one of this life or a create, which bears no name.
    fn write(&self, call: &Call) -> Option<Write> {
        let secret = self.secret();
        let (mut ours, mut path) = (call.method == Method::POST, Vec::new());
        for segment in call.path.split('/') {
            let (named, general) = match segment {
                segment if segment == self.namespace => (false, "{namespace}"),
                segment if segment == secret => (true, "{secret}"),
                segment if segment == self.request => (true, "{request}"),
                segment if segment == self.lease => (true, "{lease}"),
                segment if segment == self.bound => (true, "{bound}"),
                other => (false, other),
            };
            ours |= named;
            path.push(general);
        }
        ours.then(|| Write { method: call.method.clone(), path: path.join("/") })
    }

    fn secret(&self) -> String {
        format!("daypass-{}", self.request)
    }
}

/// A request that was made.
#[derive(Clone)]
pub struct Life {
    pub names: Names,
    pub request: AccessRequest,
    pub end: End,
}

/// Writes that belong to lives of requests: leases, statuses of requests, tenants' Secrets, tokens and looks at whether they are accepted. What
/// the operator keeps for itself, says in Events and asks as a canary is not among them.
pub fn is_of_a_life(call: &Call) -> bool {
    let home = call.path.contains("/namespaces/daypass-system/");
    let resource = |name: &str| call.path.split('/').any(|segment| segment == name);
    let of_a_token = resource("tokenreviews") || (resource("serviceaccounts") && call.path.ends_with("/token"));
    let of_a_life = of_a_token || resource("credentialleases") || (resource("accessrequests") && call.path.ends_with("/status"));
    of_a_life || (resource("secrets") && !home)
}

impl Rig {
    /// A pod asks, under a name that is known before.
    pub async fn ask(&self, pod: &Pod, names: &mut Names, form: Form, ttl: u64) -> AccessRequest {
        let mut spec = json!({"className": form.class, "ttl": format!("{ttl}s")});
        match form.delivery {
            Delivery::CSR => spec["csr"] = Csr::new().unwrap().pem.into(),
            // Nobody opens it: every token that was minted is known from the reply to its mint.
            Delivery::Sealed => spec["sealTo"] = OpeningKey::generate().unwrap().public_base64().into(),
            Delivery::Secret => {}
        }
        let metadata = json!({"name": names.request, "namespace": names.namespace});
        let body = json!({"apiVersion": "daypass.dev/v1alpha1", "kind": "AccessRequest", "metadata": metadata, "spec": spec});
        let path = format!("/apis/daypass.dev/v1alpha1/namespaces/{}/accessrequests", names.namespace);
        let asked = wait::until("the request to be taken", Duration::from_secs(30), || async {
            let request =
                http::Request::post(&path).header("content-type", "application/json").body(body.to_string().into_bytes()).unwrap();
            match pod.client.request::<AccessRequest>(request).await {
                // An API server that has just come back does not know our kinds for a moment.
                Err(kube::Error::Api(status)) if status.code == 503 => None,
                other => Some(other),
            }
        });
        let made = asked.await.unwrap().unwrap();
        let uid = made.uid().unwrap();
        (names.lease, names.bound) = (lease_name(&self.installation, &uid, 0), bound_secret_name(&self.installation, &uid, 0));
        made
    }

    /// Waits for the answer, and then does what ends the life.
    pub async fn end(&self, pod: &Pod, life: &Life) {
        let answered = pod.answer(&life.request).await.unwrap_or_else(|error| panic!("{error}\n{}", self.operator.process.log_tail(60)));
        let granted = answered.status.as_ref().is_some_and(|status| status.credential.is_some());
        assert!(granted, "{}: {:?}", life.names.request, answered.status);
        match life.end {
            End::Expired => {}
            End::GivenBack => drop(pod.requests().delete(&life.names.request, &Default::default()).await.unwrap()),
            End::Revoked => self.revoke(&life.names.lease).await,
        }
    }

    /// A life that is granted, up to what ends it.
    pub async fn live(&self, name: String, form: Form, end: End, ttl: u64) -> Life {
        let mut names = Names::new(&self.pod, &name);
        let request = self.ask(&self.pod, &mut names, form, ttl).await;
        let life = Life { names, request, end };
        self.end(&self.pod, &life).await;
        life
    }

    /// Waits until every one of these lives is over: its request finished or gone, its lease closed or never made.
    pub async fn over(&self, lives: &[Life], limit: Duration) {
        let over = |sight: &Sight, uid: &str| {
            let finished = sight.requests.iter().all(|r| r.uid().as_deref() != Some(uid) || r.state().is_terminal());
            finished && sight.after.iter().all(|lease| lease.spec.request_uid != uid || lease.is_closed())
        };
        self.all(lives, "every life to be over", limit, over).await;
    }

    /// Waits until every one of these enjoys what it asked for.
    pub async fn granted(&self, lives: &[Life], limit: Duration) {
        let active =
            |sight: &Sight, uid: &str| sight.requests.iter().any(|r| r.uid().as_deref() == Some(uid) && r.state() == RequestState::Active);
        self.all(lives, "every life to be granted", limit, active).await;
    }

    /// Waits until none of these is waiting for a grant or enjoys one: what was granted is at least being ended.
    pub async fn none_live(&self, lives: &[Life], limit: Duration) {
        let live = |state| matches!(state, RequestState::Pending | RequestState::Active);
        let dying = |sight: &Sight, uid: &str| {
            let told = sight.requests.iter().all(|r| r.uid().as_deref() != Some(uid) || !live(r.state()));
            told && sight.after.iter().all(|lease| lease.spec.request_uid != uid || lease.state().is_some())
        };
        self.all(lives, "every grant to be ended", limit, dying).await;
    }

    async fn all(&self, lives: &[Life], what: &str, limit: Duration, there: impl Fn(&Sight, &str) -> bool) {
        let left = |sight: &Sight| -> Vec<String> {
            let not_there = lives.iter().filter(|life| !there(sight, &life.request.uid().unwrap()));
            not_there.map(|life| life.names.request.clone()).collect()
        };
        let look = || async { self.sight().await.ok().filter(|sight| left(sight).is_empty()) };
        if let Err(error) = wait::until(what, limit, look).await {
            let left = left(&self.sight().await.unwrap());
            panic!("{error}: not {left:?}\n{}", self.operator.process.log_tail(60));
        }
    }

    /// What the operator writes in each course of a life with a certificate, seen at the proxy.
    pub async fn courses(&self) -> Vec<Course> {
        self.courses_of(&CERTIFICATES, COURSE_TTL).await
    }

    /// The same of lives of these forms that are given so many seconds.
    pub async fn courses_of(&self, forms: &[Form], ttl: u64) -> Vec<Course> {
        for attempt in 0..3 {
            let courses = self.watch_courses(forms, ttl, attempt).await;
            if courses.iter().all(Course::is_whole) {
                return courses;
            }
        }
        panic!("three times a grant ran out before it could be ended otherwise")
    }

    async fn watch_courses(&self, forms: &[Form], ttl: u64, attempt: u32) -> Vec<Course> {
        self.proxy.play(Script::counting(is_of_a_life));
        let (mut lives, mut courses) = (Vec::new(), Vec::new());
        for (form, end) in every_end(forms) {
            // One after the other: creates carry no name that the proxy could read.
            let begun = self.proxy.writes().len();
            let mut names = Names::new(&self.pod, &format!("course-{attempt}-{}", lives.len()));
            let request = self.ask(&self.pod, &mut names, form, ttl << attempt).await;
            self.pod.answer(&request).await.unwrap();
            let writes: Vec<Write> = self.proxy.writes().drain(begun..).filter_map(|entry| names.write(&entry.call)).collect();
            courses.push(Course { form, end, grant: writes.len(), writes });
            lives.push(Life { names, request, end });
        }
        let granted = self.proxy.writes().len();
        join_all(lives.iter().map(|life| self.end(&self.pod, life))).await;
        self.over(&lives, Duration::from_secs(60 + ttl)).await;
        for (course, life) in courses.iter_mut().zip(&lives) {
            let named = self.proxy.writes().drain(granted..).filter_map(|entry| life.names.write(&entry.call)).collect::<Vec<_>>();
            course.writes.extend(named.into_iter().filter(|write| !write.is_anonymous()));
        }
        courses
    }
}

/// Certificates in both ways with every end.
pub fn every_course() -> Vec<(Form, End)> {
    every_end(&CERTIFICATES)
}

fn every_end(forms: &[Form]) -> Vec<(Form, End)> {
    let ends = [End::Expired, End::GivenBack, End::Revoked];
    forms.iter().flat_map(|form| ends.map(|end| (*form, end))).collect()
}
