//! `daypass exec` around one command.

use std::time::Duration;

use daypass::api::EndReason;
use devcluster::{supervisor::Exit, wait};
use serde_json::json;

use super::{Container, all_given_back, leases, requests};
use crate::{
    scene::{SOON, Scene},
    support::{daypass, shared},
};

#[tokio::test]
async fn a_command_runs_with_its_files_and_variables_and_everything_is_given_back_at_its_end() {
    let here = shared();
    let scene = Scene::set(&here.stage, "exec-runs").await;
    let container = Container::new(&scene);
    let kept = container.path("kept");
    let script = format!(
        "cp -rL \"$DAYPASS_DIR\" {0}; stat -Lc %a \"$DAYPASS_DIR/tls.key\"; test \"$KEY\" = \"$(cat \"$DAYPASS_DIR/tls.key\")\" && echo same key; \
         echo \"$DAYPASS_DIR $ENDS\"; exit 7",
        kept.display()
    );
    let said = container.exec(&["--env", "KEY=tls.key", "--env", "ENDS=expires-at", "--", "sh", "-c", &script]).await;
    assert_eq!(said.code, 7, "{said:?}");
    let lines: Vec<_> = said.out.lines().collect();
    assert_eq!(lines[..2], ["600", "same key"]);
    let (directory, ends) = lines[2].split_once(' ').unwrap();
    assert!(directory.starts_with("/dev/shm/daypass-"), "in memory: {directory}");
    assert!(!std::path::Path::new(directory).exists(), "and gone with the command");
    super::judged(&scene, &kept).await;
    assert_eq!(std::fs::read_to_string(kept.join("expires-at")).unwrap().trim(), ends);
    all_given_back(&scene).await;
    let ended = wait::until("the lease to know", SOON, || async { leases(&scene).await[0].status.as_ref()?.reason }).await.unwrap();
    assert_eq!(ended, EndReason::Completed);
}

#[tokio::test]
async fn signals_and_how_the_command_ended_are_passed_through() {
    let here = shared();
    let scene = Scene::set(&here.stage, "exec-signals").await;
    let container = Container::new(&scene);
    let up = container.path("up");
    let script = format!("trap 'exit 42' USR1; echo up > {}; while :; do sleep 0.1; done", up.display());
    let start = || {
        std::fs::remove_file(&up).ok();
        container
            .mount
            .start(&daypass(), &container.path("exec.log"), &["exec", "--class", "exec-signals", "--", "sh", "-c", &script])
            .unwrap()
    };
    let running = || async { up.exists().then_some(()) };
    let process = start();
    wait::until("the command to run", SOON, running).await.unwrap();
    process.signal("USR1").await;
    assert_eq!(process.exited().await, Exit::Code(42));
    let process = start();
    wait::until("the command to run", SOON, running).await.unwrap();
    process.signal("TERM").await;
    // 128 and its number, as a shell says it; so does the one that holds this process, and calls it the signal.
    assert_eq!(process.exited().await, Exit::Signal(15));
    all_given_back(&scene).await;
}

#[tokio::test]
async fn files_are_renewed_under_the_command_and_it_is_signalled_and_a_stale_variable_is_said() {
    let here = shared();
    let scene = Scene::set(&here.stage, "exec-renews").await;
    let container = Container::new(&scene);
    let script = "first=$(cat \"$DAYPASS_DIR/tls.crt\"); trap 'got=1' HUP; \
                  until [ \"$(cat \"$DAYPASS_DIR/tls.crt\")\" != \"$first\" ] && [ \"$got\" = 1 ] && [ $(date +%s) -gt $(date -d \"$ENDS\" +%s) ]; \
                  do sleep 0.1; done; test \"$CRT\" = \"$first\" && echo renewed";
    let args = ["--ttl", "6s", "--signal", "HUP", "--env", "ENDS=expires-at", "--env", "CRT=tls.crt", "--", "sh", "-c", script];
    let said = container.exec(&args).await;
    assert_eq!((said.code, said.out.as_str()), (0, "renewed\n"), "{said:?}");
    assert!(said.err.contains("the command outlives what is in its environment: ENDS, CRT"), "{}", said.err);
    all_given_back(&scene).await;
}

#[tokio::test]
async fn orphans_of_the_command_are_reaped() {
    let here = shared();
    let scene = Scene::set(&here.stage, "exec-reaps").await;
    let container = Container::new(&scene);
    // In a process namespace of its own it is the first process, as in a container, and inherits what the command leaves behind.
    let script = "sh -c 'sleep 0.3 & exit 0'; sleep 1; ps -eo stat,comm | grep -c '^Z' || true";
    let daypass = daypass();
    let inner = [daypass.to_str().unwrap(), "exec", "--class", "exec-reaps", "--", "sh", "-c", script];
    let mut command = tokio::process::Command::new("unshare");
    command.args(["--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]).args(inner).envs(container.mount.environment());
    let output = command.kill_on_drop(true).output().await.unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    if err.contains("unshare:") {
        assert!(std::env::var_os("CI").is_none(), "CI has to have process namespaces: {err}");
        eprintln!("no process namespace to be had here: {err}");
        return;
    }
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stdout).trim()), (Some(0), "0"), "no zombie: {err}");
}

#[tokio::test]
async fn a_denial_ends_it_at_once_with_the_reason_and_what_to_do() {
    let here = shared();
    let scene = Scene::set(&here.stage, "exec-denied").await;
    scene
        .set_terms(json!({"require": [{"name": "never", "expression": "pod.metadata.name == 'nobody'", "message": "be somebody else"}]}))
        .await;
    scene.ready().await;
    let container = Container::new(&scene);
    let said = container.exec(&["--", "sh", "-c", "echo it ran"]).await;
    assert_eq!((said.code, said.out.as_str()), (77, ""), "{said:?}");
    let name = kube::ResourceExt::name_any(&requests(&scene).await[0]);
    assert!(said.err.contains(&name) && said.err.contains("GateFailed") && said.err.contains("be somebody else"), "{}", said.err);
    assert_eq!(said.err.lines().count(), 1, "one clear line: {}", said.err);
}

