//! What a person and a script are told: before, while it takes its time, and at the end.

use kube::ResourceExt;
use serde_json::{Value, json};

use super::{last, revoke};
use crate::{
    plugin::Person,
    scene::{SOON, Scene},
    support::{daypass, shared},
};

#[tokio::test]
async fn a_dry_run_lists_what_would_end_and_changes_nothing() {
    let here = shared();
    let scene = Scene::set(&here.stage, "revoke-dry").await;
    let granted = scene.granted("5m").await;
    let admin = Person::admin(&here.stage);
    let said = admin.kubectl(&["daypass", "revoke", "--class", "revoke-dry", "--dry-run"]).await;
    let until = granted.lease.spec.not_after();
    let line = format!(
        "revoke-dry/{}: class revoke-dry, service account revoke-dry/revoke-dry, pod revoke-dry-1 on node-1: open, valid until {until:.0}",
        granted.request.name_any()
    );
    assert_eq!((said.code, said.out), (0, format!("{line}\n1 credential would end (dry run: nothing was changed)\n")));
    let said = admin.kubectl(&["daypass", "revoke", "--class", "revoke-dry", "--dry-run", "-o", "json"]).await;
    let told: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        (&told["dryRun"], &told["waiting"], &told["leases"][0]["lease"]),
        (&json!(true), &json!(1), &json!(granted.lease.name_any()))
    );
    let lease = scene.leases().get(&granted.lease.name_any()).await.unwrap();
    assert_eq!(lease.metadata.resource_version, granted.lease.metadata.resource_version);
}

#[tokio::test]
async fn whoever_does_not_wait_is_told_what_still_lives_and_until_when_and_may_wait_again() {
    let here = shared();
    let scene = Scene::set(&here.stage, "revoke-wait").await;
    let granted = scene.granted("20s").await;
    let admin = Person::admin(&here.stage);
    let said = admin.kubectl(&["daypass", "revoke", "--class", "revoke-wait", "--yes", "--reason", "leak", "--timeout", "3s"]).await;
    let until = granted.lease.spec.not_after();
    let line = format!("0 proven dead, 1 still waiting (1 ExpiryOnly certificate valid until {until:.0}), 0 failed");
    assert_eq!((said.code, last(&said)), (75, line.as_str()), "{said:?}");
    scene.revoking(&granted, SOON).await;

    // Asked for again it only waits: what is on record stays as it is.
    let said = revoke(&admin, &["--class", "revoke-wait", "-o", "json"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let told: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&told["provenDead"], &told["waiting"], &told["failed"]), (&json!(1), &json!(0), &json!(0)));
    let lease = &told["leases"][0];
    assert_eq!(
        (&lease["standing"], &lease["proof"], &lease["reason"]),
        (&json!("Dead"), &json!("NotAfterPassed"), &json!("RevokedByPerson"))
    );
    assert_eq!(scene.leases().get(&granted.lease.name_any()).await.unwrap().spec.revoke.unwrap().reason, "leak");

    // And where everything is over, that is what is said.
    let said = revoke(&admin, &["--class", "revoke-wait"]).await;
    assert_eq!((said.code, last(&said)), (0, "0 proven dead, 0 still waiting, 0 failed"));
    assert!(said.err.contains("all 1 lease about class revoke-wait are closed"), "{said:?}");
}

#[tokio::test]
async fn what_is_opened_meanwhile_is_ended_too_and_a_person_learns_what_would_stop_it() {
    let here = shared();
    let scene = Scene::set(&here.stage, "revoke-more").await;
    let first = scene.granted("15s").await;
    let person = Person::admin(&here.stage);
    let more = async {
        scene.lease_when(&first, "asked to end", SOON, |lease| lease.spec.revoke.is_some()).await;
        scene.granted("10s").await
    };
    let (said, second) = tokio::join!(revoke(&person, &["--class", "revoke-more"]), more);
    assert_eq!((said.code, last(&said)), (0, "2 proven dead, 0 still waiting, 0 failed"), "{said:?}");
    assert!(said.err.contains("Only a change of policy keeps new ones away"), "{said:?}");
    for granted in [&first, &second] {
        let told = format!("revoke-more/{}: class revoke-more", granted.request.name_any());
        assert!(said.err.lines().any(|line| line.starts_with(&told) && line.ends_with("dead (NotAfterPassed)")), "line by line: {said:?}");
        assert!(scene.leases().get(&granted.lease.name_any()).await.unwrap().is_closed());
    }
}

#[tokio::test]
async fn whoever_interrupts_it_is_told_how_far_it_was_and_what_was_begun_goes_on() {
    let here = shared();
    let scene = Scene::set(&here.stage, "revoke-stop").await;
    let granted = scene.granted("15s").await;
    let person = Person::admin(&here.stage);
    let mut command = tokio::process::Command::new(daypass());
    command.args(["revoke", "--class", "revoke-stop", "--yes", "--reason", "leak"]).env("KUBECONFIG", person.kubeconfig).kill_on_drop(true);
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
    let child = command.spawn().unwrap();
    scene.revoking(&granted, SOON).await;
    let sent = tokio::process::Command::new("kill").args(["-s", "INT", &child.id().unwrap().to_string()]).status().await.unwrap();
    assert!(sent.success());
    let output = tokio::time::timeout(SOON, child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("0 proven dead, 1 still waiting (1 ExpiryOnly certificate valid until "), "{text}");
    scene.ended(&granted).await;
}

#[tokio::test]
async fn a_line_that_could_end_too_much_or_asks_nobody_ends_nothing() {
    let here = shared();
    let admin = Person::admin(&here.stage);
    for (args, problem) in [
        (&["--reason", "leak", "--yes"][..], "what shall end? Give at least one of --service-account"),
        (&["--class", "revoke-none", "--yes"], "--reason"),
        (&["--class", "revoke-none", "--yes", "--reason", " "], "say why"),
        (&["--pod", "orders-1", "--yes", "--reason", "leak"], "--pod orders-1: in which namespace?"),
        (&["--service-account", "system:serviceaccount:a:b", "-n", "a", "--yes", "--reason", "leak"], "give NAMESPACE/NAME"),
    ] {
        let said = admin.kubectl(&[&["daypass", "revoke"], args].concat()).await;
        assert!(said.code == 2 && said.err.contains(problem) && said.out.is_empty(), "{args:?}: {said:?}");
    }
    let said = revoke(&admin, &["--class", "revoke-none"]).await;
    assert_eq!((said.code, last(&said)), (0, "0 proven dead, 0 still waiting, 0 failed"));
    assert!(said.err.contains("closed ones included, is about class revoke-none. If you expected one, check the names"), "{said:?}");

    let scene = Scene::set(&here.stage, "revoke-unasked").await;
    let granted = scene.granted("1m").await;
    let said = admin.kubectl(&["daypass", "revoke", "--class", "revoke-unasked", "--reason", "leak"]).await;
    assert!(said.code == 2 && said.err.contains("look with --dry-run, then give --yes"), "{said:?}");
    assert!(scene.leases().get(&granted.lease.name_any()).await.unwrap().spec.revoke.is_none());
}
