//! `daypass lock` and `daypass unlock`: as people with rights of their own, with what scripts and people read, and the page about it.

use daypass::api::{AccessLock, EndReason};
use devcluster::{Options, wait};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use stage::OperatorOptions;

use super::ends::may_ask_again;
use crate::{
    page::{blocks_of, run},
    plugin::Person,
    pods::Said,
    scene::{SOON, Scene},
    support::{daypass, private, shared},
};

const PAGE: &str = "docs/locks.md";

fn last(said: &Said) -> &str {
    said.out.lines().last().unwrap_or_default()
}

#[tokio::test]
async fn a_dry_run_lists_what_would_end_and_places_nothing() {
    let here = shared();
    let scene = Scene::set(&here.stage, "locks-dry").await;
    let granted = scene.granted("5m").await;
    let admin = Person::admin(&here.stage);
    let said = admin.kubectl(&["daypass", "lock", "-n", "locks-dry", "--image", "registry.example/other", "--dry-run"]).await;
    assert_eq!((said.code, last(&said)), (0, "0 credentials would end (dry run: nothing was changed)"), "another image: {said:?}");
    let said = admin.kubectl(&["daypass", "lock", "--pod", "locks-dry/locks-dry-1", "--dry-run"]).await;
    let line = format!("locks-dry/{}: class locks-dry, service account locks-dry/locks-dry", granted.request.name_any());
    assert!(said.code == 0 && said.out.starts_with(&line), "{said:?}");
    assert_eq!(last(&said), "1 credential would end (dry run: nothing was changed)");
    let lease = scene.leases().get(&granted.lease.name_any()).await.unwrap();
    assert_eq!(lease.metadata.resource_version, granted.lease.metadata.resource_version);
}

#[tokio::test]
async fn a_person_locks_waits_for_the_proof_and_lifts_under_their_own_name() {
    let here = shared();
    let scene = Scene::set(&here.stage, "locks-lena").await;
    let granted = scene.granted("25s").await;
    let lena = Person::named(&here.stage, "lena");
    let args = ["daypass", "lock", "-n", "locks-lena", "--for", "2h", "--reason", "key leaked", "--name", "locks-lena", "--yes"];
    let said = lena.kubectl(&args).await;
    assert!(said.code == 77 && said.err.contains("ClusterRole daypass-locker"), "{said:?}");
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "lena-locks"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "daypass-locker"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "lena"}],
    });
    here.stage.platform(binding).await.unwrap();
    wait::until("the binding to count", SOON, || async {
        (lena.kubectl(&["auth", "can-i", "create", "accesslocks.daypass.dev"]).await.code == 0).then_some(())
    })
    .await
    .unwrap();

    let brief = lena.kubectl(&[&args[..], &["--timeout", "3s"]].concat()).await;
    let until = granted.lease.spec.not_after();
    assert_eq!(brief.code, 75, "{brief:?}");
    assert_eq!(last(&brief), format!("0 proven dead, 1 still waiting (1 ExpiryOnly certificate valid until {until:.0}), 0 failed"));
    assert!(brief.err.contains("To lift it before: daypass unlock locks-lena"), "{brief:?}");
    let lock = Api::<AccessLock>::all(scene.admin.clone()).get("locks-lena").await.unwrap();
    assert_eq!((lock.spec.by.as_str(), lock.spec.reason.as_str()), ("lena", "key leaked"));
    let again = lena.kubectl(&args).await;
    assert!(again.code == 1 && again.err.contains("there is an AccessLock of this name already"), "{again:?}");

    // A second lock of the same finds nothing live any more, and waits for what the first one ended no longer.
    assert_eq!(scene.ended(&granted).await.reason, EndReason::Locked);
    let lifted = lena.kubectl(&["daypass", "unlock", "locks-lena"]).await;
    assert!(lifted.code == 0 && lifted.out.contains("AccessLock locks-lena is lifted; lena placed it"), "{lifted:?}");
    may_ask_again(&scene, &scene.pod).await;
    let gone = lena.kubectl(&["daypass", "unlock", "locks-lena"]).await;
    assert!(gone.code == 1 && gone.err.contains("there is no AccessLock locks-lena"), "{gone:?}");
    wait::until("people to be told", SOON, || async {
        let events = lena_events(&here.stage).await;
        events.contains("lifted before its end").then_some(())
    })
    .await
    .unwrap();
}

