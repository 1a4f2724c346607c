//! The demo's steps with the pod's side: the binary as an application's neighbour, with what a kubelet would give it.

use std::{path::Path, time::Duration};

use devcluster::wait;
use jiff::Timestamp;
use stage::Stage;

use crate::verify;

/// Life of the agent's credentials: short enough to see a renewal.
const TTL: &str = "6s";
const SOON: Duration = Duration::from_secs(30);

/// An agent obtains, renews and gives back.
pub async fn agent(stage: &Stage, daypass: &Path) -> Result<((), String), String> {
    let pod = stage.pod("shop", "orders-agent", "orders").await.map_err(said)?;
    let mount = pod.mount(stage).map_err(said)?;
    let directory = mount.volume.join("creds");
    let shown = directory.display().to_string();
    let args = ["agent", "--class", "orders-db", "--ttl", TTL, "--dir", &shown, "--listen", "127.0.0.1:0"];
    let begun = Timestamp::now();
    let process = mount.start(daypass, &stage.file("demo-agent.log"), &args).map_err(said)?;
    let read = |file: &str| std::fs::read_to_string(directory.join(file)).ok();
    let first = wait::until("the agent's files", SOON, || async { read("tls.crt") }).await;
    let first = first.map_err(|error| format!("{error}: {}", process.log_tail(10)))?;
    let took = Timestamp::now().duration_since(begun).as_secs_f64();
    verify::webpki(&first, &read("ca.crt").ok_or("ca.crt is missing")?)?;
    let ends: Timestamp = read("expires-at").and_then(|text| text.trim().parse().ok()).ok_or("expires-at is missing")?;
    wait::until("a renewal", SOON, || async { read("tls.crt").filter(|chain| *chain != first) }).await.map_err(said)?;
    let overlap = ends.duration_since(Timestamp::now()).as_secs_f64();
    let address = stage::listening(&process).await.map_err(said)?;
    let (ready, text) = stage::get(&address, "/readyz").await.map_err(said)?;
    if ready != 200 || overlap <= 0.0 {
        return Err(format!("not ready all the time ({ready}, overlap {overlap:.1} s): {text}"));
    }
    let exit = process.stop().await;
    if !exit.success() {
        return Err(format!("it ended with {exit:?}: {}", process.log_tail(10)));
    }
    let held = pod_requests(stage, &pod).await?;
    if !held.is_empty() || read("tls.key").is_some() {
        return Err(format!("not given back: {held:?}"));
    }
    Ok((
        (),
        format!(
            "$ daypass agent --class orders-db --ttl {TTL} --dir {shown}\nfiles in place {took:.1} s after its start and verified; renewed {overlap:.1} s before the end\n/readyz: {}\nSIGTERM: given back, files removed",
            text.trim()
        ),
    ))
}

/// A command runs with a credential and nothing is left of it.
pub async fn exec(stage: &Stage, daypass: &Path) -> Result<((), String), String> {
    let pod = stage.pod("shop", "orders-exec", "orders").await.map_err(said)?;
    let mount = pod.mount(stage).map_err(said)?;
    let script = "ls $DAYPASS_DIR | xargs; echo ends $ENDS; exit 3";
    let args = ["exec", "--class", "orders-db", "--ttl", TTL, "--env", "ENDS=expires-at", "--", "sh", "-c", script];
    let output = tokio::process::Command::from(mount.command(daypass, &args)).output().await.map_err(said)?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned());
    if output.status.code() != Some(3) || !out.contains("tls.key") {
        return Err(format!("the command did not run as it should: {:?} {out}{err}", output.status));
    }
    let held = pod_requests(stage, &pod).await?;
    if !held.is_empty() {
        return Err(format!("not given back: {held:?}"));
    }
    let stranger = stage.pod("shop", "billing-exec", "billing").await.map_err(said)?;
    let mount = stranger.mount(stage).map_err(said)?;
    let refused = tokio::process::Command::from(mount.command(daypass, &["exec", "--class", "orders-db", "--", "echo", "it ran"]));
    let refused = { refused }.output().await.map_err(said)?;
    if refused.status.code() != Some(77) || !refused.stdout.is_empty() {
        return Err(format!("a stranger's command was not refused: {refused:?}"));
    }
    let why = String::from_utf8_lossy(&refused.stderr);
    Ok((
        (),
        format!(
            "$ daypass exec --class orders-db --ttl {TTL} --env ENDS=expires-at -- sh -c '{script}'\n{}\nexit code 3, the command's own\nanother account's: exit code 77\n{}",
            out.trim(),
            why.trim()
        ),
    ))
}

async fn pod_requests(stage: &Stage, pod: &stage::Pod) -> Result<Vec<String>, String> {
    let uid = pod.pod.metadata.uid.clone().unwrap_or_default();
    let api = kube::Api::<daypass::api::AccessRequest>::namespaced(stage.cluster.admin().map_err(said)?, &pod.namespace);
    let found = api.list(&Default::default()).await.map_err(said)?;
    Ok(found.items.iter().filter(|r| r.spec.requester.pod_uid == uid).filter_map(|r| r.metadata.name.clone()).collect())
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}
