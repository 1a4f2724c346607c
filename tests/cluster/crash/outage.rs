//! The API server is away for longer than a credential lives.

use std::time::Duration;

use devcluster::{proxy::Script, wait};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};

use super::{
    lives::{Life, every_course},
    rig::Rig,
};

const TTL: u64 = 6;
/// How long after all ends the API server comes back.
const AND_MORE: SignedDuration = SignedDuration::from_secs(3);
/// Pauses between tries grow to this, so as long may the end take from then on.
const ENDS_WITHIN: Duration = Duration::from_secs(25);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ran_out_while_the_api_server_was_away_ends_when_it_is_back() {
    let rig = Rig::set(60).await;
    let server = rig.stage().cluster.process("kube-apiserver-0").unwrap();

    // Frozen: connections stay open, and nothing is answered.
    let frozen = live(&rig, "frozen").await;
    server.pause().await;
    outlast(&frozen).await;
    server.resume().await;
    rig.over(&frozen, ENDS_WITHIN).await;

    // Gone: connections are refused, and watches break.
    let gone = live(&rig, "gone").await;
    server.kill().await;
    outlast(&gone).await;
    server.start_again().unwrap();
    rig.stage().cluster.ready().await.unwrap();
    rig.over(&gone, ENDS_WITHIN).await;

    // And the operator issues again, without having been restarted.
    let after = live(&rig, "after").await;
    rig.over(&after, ENDS_WITHIN).await;
    rig.each_was_granted_once(&[frozen, gone, after].concat()).await;
    rig.audit().await;
}

/// A live grant for each course; those that are to be ended early have their end asked for.
async fn live(rig: &Rig, title: &str) -> Vec<Life> {
    rig.proxy.play(Script::quiet());
    let courses = every_course().into_iter().enumerate();
    join_all(courses.map(|(n, (form, end))| rig.live(format!("{title}-{n}"), form, end, TTL))).await
}

/// Waits until each of these has run out, and some more.
async fn outlast(lives: &[Life]) {
    let last = lives.iter().filter_map(|life| life.request.metadata.creation_timestamp.as_ref()).map(|made| made.0).max().unwrap();
    let over = last + SignedDuration::from_secs(TTL as i64) + AND_MORE;
    wait::until("the credentials to run out", Duration::from_secs(60), || std::future::ready((Timestamp::now() >= over).then_some(())))
        .await
        .unwrap();
}