/// Events about locks, as an administrator sees them.
async fn lena_events(stage: &stage::Stage) -> String {
    let output =
        stage.cluster.kubectl(["get", "events", "-A", "--field-selector", "reason=Lifted,involvedObject.name=locks-lena"]).await.unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn whoever_waits_is_told_when_everything_is_dead_and_scripts_read_one_object() {
    let here = shared();
    let scene = Scene::set(&here.stage, "locks-wait").await;
    let granted = scene.granted("15s").await;
    let admin = Person::admin(&here.stage);
    let said =
        admin.kubectl(&["daypass", "lock", "--class", "locks-wait", "--for", "10m", "--reason", "drill", "--yes", "-o", "json"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let told: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&told["provenDead"], &told["waiting"], &told["failed"]), (&json!(1), &json!(0), &json!(0)));
    assert_eq!((&told["leases"][0]["standing"], &told["leases"][0]["reason"]), (&json!("Dead"), &json!("Locked")));
    assert_eq!(told["leases"][0]["lease"], json!(granted.lease.name_any()));
    let name = told["lock"].as_str().unwrap();
    assert!(name.starts_with("lock-"), "{name}");
    assert_eq!(admin.kubectl(&["daypass", "unlock", name]).await.code, 0);
}

#[tokio::test]
async fn a_line_that_could_lock_too_much_or_asks_nobody_locks_nothing() {
    let here = shared();
    let admin = Person::admin(&here.stage);
    let why = ["--reason", "drill"];
    for (args, problem) in [
        (&["--for", "1h", "--yes"][..], "what shall be locked? Give at least one of --service-account"),
        (&["--everything", "--for", "1h"], "--everything locks the whole cluster"),
        (&["--everything", "--for", "1h", "--yes", "--node", "a"], "cannot be used with"),
        (&["--node", "nowhere", "--yes"], "--for"),
        (&["--node", "nowhere", "--for", "1h", "--until", "2099-01-01T00:00:00Z", "--yes"], "cannot be used with"),
        (&["--node", "nowhere", "--until", "2020-01-01T00:00:00Z", "--yes"], "is over"),
        (&["--node", "nowhere", "--for", "0s", "--yes"], "is no length of time"),
        (&["--pod", "orders-1", "--for", "1h", "--yes"], "in which namespace?"),
        (&["--node", "nowhere", "--for", "1h"], "standard input is not a terminal"),
    ] {
        let said = admin.kubectl(&[&["daypass", "lock"], args, &why].concat()).await;
        assert!(said.code == 2 && said.err.contains(problem) && said.out.is_empty(), "{args:?}: {said:?}");
    }
    let said = admin.kubectl(&["daypass", "lock", "--node", "*", "--for", "1h", "--reason", "drill", "--yes"]).await;
    assert!(said.code == 1 && said.err.contains("spec.match.nodes[0]"), "{said:?}");
    let said = admin.kubectl(&["daypass", "lock", "--pod", "default/nobody", "--for", "1h", "--reason", "drill", "--yes"]).await;
    assert!(said.code == 1 && said.err.contains("there is no pod default/nobody"), "{said:?}");
}

#[tokio::test]
async fn every_command_of_the_page_does_what_it_says() {
    let private = private(Options::default()).await;
    let stage = &private.stage;
    let operator = stage.operator(&daypass(), OperatorOptions::default()).await.unwrap();
    operator.ready().await.unwrap();
    let orders = Scene::with(stage, "shop", "orders", json!({}), json!({})).await;
    let billing = Scene::with(stage, "shop", "billing", json!({}), json!({})).await;
    let [program, alone] = blocks_of(PAGE, "Lock").try_into().unwrap();
    let (held, spared) = (orders.granted("15s").await, billing.granted("20s").await);
    let said = run(stage, &program).await;
    assert!(said.out.contains("1 credential would end") && said.out.ends_with("1 proven dead, 0 still waiting, 0 failed\n"), "{said:?}");
    assert_eq!(orders.ended(&held).await.reason, EndReason::Locked);
    assert!(
        billing.leases().get(&spared.lease.name_any()).await.unwrap().status.is_none_or(|status| status.lock.is_none()),
        "another account"
    );
    let more = billing.granted("15s").await;
    run(stage, &alone).await;
    assert_eq!(billing.ended(&more).await.reason, EndReason::Locked);
    let [look] = blocks_of(PAGE, "Look").try_into().unwrap();
    let said = run(stage, &look).await;
    assert!(said.out.contains("node-1-compromised") && said.out.contains("\"provenDead\":1"), "{said:?}");
    let [lift] = blocks_of(PAGE, "Lift").try_into().unwrap();
    run(stage, &lift).await;
    may_ask_again(&orders, &orders.pod).await;
    may_ask_again(&billing, &billing.pod).await;
}
