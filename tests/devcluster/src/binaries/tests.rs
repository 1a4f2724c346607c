//! Where programs come from. What reads the environment runs in a process of its own, with an environment of its own.

use std::{
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Output, Stdio},
};

use super::*;
use crate::scratch::Scratch;

/// A `go` that builds everything in a moment, and notes what it built.
const FAKE_GO: &str = r#"#!/bin/sh
case $1 in
env) echo go1.26.8 ;;
build)
    while [ "$1" != -o ]; do shift; done
    sleep 0.1
    echo "$3 $GOWORK" >>"$BUILT"
    echo program >"$2"
    ;;
esac
"#;

#[test]
fn each_program_is_found_on_its_own_and_assets_come_first() {
    let scratch = Scratch::new().unwrap();
    let (assets, cache) = (scratch.path().join("assets"), scratch.path().join("cache"));
    for (directory, name) in [(&assets, "etcd"), (&cache, "etcd"), (&cache, "kube-controller-manager")] {
        std::fs::create_dir_all(directory).unwrap();
        std::fs::write(directory.join(name), "").unwrap();
    }
    assert_eq!(find("etcd", Some(&assets), &cache), Some(assets.join("etcd")));
    assert_eq!(find("kube-controller-manager", Some(&assets), &cache), Some(cache.join("kube-controller-manager")));
    assert_eq!(find("kubectl", Some(&assets), &cache), None);
    assert_eq!(find("etcd", None, &cache), Some(cache.join("etcd")));
}

/// Not a test: says what it finds in the environment that the tests below start it in.
#[tokio::test]
#[ignore = "started by the tests of the environment"]
async fn says_what_it_finds() {
    match control_plane().await {
        Ok(found) => println!("\nfound {}", found.kube_controller_manager.display()),
        Err(error) => println!("\nerror {error}"),
    }
}

/// Looks for the control plane with this PATH, a cache in this directory and these assets.
fn look(dir: &Path, path: &str, assets: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "binaries::tests::says_what_it_finds", "--ignored", "--nocapture"])
        .env("PATH", path)
        .env("DAYPASS_CACHE", dir.join("cache"))
        .env("KUBEBUILDER_ASSETS", assets)
        .env("BUILT", dir.join("built"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn answer(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().find(|line| line.starts_with("found ") || line.starts_with("error ")).unwrap().to_owned()
}

#[test]
fn without_go_and_assets_one_error_names_both_ways_out() {
    let scratch = Scratch::new().unwrap();
    let error = answer(&look(scratch.path(), "/nowhere", "/no/assets").wait_with_output().unwrap());
    let ways = [
        "error etcd, kube-apiserver, kube-controller-manager, kubectl of Kubernetes v1.37.2 not found",
        "KUBEBUILDER_ASSETS (/no/assets)",
        "there is no `go` on PATH",
        "install Go 1.26 or later",
        "set KUBEBUILDER_ASSETS to a directory that holds the programs; the published sets never hold kube-controller-manager",
    ];
    for part in ways {
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
}

#[test]
fn two_runs_at_once_build_what_is_missing_once_and_say_how_far_they_are() {
    let scratch = Scratch::new().unwrap();
    let (bin, assets) = (scratch.path().join("bin"), scratch.path().join("assets"));
    for directory in [&bin, &assets] {
        std::fs::create_dir_all(directory).unwrap();
    }
    std::fs::write(bin.join("go"), FAKE_GO).unwrap();
    std::fs::set_permissions(bin.join("go"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(assets.join("etcd"), "").unwrap();

    let path = format!("{}:{}", bin.display(), env::var("PATH").unwrap());
    let runs = [(); 2].map(|()| look(scratch.path(), &path, &assets.display().to_string()));
    let outputs = runs.map(|run| run.wait_with_output().unwrap());

    let expected = format!("found {}", scratch.path().join("cache/kubernetes-v1.37.2/kube-controller-manager").display());
    for output in &outputs {
        assert_eq!(answer(output), expected);
    }
    let built = std::fs::read_to_string(scratch.path().join("built")).unwrap();
    let commands = ["kube-apiserver", "kube-controller-manager", "kubectl"].map(|name| format!("k8s.io/kubernetes/cmd/{name} off\n"));
    assert_eq!(built, commands.concat());
    let progress: String = outputs.iter().map(|output| String::from_utf8_lossy(&output.stderr).into_owned()).collect();
    assert!(progress.contains("[2/3] building kube-controller-manager of Kubernetes v1.37.2"), "{progress}");
}
