//! Completion: kubectl's own way to ask a plugin, and the scripts for shells.

use std::{
    net::TcpListener,
    path::Path,
    time::{Duration, Instant},
};

use kube::ResourceExt;
use serde_json::json;

use super::Person;
use crate::{scene::Scene, support::shared};

/// What kubectl would offer behind these words, and what it tells the shell to do besides.
async fn offered(person: &Person<'_>, words: &[&str]) -> (Vec<String>, String) {
    let said = person.kubectl(&[&["__complete", "daypass"], words].concat()).await;
    assert_eq!(said.code, 0, "{said:?}");
    let mut lines: Vec<String> = said.out.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect();
    let directive = lines.pop().unwrap();
    (lines, directive)
}

#[tokio::test]
async fn kubectl_offers_what_the_plugin_knows() {
    let here = shared();
    let scene = Scene::set(&here.stage, "plugin-complete").await;
    let granted = scene.granted("10m").await.request.name_any();
    let spec = json!({"match": {"nodes": ["nowhere"]}, "reason": "a test", "expiresAt": "2099-01-01T00:00:00Z"});
    let lock = json!({"apiVersion": "daypass.dev/v1alpha1", "kind": "AccessLock", "metadata": {"name": "plugin-complete"}, "spec": spec});
    here.stage.platform(lock).await.unwrap();
    let person = Person::admin(&here.stage);
    let only = |words: &[&str]| (words.iter().map(|word| word.to_string()).collect::<Vec<_>>(), ":4".to_owned());
    assert_eq!(offered(&person, &["e"]).await, only(&["explain"]));
    assert_eq!(offered(&person, &["get", "-o", ""]).await, only(&["text", "wide", "json"]));
    assert_eq!(offered(&person, &["get", "--state=De"]).await, only(&["Denied"]));
    assert_eq!(offered(&person, &["get", "--kubec"]).await, only(&["--kubeconfig"]));
    assert_eq!(offered(&person, &["get", "--kubeconfig", ""]).await, (vec![], ":0".into()), "paths are the shell's");
    assert_eq!(offered(&person, &["get", "--context", ""]).await, only(&["devcluster"]));
    // Names come from the cluster within a second, or not at all: on a busy machine it may take a second try.
    for (words, name) in [
        (&["explain", "-n", "plugin-complete", ""][..], granted.as_str()),
        (&["request", "--class", "plugin-compl"], "plugin-complete"),
        (&["request", "-n", "plugin-complete", "--pod", ""], "plugin-complete-1"),
        (&["get", "--namespace", "plugin-compl"], "plugin-complete"),
        (&["revoke", "--service-account", "plugin-complete/p"], "plugin-complete/plugin-complete"),
        (&["revoke", "-n", "plugin-complete", "--pod", "plug"], "plugin-complete/plugin-complete-1"),
        (&["revoke", "--request", "plugin-complete/"], &format!("plugin-complete/{granted}")),
        (&["unlock", "plugin-compl"], "plugin-complete"),
    ] {
        let look = || async { Some(offered(&person, words).await).filter(|(names, _)| !names.is_empty()) };
        assert_eq!(devcluster::wait::until("names", crate::scene::SOON, look).await.unwrap(), only(&[name]), "{words:?}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_keeps_nobody_waiting() {
    let here = shared();
    // Takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (kubeconfig, token) = (here.stage.file("plugin-silent.kubeconfig"), here.stage.file("plugin-silent.token"));
    std::fs::write(&token, "nobody's").unwrap();
    let server = format!("https://{}", silent.local_addr().unwrap()).parse().unwrap();
    here.stage.cluster.kubeconfig_with_token_file(&kubeconfig, &token, &server).unwrap();
    let person = Person { stage: &here.stage, kubeconfig };
    let began = Instant::now();
    assert_eq!(offered(&person, &["get", ""]).await, (vec![], ":4".into()));
    let took = began.elapsed();
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(8),
        "a second, and what starting two programs takes, not the ten of a call: {took:?}"
    );
}

#[tokio::test]
async fn bash_completes_what_the_script_defines() {
    let here = shared();
    let person = Person::admin(&here.stage);
    for (words, expected) in [
        ("daypass exp", "explain"),
        ("daypass get --sta", "--state"),
        ("daypass get --state De", "Denied"),
        ("daypass get --output ", "text wide json"),
        ("daypass completion f", "fish"),
    ] {
        let (before, typed) = words.rsplit_once(' ').unwrap();
        let previous = before.rsplit(' ').next().unwrap();
        let script = format!(
            "source <(daypass completion bash) || exit 9
             COMP_WORDS=({before} '{typed}') COMP_CWORD={} COMP_LINE='{words}' COMP_POINT={}
             complete -p daypass >/dev/null || exit 8
             _daypass daypass '{typed}' {previous}
             echo \"${{COMPREPLY[*]}}\"",
            before.split(' ').count(),
            words.len(),
        );
        let said = person.run(Path::new("bash"), &["--norc", "--noprofile", "-c", &script]).await;
        assert_eq!((said.code, said.out.trim()), (0, expected), "{words}: {said:?}");
    }
    for (shell, sign) in [("zsh", "#compdef daypass"), ("fish", "complete -c daypass")] {
        let said = person.run(Path::new("daypass"), &["completion", shell]).await;
        assert!(said.code == 0 && said.out.contains(sign), "{shell}");
    }
}
