//! A round: one life for each write of the operator, each disturbed at that write in the same way.

use std::{ops::Range, time::Duration};

use daypass::api::{CredentialLease, EndReason, RequestState};
use devcluster::proxy::Fault;
use futures::future::join_all;
use kube::ResourceExt;

use super::{
    arming::Arming,
    lives::{Course, End, Life, Names},
    rig::Rig,
};

/// How often a round is tried, each time with twice the time to live.
const ATTEMPTS: u32 = 3;
/// How long a grant may take to come to one of its writes.
const REACHED_WITHIN: Duration = Duration::from_secs(60);

/// Which writes are disturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Those of grants.
    Grant,
    /// Those of ends.
    End,
}

impl Part {
    fn points(self, course: &Course) -> Range<usize> {
        match self {
            // However a life ends, its grant is the same.
            Self::Grant if course.end == End::Expired => 0..course.grant,
            Self::Grant => 0..0,
            Self::End => course.grant..course.writes.len(),
        }
    }
}

/// What is done to each of these writes.
pub struct Round<'a> {
    /// Begins the names of its lives.
    pub title: &'a str,
    /// What happens to the write.
    pub fault: &'a Fault,
    /// Which writes.
    pub part: Part,
    /// Seconds that a credential is asked for at first.
    pub ttl: u64,
}

impl Rig {
    /// Has a life at each write, until the fault has met all of them in one go; `then` follows each try. Returns all lives of all tries.
    ///
    /// Where the machine is slow a life may run out before its end is asked for, and takes another course: the next try gives more time.
    pub async fn play(&self, courses: &[Course], round: &Round<'_>, then: impl AsyncFn()) -> Vec<Life> {
        let mut lives = Vec::new();
        for attempt in 0..ATTEMPTS {
            let arming = Arming::default();
            self.proxy.play(arming.script(round.fault));
            let tried = self.attempt(courses, round, attempt, &arming).await;
            let limit = Duration::from_secs((round.ttl << attempt) + 10);
            let met = tokio::time::timeout(limit, self.proxy.reached(tried.len())).await.is_ok();
            then().await;
            lives.extend(tried);
            if met {
                return lives;
            }
            eprintln!("{}: too slow for {}; once more with more time", round.title, arming.left());
        }
        panic!("{}: not all writes came in {ATTEMPTS} tries\n{}", round.title, self.operator.process.log_tail(30));
    }

    async fn attempt(&self, courses: &[Course], round: &Round<'_>, attempt: u32, arming: &Arming) -> Vec<Life> {
        let points = courses.iter().flat_map(|course| round.part.points(course).map(move |n| (course, n)));
        let begun = points.enumerate().map(async |(number, (course, n))| {
            let names = Names::new(&self.pod, &format!("{}-{attempt}-{number}", round.title));
            self.begin(course, n, names, round.ttl << attempt, arming).await
        });
        if round.part == Part::End {
            return join_all(begun).await;
        }
        let mut lives = Vec::new();
        for life in begun {
            lives.push(life.await);
            // The next life's create must not be taken for this one's.
            self.reached(lives.len(), arming).await;
        }
        lives
    }

    /// Begins a life that is to meet the fault at the n-th of its writes.
    async fn begin(&self, course: &Course, n: usize, mut names: Names, ttl: u64, arming: &Arming) -> Life {
        // A lease's name follows from the request's UID; what is written to it under that name comes only at the end.
        let later = course.writes[n].follows_the_uid();
        if !later {
            arming.arm(&course.writes, n, &names);
        }
        let request = self.ask(&self.pod, &mut names, course.form, ttl).await;
        if later {
            arming.arm(&course.writes, n, &names);
        }
        let life = Life { names, request, end: course.end };
        if n >= course.grant {
            self.end(&self.pod, &life).await;
        }
        life
    }

    /// Every one of these was granted, once, and ended: none had to fail for what happened to the operator.
    pub async fn each_was_granted_once(&self, lives: &[Life]) {
        let sight = self.sight().await.unwrap();
        for life in lives {
            let uid = life.request.uid().unwrap();
            let abandoned =
                |lease: &CredentialLease| lease.status.as_ref().is_some_and(|status| status.reason == Some(EndReason::Abandoned));
            let leases = sight.after.iter().filter(|lease| lease.spec.request_uid == uid && !abandoned(lease)).count();
            assert_eq!(leases, 1, "leases of {}", life.names.request);
            let request = sight.requests.iter().find(|request| request.uid().as_ref() == Some(&uid));
            let state = request.map(|request| request.state());
            let wanted = (life.end != End::GivenBack).then_some(RequestState::Ended);
            assert_eq!(state, wanted, "{}: {:?}", life.names.request, request.and_then(|request| request.status.as_ref()));
        }
    }

    /// Waits until so many armed writes have come.
    pub async fn reached(&self, n: usize, arming: &Arming) {
        let reached = tokio::time::timeout(REACHED_WITHIN, self.proxy.reached(n)).await;
        assert!(reached.is_ok(), "not all writes came; left: {}\n{}", arming.left(), self.operator.process.log_tail(30));
    }
}
