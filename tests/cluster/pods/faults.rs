//! What the pod's side does when somebody else fails: the operator, the API server, its own mounted files.

use std::time::Duration;

use devcluster::{Options, supervisor::Exit, wait};
use serde_json::json;
use stage::OperatorOptions;

use super::{Container, all_given_back, judged, requests};
use crate::{
    scene::{SOON, Scene},
    support::{daypass, private, shared},
};

#[tokio::test]
async fn while_the_operator_is_away_it_keeps_asking_and_says_how_long_the_credential_lives() {
    let here = private(Options::default()).await;
    let operator = here.stage.operator(&daypass(), OperatorOptions::default()).await.unwrap();
    operator.ready().await.unwrap();
    let scene = Scene::set(&here.stage, "operator-away").await;
    let container = Container::new(&scene);
    let agent = container.agent("creds", &["--ttl", "25s"]);
    agent.ready().await;
    let first = agent.file("tls.crt").unwrap();
    operator.stop().await;
    // Told to end while nobody answers, it takes its request back.
    let log = container.path("exec.log");
    let waiting = container.mount.start(&daypass(), &log, &["exec", "--class", &scene.name, "--purpose", "in vain", "--", "true"]).unwrap();
    let in_vain = || async { requests(&scene).await.into_iter().find(|request| request.spec.purpose.as_deref() == Some("in vain")) };
    wait::until("exec to ask", SOON, in_vain).await.unwrap();
    waiting.signal("TERM").await;
    assert_eq!(waiting.exited().await, Exit::Signal(15));
    assert!(in_vain().await.is_none(), "nothing pending is left to be granted to nobody");
    let said = || async { agent.log().contains("still waiting for an answer; ").then_some(()) };
    wait::until("the agent to say so", 2 * SOON, said).await.unwrap_or_else(|error| panic!("{error}: {}", agent.log()));
    let gone = || async { Some(agent.get("/readyz").await).filter(|(status, _)| *status == 503) };
    let (_, said) = wait::until("the credential to end", SOON, gone).await.unwrap();
    assert!(said.contains("NO credential is live: the last one ended at "), "{said}");
    assert_eq!(agent.file("tls.crt").as_ref(), Some(&first), "what was there stays until there is something better");
    assert!(requests(&scene).await.len() <= 2, "one that waits, and the one that is over");

    let operator = here.stage.operator(&daypass(), OperatorOptions { pod: "daypass-1".into(), ..Default::default() }).await.unwrap();
    agent.renewed(&first).await;
    agent.ready().await;
    judged(&scene, &container.path("creds")).await;
    agent.process.stop().await;
    all_given_back(&scene).await;
    operator.stop().await;
}

#[tokio::test]
async fn while_the_api_server_is_away_nothing_is_lost_and_exec_says_so_when_its_time_is_up() {
    let here = private(Options::default()).await;
    let operator = here.stage.operator(&daypass(), OperatorOptions::default()).await.unwrap();
    operator.ready().await.unwrap();
    let scene = Scene::set(&here.stage, "server-away").await;
    let container = Container::new(&scene);
    let agent = container.agent("creds", &["--ttl", "12s"]);
    agent.ready().await;
    let first = agent.file("tls.crt").unwrap();
    let kept = container.agent("kept", &["--ttl", "10m"]);
    kept.ready().await;
    let server = here.stage.cluster.process("kube-apiserver-0").unwrap();
    server.kill().await;
    let said = container.exec(&["--wait", "3s", "--", "true"]).await;
    assert_eq!(said.code, 69, "{said:?}");
    let told = || async { agent.log().contains("trying again in").then_some(()) };
    wait::until("the agent to say so", SOON, told).await.unwrap_or_else(|error| panic!("{error}: {}", agent.log()));
    // One that is killed and started again meanwhile goes on with what is in place, and counts it as live.
    kept.process.kill().await;
    let kept = container.agent("kept", &["--ttl", "10m"]);
    kept.ready().await;
    server.start_again().unwrap();
    here.stage.cluster.ready().await.unwrap();
    agent.renewed(&first).await;
    agent.ready().await;
    judged(&scene, &container.path("creds")).await;
    let going_on = || async { kept.log().contains("going on with the credential").then_some(()) };
    wait::until("the other agent to be sure", SOON, going_on).await.unwrap_or_else(|error| panic!("{error}: {}", kept.log()));
    kept.process.stop().await;
    agent.process.stop().await;
    all_given_back(&scene).await;
}

