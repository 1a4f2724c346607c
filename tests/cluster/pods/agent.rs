//! `daypass agent` beside an application.

use std::{os::unix::fs::PermissionsExt, time::Duration};

use daypass::api::{EndReason, RequestState};
use devcluster::{supervisor::Exit, wait};
use kube::ResourceExt;
use serde_json::json;

use super::{Container, all_given_back, judged, leases, requests};
use crate::{
    scene::{SOON, Scene},
    support::shared,
};

#[tokio::test]
async fn an_agent_puts_a_credential_in_place_says_that_it_is_ready_and_gives_it_back_at_the_end() {
    let here = shared();
    let scene = Scene::set(&here.stage, "agent-life").await;
    let container = Container::new(&scene);
    let agent = container.agent("creds", &["--ttl", "2m", "--purpose", "a story"]);
    agent.ready().await;
    judged(&scene, &container.path("creds")).await;
    for file in ["tls.crt", "tls.key", "ca.crt", "expires-at"] {
        let mode = std::fs::metadata(container.path("creds").join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let (_, said) = agent.get("/readyz").await;
    assert!(said.starts_with("agent-life: the current credential lives another "), "{said}");
    let (_, metrics) = agent.get("/metrics").await;
    assert!(metrics.contains("daypass_agent_live{class=\"agent-life\"} 1"), "{metrics}");
    assert!(!agent.log().contains("is not in memory"), "{}", agent.log());
    let asked = requests(&scene).await;
    assert_eq!((asked.len(), asked[0].spec.purpose.as_deref()), (1, Some("a story")));

    assert_eq!(agent.process.stop().await, Exit::Code(0));
    all_given_back(&scene).await;
    let ended = wait::until("the lease to know", SOON, || async { leases(&scene).await[0].status.as_ref()?.reason }).await.unwrap();
    assert_eq!(ended, EndReason::Completed);
    assert_eq!(agent.file("tls.key"), None, "no key is left behind");
}

#[tokio::test]
async fn a_renewal_is_in_place_before_the_last_credential_is_given_back_and_the_application_is_told() {
    let here = shared();
    // Two at once are enough: the one that is in place, and the one that was before it.
    let scene = Scene::on_terms(&here.stage, "agent-renews", json!({"limits": {"livePerPod": 2}})).await;
    let container = Container::new(&scene);
    let told = container.path("told");
    let script = format!("sh -c 'echo \"$DAYPASS_CLASS $(cat \"$DAYPASS_DIR/expires-at\")\" >> {}'", told.display());
    let agent = container.agent("creds", &["--ttl", "8s", "--on-renew", &script]);
    agent.ready().await;
    let mut chain = agent.file("tls.crt").unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        chain = agent.renewed(&chain).await;
        judged(&scene, &container.path("creds")).await;
        seen.push(agent.file("expires-at").unwrap());
        assert_eq!(agent.get("/readyz").await.0, 200, "{}", agent.log());
    }
    let told = wait::until("the application to be told", SOON, || async {
        let told = std::fs::read_to_string(&told).unwrap_or_default();
        (told.lines().count() >= 3).then_some(told)
    });
    let told = told.await.unwrap();
    for (line, expires_at) in told.lines().zip(&seen) {
        assert_eq!(line, format!("agent-renews {}", expires_at.trim()), "told after each renewal, and not of the first");
    }
    let (_, metrics) = agent.get("/metrics").await;
    assert!(!metrics.contains("outcome=\"denied\""), "nothing was refused on the way: {metrics}");
    assert!(requests(&scene).await.iter().filter(|request| request.state() == RequestState::Active).count() <= 2);
    agent.process.stop().await;
    all_given_back(&scene).await;
}

#[tokio::test]
async fn a_signal_reaches_the_process_that_the_pid_file_names_at_that_moment() {
    let here = shared();
    let scene = Scene::set(&here.stage, "agent-signals").await;
    let container = Container::new(&scene);
    let (pid_file, got) = (container.path("app.pid"), container.path("got"));
    let agent = container.agent("creds", &["--ttl", "6s", "--signal", "SIGHUP", "--pid-file", pid_file.to_str().unwrap()]);
    agent.ready().await;
    let first = agent.file("tls.crt").unwrap();
    // Not there yet at the first renewal: said, and nothing else happens.
    let second = agent.renewed(&first).await;
    let said = || async { agent.log().contains("was not told").then_some(()) };
    wait::until("the agent to say so", SOON, said).await.unwrap();
    let script = format!("trap 'echo HUP > {0}' HUP; echo $$ > {1}; while :; do sleep 0.1; done", got.display(), pid_file.display());
    let application = devcluster::supervisor::Spec::new("sh", container.path("app.log")).args(["-c", &script]);
    let application = devcluster::supervisor::Process::start(application).unwrap();
    agent.renewed(&second).await;
    let told = || async { std::fs::read_to_string(&got).ok().filter(|text| text == "HUP\n") };
    wait::until("the application to be told", SOON, told).await.unwrap_or_else(|error| panic!("{error}: {}", agent.log()));
    application.kill().await;
}

#[tokio::test]
async fn one_agent_holds_several_classes_each_in_a_directory_of_its_own() {
    let here = shared();
    let scene = Scene::set(&here.stage, "agent-several").await;
    here.stage.platform(crate::support::class("agent-several-too")).await.unwrap();
    scene.set_terms(json!({"classes": ["agent-several", "agent-several-too"]})).await;
    scene.ready().await;
    here.wait_ready("dpclass/agent-several-too").await;
    let container = Container::new(&scene);
    let directory = container.path("creds");
    let classes = ["--class", "agent-several", "--class", "agent-several-too=db/tls"];
    let args = [&["agent"], &classes[..], &["--dir", directory.to_str().unwrap(), "--listen", "127.0.0.1:0", "--mode", "0640"]].concat();
    let agent = container.start(&args, directory.clone());
    agent.ready().await;
    for (class, at) in [("agent-several", "agent-several"), ("agent-several-too", "db/tls")] {
        judged(&scene, &directory.join(at)).await;
        let record = std::fs::read_to_string(directory.join(at).join("request.json")).unwrap();
        assert!(record.contains(&format!("\"className\":\"{class}\"")), "{record}");
        let mode = std::fs::metadata(directory.join(at).join("tls.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }
    let (_, said) = agent.get("/readyz").await;
    assert_eq!(said.lines().count(), 2, "{said}");
    assert_eq!(agent.process.stop().await, Exit::Code(0));
    all_given_back(&scene).await;
}

#[tokio::test]
async fn an_init_container_leaves_its_credential_for_the_pod() {
    let here = shared();
    let scene = Scene::set(&here.stage, "agent-once").await;
    let container = Container::new(&scene);
    let directory = container.path("creds");
    let args = ["agent", "--once", "--class", "agent-once", "--dir", directory.to_str().unwrap(), "--ttl", "2m"];
    let said = container.run(&args).await;
    assert_eq!(said.code, 0, "{said:?}");
    judged(&scene, &directory).await;
    // The init containers of a pod whose sandbox was made anew run again: what is still good is good enough.
    let before = std::fs::read_to_string(directory.join("tls.crt")).unwrap();
    assert_eq!(container.run(&args).await.code, 0);
    assert_eq!(std::fs::read_to_string(directory.join("tls.crt")).unwrap(), before);
    let asked = requests(&scene).await;
    assert_eq!((asked.len(), asked[0].state()), (1, RequestState::Active));
}

#[tokio::test]
async fn a_killed_agent_goes_on_with_what_is_in_place_and_asks_for_nothing_more() {
    let here = shared();
    let scene = Scene::on_terms(&here.stage, "agent-killed", json!({"limits": {"livePerPod": 1}})).await;
    let container = Container::new(&scene);
    let mut last = String::new();
    for round in 0..3 {
        let agent = container.agent("creds", &["--ttl", "10m"]);
        agent.ready().await;
        let chain = agent.file("tls.crt").unwrap();
        assert!(round == 0 || chain == last, "the same credential: {}", agent.log());
        last = chain;
        agent.process.kill().await;
    }
    let asked = requests(&scene).await;
    assert_eq!(asked.len(), 1, "a crash loop makes no more requests: {:?}", asked.iter().map(|r| r.name_any()).collect::<Vec<_>>());
    // It is its own again, and given back like one.
    let agent = container.agent("creds", &["--ttl", "10m"]);
    agent.ready().await;
    assert_eq!(agent.process.stop().await, Exit::Code(0));
    all_given_back(&scene).await;
}

#[tokio::test]
async fn what_a_person_takes_back_is_not_ready_any_more_and_another_is_asked_for() {
    let here = shared();
    let scene = Scene::set(&here.stage, "agent-revoked").await;
    let container = Container::new(&scene);
    let agent = container.agent("creds", &["--ttl", "10m"]);
    agent.ready().await;
    let first = agent.file("tls.crt").unwrap();
    let lease = leases(&scene).await.remove(0).name_any();
    let patch = r#"{"spec":{"revoke":{"reason":"a story","by":"me"}}}"#;
    let namespace = &here.stage.operator_name().namespace;
    let revoked = here.stage.cluster.kubectl(["-n", namespace, "patch", "dplease", &lease, "--type", "merge", "-p", patch]).await.unwrap();
    assert!(revoked.status.success(), "{}", String::from_utf8_lossy(&revoked.stderr));
    agent.renewed(&first).await;
    judged(&scene, &container.path("creds")).await;
    assert!(agent.log().contains("ended early: RevokedByPerson"), "{}", agent.log());
    let (_, metrics) = agent.get("/metrics").await;
    assert!(metrics.contains("daypass_agent_ended_early_total{class=\"agent-revoked\"} 1"), "{metrics}");
}

#[tokio::test]
async fn a_sidecar_that_is_denied_says_why_stays_not_ready_and_does_not_ask_in_a_tight_loop() {
    let here = shared();
    let scene = Scene::set(&here.stage, "agent-denied").await;
    scene
        .set_terms(json!({"require": [{"name": "never", "expression": "pod.metadata.name == 'nobody'", "message": "be somebody else"}]}))
        .await;
    scene.ready().await;
    let container = Container::new(&scene);
    let agent = container.agent("creds", &[]);
    let denied = || async { Some(agent.get("/readyz").await).filter(|(_, said)| said.contains("is denied")) };
    let (status, said) = wait::until("the denial to be said", SOON, denied).await.unwrap();
    assert_eq!(status, 503);
    assert!(said.contains("GateFailed") && said.contains("be somebody else") && said.contains("no credential is live"), "{said}");
    tokio::time::sleep(super::A_MOMENT).await;
    assert_eq!(requests(&scene).await.len(), 1, "the next one comes after ten seconds at the earliest half of that");
    scene.set_terms(json!({"require": null})).await;
    agent.ready().await;
    agent.process.stop().await;
}

#[tokio::test]
async fn a_credential_that_is_over_as_soon_as_it_comes_is_not_asked_for_without_a_pause() {
    let here = shared();
    let scene = Scene::set(&here.stage, "agent-short").await;
    let container = Container::new(&scene);
    let agent = container.agent("creds", &["--ttl", "1s"]);
    let first = || async { agent.file("tls.crt") };
    wait::until("the first credential", SOON, first).await.unwrap_or_else(|error| panic!("{error}: {}", agent.log()));
    tokio::time::sleep(super::A_MOMENT).await;
    let asked = leases(&scene).await.len() as u64;
    assert!(asked <= 3 + super::A_MOMENT.as_secs(), "{asked} grants in {:?}", super::A_MOMENT);
    agent.process.stop().await;
}

#[tokio::test]
async fn two_agents_of_one_pod_both_work_within_the_limit_and_one_is_told_beyond_it() {
    let here = shared();
    let scene = Scene::on_terms(&here.stage, "agent-two", json!({"limits": {"livePerPod": 2}})).await;
    let container = Container::new(&scene);
    let (one, two) = (container.agent("one", &["--ttl", "10m"]), container.agent("two", &["--ttl", "10m"]));
    one.ready().await;
    two.ready().await;
    let three = container.agent("three", &["--ttl", "10m"]);
    let denied = || async { Some(three.get("/readyz").await.1).filter(|said| said.contains("LimitReached")) };
    wait::until("the third to be told", SOON, denied).await.unwrap();
    // Two in one directory would take turns at one set of files.
    let directory = container.path("one");
    let same = container.run(&["agent", "--once", "--class", "agent-two", "--dir", directory.to_str().unwrap()]).await;
    assert_eq!(same.code, 73, "{same:?}");
    assert!(same.err.contains("held by another process"), "{}", same.err);
    one.process.stop().await;
    let freed =
        wait::until("the third to get its turn", Duration::from_secs(90), || async { (three.get("/readyz").await.0 == 200).then_some(()) });
    // ExpiryOnly: what was given back counts until it is refused, so the turn comes only with another policy.
    scene.set_terms(json!({"limits": {"livePerPod": 3}})).await;
    freed.await.unwrap_or_else(|error| panic!("{error}: {}", three.log()));
}
