//! exec where there is nothing but the application: no shell, no libc, no other file.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use devcluster::{supervisor::Exit, wait};

use super::{applied::applied, hosted::Hosted};
use crate::{
    pods,
    scene::SOON,
    support::{daypass, shared},
};

/// Finds its files by the environment, shows them, sees that it has no shell, and stays until it is told to end.
const APPLICATION: &str = r#"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *FILES[] = {"tls.crt", "tls.key", "ca.crt", "expires-at"};

int main(void) {
    sigset_t signals;
    int signal;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    const char *directory = getenv("DAYPASS_DIR");
    if (!directory || access("/bin/sh", F_OK) == 0) return 3;
    for (int i = 0; i < 4; i++) {
        char path[512], line[8192];
        snprintf(path, sizeof path, "%s/%s", directory, FILES[i]);
        FILE *file = fopen(path, "r");
        if (!file) return 4;
        if (strcmp(FILES[i], "tls.crt") == 0) while (fgets(line, sizeof line, file)) fputs(line, stdout);
        fclose(file);
    }
    printf("up %s\n", directory);
    fflush(stdout);
    sigwait(&signals, &signal);
    return 42;
}
"#;

/// Where the container's program looks for its token if nobody says otherwise.
const ACCOUNT: &str = "var/run/secrets/kubernetes.io/serviceaccount";

#[tokio::test]
async fn an_application_in_an_empty_image_runs_through_the_installed_program() {
    if !crate::postgres::server::is_root() {
        eprintln!("only root may change its root directory: the recipe for distroless images is NOT run");
        return;
    }
    let here = shared();
    applied(&here, "distroless.md").await;
    let pod = Hosted::take(&here, "orders-gateway").await;
    let installed = pod.container("daypass").await.run().await;
    assert_eq!(installed.code, 0, "{installed:?}");
    let Some(root) = image(&pod.mount.volume.join("root")) else { return };
    // The volume of the program, and what a kubelet and a runtime add to any image: the token and /dev/shm.
    copy(&pod.volume("program").join("daypass"), &root.join("opt/daypass/daypass"));
    for file in std::fs::read_dir(&pod.mount.directory).unwrap().flatten() {
        copy(&file.path(), &root.join(ACCOUNT).join(file.file_name()));
    }
    std::fs::create_dir_all(root.join("dev/shm")).unwrap();

    let mut app = pod.container("app").await;
    let manifest: Vec<_> = app.words.iter().map(|word| word.replace(pod.volume("program").to_str().unwrap(), "/opt/daypass")).collect();
    assert_eq!(manifest, ["/opt/daypass/daypass", "exec", "--class", "orders-db", "--", "/app"]);
    app.words = manifest;
    app.env.retain(|(name, _)| name != "DAYPASS_SERVICE_ACCOUNT_DIR");
    let process = app.through(&["chroot", root.to_str().unwrap()]).start();
    let log = || std::fs::read_to_string(process.log()).unwrap_or_default();
    let up = wait::until("the application to be up", SOON, || async {
        assert!(process.exit().is_none(), "it ended with {:?}: {}", process.exit(), log());
        log().lines().find_map(|line| line.strip_prefix("up ").map(str::to_owned))
    });
    let directory = up.await.unwrap();
    let serial = crate::judges::serial(&log());
    assert!(pod.leases().await.iter().any(|lease| lease.spec.serial() == Some(&serial)), "the certificate of an open lease");
    let inside = root.join(directory.trim_start_matches('/'));
    assert!(directory.starts_with("/dev/shm/daypass-") && inside.exists(), "{directory}");
    pods::judged(&pod.scene, &inside).await;

    process.signal("TERM").await;
    assert_eq!(process.exited().await, Exit::Code(42), "{}", log());
    assert!(!inside.exists(), "the files are gone with the command");
    pod.given_back().await;
}

/// An image with nothing in it but `/app`, a static program; and what the debug build of Daypass is linked with, which the one in its own
/// image needs not.
fn image(root: &Path) -> Option<PathBuf> {
    std::fs::create_dir_all(root).unwrap();
    let source = root.join("../app.c");
    std::fs::write(&source, APPLICATION).unwrap();
    let compiled = Command::new("cc").args(["-static", "-O1", "-o"]).arg(root.join("app")).arg(&source).output().unwrap();
    if !compiled.status.success() {
        let why = String::from_utf8_lossy(&compiled.stderr);
        assert!(std::env::var_os("CI").is_none(), "no static program: {why}");
        eprintln!("there is no static libc to link with: the recipe for distroless images is NOT run: {why}");
        return None;
    }
    let linked = Command::new("ldd").arg(daypass()).output().unwrap();
    let linked = String::from_utf8(linked.stdout).unwrap();
    for library in linked.split_whitespace().filter(|word| word.starts_with('/')) {
        copy(Path::new(library), &root.join(library.trim_start_matches('/')));
    }
    Some(root.to_owned())
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    std::fs::copy(from, to).unwrap_or_else(|error| panic!("{} to {}: {error}", from.display(), to.display()));
    assert!(std::fs::metadata(to).unwrap().permissions().mode() & 0o400 != 0);
}