#[tokio::test]
async fn a_rotated_token_and_a_rotated_ca_bundle_are_picked_up_without_a_restart() {
    let here = shared();
    let scene = Scene::set(&here.stage, "rotated").await;
    let container = Container::new(&scene);
    let roots = std::fs::read(container.mount.directory.join("ca.crt")).unwrap();
    let strange = rcgen::generate_simple_self_signed(["stranger".to_owned()]).unwrap().cert.pem();
    container.mount.write("ca.crt", strange.as_bytes()).unwrap();
    let agent = container.agent("creds", &["--ttl", "6s"]);
    let distrusts = || async { agent.log().contains("UnknownIssuer").then_some(()) };
    wait::until("the agent to distrust the server", SOON, distrusts).await.unwrap_or_else(|error| panic!("{error}: {}", agent.log()));
    // Old and new root for a while, as a rotation does it.
    container.mount.write("ca.crt", &[strange.as_bytes(), &roots].concat()).unwrap();
    agent.ready().await;

    let first = agent.file("tls.crt").unwrap();
    container.mount.write("token", b"e30.e30.e30").unwrap();
    let refused = || async { agent.log().contains("no service-account token").then_some(()) };
    wait::until("the agent to say that this is no token", SOON, refused).await.unwrap_or_else(|error| panic!("{error}: {}", agent.log()));
    scene.pod.rotate_token(&here.stage, &container.mount).await.unwrap();
    agent.renewed(&first).await;
    agent.process.stop().await;
    all_given_back(&scene).await;
}

#[tokio::test]
async fn a_volume_that_is_full_gets_no_half_of_a_credential_and_the_grant_goes_back() {
    let here = shared();
    let scene = Scene::set(&here.stage, "volume-full").await;
    let container = Container::new(&scene);
    let volume = container.path("small");
    std::fs::create_dir_all(&volume).unwrap();
    let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=4k", "none"]).arg(&volume).output().unwrap();
    if !mounted.status.success() {
        assert!(std::env::var_os("CI").is_none(), "CI has to be able to mount: {}", String::from_utf8_lossy(&mounted.stderr));
        eprintln!("no volume of a fixed size to be had here: {}", String::from_utf8_lossy(&mounted.stderr));
        return;
    }
    let said = container.run(&["agent", "--once", "--class", "volume-full", "--dir", volume.to_str().unwrap()]).await;
    let left: Vec<_> = std::fs::read_dir(&volume).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    // A sidecar keeps what it was granted and tries to write it, instead of asking for more.
    let agent = container.agent("small", &[]);
    let tries = || async { (agent.log().matches("sizeLimit").count() >= 3).then_some(()) };
    wait::until("the agent to try again", SOON, tries).await.unwrap_or_else(|error| panic!("{error}: {}", agent.log()));
    assert_eq!(requests(&scene).await.len(), 1, "one request, however often the files cannot be written");
    let room = std::process::Command::new("mount").args(["-o", "remount,size=1m"]).arg(&volume).status().unwrap();
    assert!(room.success());
    agent.ready().await;
    judged(&scene, &volume).await;
    agent.process.stop().await;
    let unmounted = std::process::Command::new("umount").arg(&volume).status().unwrap();
    assert!(unmounted.success());
    assert_eq!(said.code, 73, "{said:?}");
    assert!(said.err.contains("sizeLimit"), "{}", said.err);
    assert_eq!(left, ["..lock"], "no half of a credential");
    all_given_back(&scene).await;
}

#[tokio::test]
async fn a_directory_on_a_disk_is_used_and_warned_about() {
    let here = shared();
    let scene = Scene::set(&here.stage, "on-disk").await;
    let directory = here.stage.file("on-disk.creds");
    let said = Container::new(&scene).run(&["agent", "--once", "--class", "on-disk", "--dir", directory.to_str().unwrap()]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("is not in memory"), "{}", said.err);
}

#[tokio::test]
async fn an_agent_that_is_killed_leaves_a_grant_that_ends_by_itself() {
    let here = shared();
    let scene = Scene::on_terms(&here.stage, "killed-for-good", json!({"limits": {"livePerPod": 1}})).await;
    let container = Container::new(&scene);
    let agent = container.agent("creds", &["--ttl", "4s"]);
    agent.ready().await;
    agent.process.kill().await;
    let closed = || async { super::leases(&scene).await.iter().all(|lease| lease.is_closed()).then_some(()) };
    wait::until("its grant to end by its date", SOON + Duration::from_secs(4), closed).await.unwrap();
}
