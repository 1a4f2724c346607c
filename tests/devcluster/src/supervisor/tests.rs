//! What the holder promises, on real processes.

use std::{io::BufRead, process::Stdio, time::Duration};

use super::*;
use crate::{scratch::Scratch, wait};

const SOON: Duration = Duration::from_secs(20);

fn shell(scratch: &Scratch, script: &str) -> Spec {
    Spec::new("sh", scratch.path().join("child.log")).args(["-c", script])
}

fn alive(pid: u32) -> bool {
    Command::new("kill").args(["-s", "0", &pid.to_string()]).stderr(Stdio::null()).status().unwrap().success()
}

async fn gone(pid: u32) {
    wait::until("the child to be gone", SOON, || std::future::ready((!alive(pid)).then_some(()))).await.unwrap();
}

async fn says(process: &Process, word: &str) {
    let what = format!("{word:?} in the log");
    wait::until(&what, SOON, || std::future::ready(process.log_tail(9).contains(word).then_some(()))).await.unwrap();
}

#[tokio::test]
async fn reports_how_a_child_ended_and_keeps_its_output() {
    let scratch = Scratch::new().unwrap();
    let process = Process::start(shell(&scratch, "echo out; echo err >&2; exit 7").env("IGNORED", "1")).unwrap();
    assert_eq!(process.exited().await, Exit::Code(7));
    assert_eq!(process.log_tail(2), "out\nerr");

    let missing = Process::start(Spec::new("/no/such/program", scratch.path().join("missing.log"))).unwrap();
    assert_eq!(missing.exited().await, Exit::Code(127));
    assert!(missing.log_tail(1).contains("/no/such/program"));
}

#[tokio::test]
async fn stops_pauses_resumes_and_starts_again() {
    let scratch = Scratch::new().unwrap();
    let process = Process::start(shell(&scratch, "echo up; exec sleep 1000")).unwrap();
    assert!(matches!(process.start_again(), Err(Error::Running { .. })));

    says(&process, "up").await;
    process.pause().await;
    assert_eq!(process.stop().await, Exit::Signal(15), "also a paused child obeys");

    process.start_again().unwrap();
    assert_eq!(process.exit(), None);
    assert!(alive(process.pid()));
    assert_eq!(process.kill().await, Exit::Signal(9));
    assert_eq!(process.exit(), Some(Exit::Signal(9)));
    process.signal("TERM").await;
}

#[tokio::test]
async fn a_child_that_ignores_the_request_to_stop_is_killed_after_its_grace() {
    let scratch = Scratch::new().unwrap();
    let mut spec = shell(&scratch, "trap '' TERM; echo deaf; while :; do sleep 0.05; done");
    spec.grace = Duration::from_millis(200);
    let process = Process::start(spec.clone()).unwrap();
    says(&process, "deaf").await;
    assert_eq!(process.stop().await, Exit::Signal(9));

    spec.log = scratch.path().join("second.log");
    let process = Process::start(spec).unwrap();
    says(&process, "deaf").await;
    let pid = process.pid();
    drop(process);
    assert!(!alive(pid), "drop waits for the end");
}

/// Not a test: the victim of the one below, which runs it in a process of its own and kills that.
#[test]
#[ignore = "started by killing_the_holder_of_the_pipe_ends_the_child"]
fn holds_a_child_until_killed() {
    if std::env::var_os("DEVCLUSTER_VICTIM").is_none() {
        return;
    }
    let scratch = Scratch::new().unwrap();
    let process = Process::start(shell(&scratch, "exec sleep 1000")).unwrap();
    println!("\nchild {} {}", process.pid(), scratch.path().display());
    loop {
        std::thread::park();
    }
}

#[tokio::test]
async fn killing_the_holder_of_the_pipe_ends_the_child() {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "supervisor::tests::holds_a_child_until_killed", "--ignored", "--nocapture"])
        .env("DEVCLUSTER_VICTIM", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines().map_while(Result::ok);
    let report = lines.into_iter().find_map(|line| line.strip_prefix("child ").map(str::to_owned)).unwrap();
    let (pid, dir) = report.split_once(' ').unwrap();
    let pid: u32 = pid.parse().unwrap();
    assert!(alive(pid));

    // SIGKILL: no destructor runs.
    victim.kill().unwrap();
    victim.wait().unwrap();

    gone(pid).await;
    if std::env::var_os("DAYPASS_KEEP").is_none() {
        let dir = Path::new(dir);
        wait::until("its directory to be removed", SOON, || std::future::ready((!dir.exists()).then_some(()))).await.unwrap();
    }
}
