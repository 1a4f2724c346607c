//! kill -9 before the API server hears of a write, and after it has done it.
//!
//! All points of a round share one kill: each life is held at its own write, then the operator dies with all of them in flight.

use std::time::Duration;

use devcluster::{
    proxy::{Action, Fault},
    wait,
};

use super::{
    lives::{Course, Life},
    rig::Rig,
    rounds::{Part, Round},
};

/// Long enough for restarts in the middle of a grant: none has to fail for them.
const GRANT_TTL: u64 = 20;
/// Long enough to have every life granted and its end asked for, short enough that all are held before a call is given up.
const END_TTL: u64 = 10;
/// No longer than a call of the operator is waited for.
const HELD_WITHIN: Duration = Duration::from_secs(5);
const SETTLES_WITHIN: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_before_and_after_every_write_it_leaves_nothing_live_and_finishes_what_it_began() {
    let rig = Rig::set(30).await;
    let courses = rig.courses().await;
    let points = [("before", Fault::Before(Action::Hang)), ("after", Fault::After(Action::Hang))];
    let mut lives = Vec::new();
    for (part, ttl) in [(Part::Grant, GRANT_TTL), (Part::End, END_TTL)] {
        for (title, fault) in &points {
            let title = format!("{title}-{part:?}").to_lowercase();
            lives.extend(killed(&rig, &courses, &Round { title: &title, fault, part, ttl }).await);
        }
    }
    rig.over(&lives, SETTLES_WITHIN).await;
    rig.each_was_granted_once(&lives).await;
    rig.audit().await;
}

/// Plays a round and kills the operator once each of its writes is held.
pub async fn killed(rig: &Rig, courses: &[Course], round: &Round<'_>) -> Vec<Life> {
    let killing = rig.play(courses, round, async || {
        // The write is done, or the API server has not heard of it; either way the operator knows nothing yet.
        let done = matches!(round.fault, Fault::After(_));
        let held = || rig.proxy.writes().iter().all(|write| write.code.is_none() && write.upstream.is_some() == done);
        wait::until("the writes to be held", HELD_WITHIN, || std::future::ready(held().then_some(()))).await.unwrap();
        rig.crash_and_restart().await;
    });
    killing.await
}
