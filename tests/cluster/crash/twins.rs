//! Two operators by accident: every invariant but counting holds.

use std::time::Duration;

use devcluster::{
    proxy::{Action, Fault, Script},
    wait,
};
use futures::future::join_all;
use stage::OperatorOptions;

use super::{
    lives::every_course,
    rig::Rig,
    rounds::{Part, Round},
};
use crate::support::daypass;

/// Lives of each course that both operators go for at once.
const TOGETHER: usize = 4;
const TTL: u64 = 14;
const SETTLES_WITHIN: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_operators_grant_once_and_one_that_wakes_late_changes_nothing() {
    let rig = Rig::set(15).await;
    let courses = rig.courses().await;
    let options =
        OperatorOptions { pod: "daypass-1".into(), args: vec!["--keep-per-identity".into(), "1000".into()], ..OperatorOptions::default() };
    let twin = rig.stage().operator(&daypass(), options).await.unwrap();
    twin.ready().await.unwrap();

    rig.proxy.play(Script::quiet());
    let everything = every_course().into_iter().cycle().take(TOGETHER * courses.len()).enumerate();
    let mut lives = join_all(everything.map(|(n, (form, end))| rig.live(format!("together-{n}"), form, end, TTL))).await;
    rig.over(&lives, SETTLES_WITHIN).await;

    // The first is held at each write of a grant. The second comes, grants and ends the same; only then do those writes go on.
    twin.stop().await;
    let round = Round { title: "late", fault: &Fault::Before(Action::Hang), part: Part::Grant, ttl: TTL };
    let late = rig.play(&courses, &round, async || {}).await;
    let held = rig.proxy.writes().len();
    twin.process.start_again().unwrap();
    rig.over(&late, SETTLES_WITHIN).await;
    rig.proxy.release();
    let arrived = || std::future::ready(rig.proxy.writes().iter().take(held).all(|entry| entry.upstream.is_some()).then_some(()));
    wait::until("the late writes to arrive", SETTLES_WITHIN, arrived).await.unwrap();

    lives.extend(late);
    rig.over(&lives, SETTLES_WITHIN).await;
    rig.each_was_granted_once(&lives).await;
    twin.stop().await;
    rig.audit().await;
}
