//! The operator lives on while its writes fail: the reply is lost after the write was done, or the API server answers without doing it.

use std::time::Duration;

use devcluster::proxy::{Action, Fault};

use super::{
    rig::Rig,
    rounds::{Part, Round},
};

/// Long enough that a grant which is tried again does not run out first, on however busy a machine.
const GRANT_TTL: u64 = 20;
const END_TTL: u64 = 12;
const SETTLES_WITHIN: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lost_reply_and_no_refusal_of_any_write_costs_a_grant_or_leaves_one_live() {
    let rig = Rig::set(15).await;
    let courses = rig.courses().await;
    let mut faults = vec![("lost".to_owned(), Fault::After(Action::Drop)), ("dropped".to_owned(), Fault::Before(Action::Drop))];
    faults.extend([409, 429, 500, 503].map(|code| (format!("code{code}"), Fault::Before(Action::Answer(code)))));
    let mut lives = Vec::new();
    for (title, fault) in &faults {
        for (part, ttl) in [(Part::Grant, GRANT_TTL), (Part::End, END_TTL)] {
            let title = format!("{title}-{part:?}").to_lowercase();
            lives.extend(rig.play(&courses, &Round { title: &title, fault, part, ttl }, async || {}).await);
        }
    }
    rig.over(&lives, SETTLES_WITHIN).await;
    rig.each_was_granted_once(&lives).await;
    rig.audit().await;
}