#[tokio::test]
async fn a_denial_that_time_may_cure_is_waited_for_but_not_longer_than_said() {
    let here = shared();
    let scene = Scene::on_terms(&here.stage, "exec-waits", json!({"limits": {"livePerPod": 1}})).await;
    let container = Container::new(&scene);
    let holder = container.agent("creds", &["--ttl", "10m"]);
    holder.ready().await;
    let said = container.exec(&["--wait", "2s", "--", "true"]).await;
    assert_eq!(said.code, 75, "{said:?}");
    assert!(said.err.contains("LimitReached"), "{}", said.err);
    let waiting = container.exec(&["--wait", "60s", "--", "echo", "my turn"]);
    let lifted = async {
        let asked = || async { (requests(&scene).await.len() >= 3).then_some(()) };
        wait::until("it to ask", SOON, asked).await.unwrap();
        scene.set_terms(json!({"limits": {"livePerPod": 2}})).await;
    };
    let (said, ()) = tokio::join!(waiting, lifted);
    assert_eq!((said.code, said.out.as_str()), (0, "my turn\n"), "{said:?}");
}

#[tokio::test]
async fn what_a_killed_exec_left_in_memory_is_removed_and_given_back_by_the_next() {
    let here = shared();
    let scene = Scene::on_terms(&here.stage, "exec-killed", json!({"limits": {"livePerPod": 2}})).await;
    let container = Container::new(&scene);
    let said = container.path("said");
    let script = format!("echo \"$DAYPASS_DIR\" > {}; exec sleep 60", said.display());
    let args = ["exec", "--class", "exec-killed", "--ttl", "10m", "--", "sh", "-c", &script];
    let process = container.mount.start(&daypass(), &container.path("exec.log"), &args).unwrap();
    let told = || async { std::fs::read_to_string(&said).ok().filter(|text| text.ends_with('\n')) };
    let directory = wait::until("the command to run", SOON, told).await.unwrap();
    process.kill().await;
    let directory = std::path::Path::new(directory.trim());
    assert!(directory.join("tls.key").exists(), "nobody could remove it");
    // As if it had been killed a while ago.
    let aged = std::process::Command::new("touch").args(["-d", "1 minute ago"]).arg(directory).status().unwrap();
    assert!(aged.success());
    // Where pods share their memory, another one could not give it back.
    let stranger = Scene::set(&here.stage, "exec-stranger").await;
    let said = Container::new(&stranger).exec(&["--", "true"]).await;
    assert_eq!((said.code, directory.exists()), (0, true), "{said:?}");
    let said = container.exec(&["--", "true"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(!directory.exists(), "no key is left");
    all_given_back(&scene).await;
}

#[tokio::test]
async fn a_command_that_cannot_be_started_is_told_from_one_that_failed() {
    let here = shared();
    let scene = Scene::set(&here.stage, "exec-starts").await;
    let container = Container::new(&scene);
    let plain = container.path("plain");
    std::fs::write(&plain, "not a program").unwrap();
    for (command, code, says) in
        [("/no/such/command", 127, "/no/such/command: command not found"), (plain.to_str().unwrap(), 126, "cannot start")]
    {
        let said = container.exec(&["--", command]).await;
        assert_eq!(said.code, code, "{said:?}");
        assert!(said.err.contains(says), "{}", said.err);
    }
    all_given_back(&scene).await;
}

#[tokio::test]
async fn what_cannot_work_is_said_before_anything_is_asked_for() {
    let here = shared();
    let scene = Scene::set(&here.stage, "exec-input").await;
    let container = Container::new(&scene);
    for (args, code, says) in [
        (&["--env", "KEY=tls.pem", "--", "true"][..], 2, "FILE is one of tls.crt, tls.key, ca.crt, token, expires-at"),
        (&["--env", "KEY=db/tls.key", "--", "true"], 2, "no class has its files there"),
        (&["--env", "1KEY=tls.key", "--", "true"], 2, "no name of an environment variable"),
        (&["--ttl", "15", "--", "true"], 2, "written like 30s, 15m or 1h30m"),
        (&["--mode", "0666", "--", "true"], 2, "writable for nobody else"),
        (&["--dir", "/proc/nowhere", "--", "true"], 73, "cannot make /proc/nowhere"),
    ] {
        let said = container.exec(args).await;
        assert_eq!(said.code, code, "{args:?}: {said:?}");
        assert!(said.err.contains(says), "{args:?}: {}", said.err);
    }
    let mut command = std::process::Command::new(daypass());
    let output = command.args(["exec", "--class", "c", "--", "true"]).env_remove("KUBERNETES_SERVICE_HOST").output().unwrap();
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("runs in a pod"), "{output:?}");
    assert!(requests(&scene).await.is_empty());
}

#[tokio::test]
async fn a_pod_that_may_not_ask_is_told_which_role_it_needs() {
    let here = shared();
    let scene = Scene::set(&here.stage, "exec-rights").await;
    let bound = format!("rolebinding/asks-{}", scene.name);
    here.stage.cluster.kubectl(["-n", &scene.namespace, "delete", &bound]).await.unwrap();
    let said = tokio::time::timeout(Duration::from_secs(60), Container::new(&scene).exec(&["--", "true"])).await.unwrap();
    assert_eq!(said.code, 77, "{said:?}");
    assert!(said.err.contains("daypass-requester"), "{}", said.err);
}
