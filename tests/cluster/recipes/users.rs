//! Agent and application as two users who share files through the volume's group.

use std::{
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::Command,
};

use devcluster::supervisor::Exit;

use super::{applied::applied, hosted::Hosted, launch::Launch};
use crate::{
    judges::Files,
    pods,
    support::{daypass, shared},
};

#[tokio::test]
async fn two_users_share_a_credential_through_the_group_of_the_volume_and_nobody_else_reads_it() {
    if !crate::postgres::server::is_root() {
        eprintln!("only root may play two users: the recipe for two users is NOT run");
        return;
    }
    let here = shared();
    applied(&here, "deployment.md").await;
    let pod = Hosted::take_named(&here, "orders-two-users").await;
    let group = pod.pod_field("/securityContext/fsGroup").as_u64().unwrap() as u32;
    // What a kubelet does for fsGroup: the volume's group, setgid, and the group may write.
    let directory = pod.volume("credential");
    chown(&directory, None, Some(group)).unwrap();
    std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o2777)).unwrap();
    // Neither of the two may look into the tests' own directories.
    let files = Files::new();
    let program = files.path("program");
    assert!(Command::new(daypass()).arg("install").arg(&program).output().unwrap().status.success());
    let account = files.path("account");
    copy(&pod.mount.directory, &account, group);

    let as_container = |launch: Launch, name: &str| {
        let user = pod.field(name, "/securityContext/runAsUser").to_string();
        let own = pod.field(name, "/securityContext/runAsGroup").to_string();
        let (groups, user, own) = (format!("--groups={group}"), format!("--reuid={user}"), format!("--regid={own}"));
        launch.through(&["setpriv", &groups, &user, &own]).env("DAYPASS_SERVICE_ACCOUNT_DIR", account.to_str().unwrap())
    };
    let mut agent = pod.container("daypass").await;
    agent.words[0] = program.join("daypass").display().to_string();
    let agent = as_container(agent, "daypass").start();
    pod.started("daypass", &agent).await;
    pods::judged(&pod.scene, &directory).await;

    let read = pod.container("app").await.instead(&["cat", "/run/daypass/tls.key"]);
    let said = as_container(read.clone(), "app").run().await;
    assert!(said.code == 0 && said.out.contains("PRIVATE KEY"), "{}", said.err);
    let said = read.through(&["setpriv", "--clear-groups", "--reuid=10003", "--regid=10003"]).run().await;
    assert!(said.code != 0 && said.err.contains("Permission denied"), "{said:?}");
    assert_eq!(agent.stop().await, Exit::Code(0));
    pod.given_back().await;
}

/// A pod's mounted token as a kubelet leaves it for a group.
fn copy(from: &Path, to: &Path, group: u32) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap().flatten() {
        let path = to.join(file.file_name());
        std::fs::copy(file.path(), &path).unwrap();
        chown(&path, None, Some(group)).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    }
}
