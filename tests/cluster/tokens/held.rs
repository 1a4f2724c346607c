//! Tokens in the hands of the pod's side: the real program asks, opens and keeps them, and what it gives back is dead.

use devcluster::wait;
use serde_json::{Value, json};

use super::Lending;
use crate::{
    scene::SOON,
    sealing::{as_person, in_pod, key},
    support::{daypass, shared},
};

#[tokio::test]
async fn an_agent_keeps_a_live_token_in_place_and_what_it_gives_back_is_refused() {
    let here = shared();
    let lending = Lending::of(&here.stage, "held").await;
    let mount = lending.pod.mount(&here.stage).unwrap();
    let directory = mount.volume.join("creds");
    let args = ["agent", "--token-class", &lending.name, "--dir", directory.to_str().unwrap(), "--ttl", "30s", "--listen", "127.0.0.1:0"];
    let agent = mount.start(&daypass(), &mount.volume.join("agent.log"), &args).unwrap();
    let other_than = async |last: &str| {
        let look = || async { std::fs::read_to_string(directory.join("token")).ok().filter(|token| token != last) };
        let found = wait::until("another token", 3 * SOON, look).await;
        found.unwrap_or_else(|error| panic!("{error}: {}", std::fs::read_to_string(agent.log()).unwrap_or_default()))
    };
    let first = other_than("").await;
    let user = lending.whoami(&first).await.expect("it is good");
    assert_eq!(user.username.as_deref(), Some("system:serviceaccount:lent:held"));
    let second = other_than(&first).await;
    assert!(lending.whoami(&second).await.is_some(), "the next is good before the last is given back");
    super::refused(&here.stage, &first, super::CACHED + SOON).await;

    agent.stop().await;
    assert!(!directory.join("token").exists());
    super::refused(&here.stage, &second, super::CACHED + SOON).await;
    let log = std::fs::read_to_string(agent.log()).unwrap();
    let signature = |token: &str| token.rsplit('.').next().unwrap().to_owned();
    assert!(!log.contains(&signature(&first)) && !log.contains(&signature(&second)), "a token is in the log");
}

#[tokio::test]
async fn a_token_that_was_sealed_to_somebody_s_key_is_opened_by_them() {
    let here = shared();
    let lending = Lending::of(&here.stage, "opened").await;
    let mount = lending.pod.mount(&here.stage).unwrap();
    let (file, public) = key(&mount.volume, "key.pem").await;
    let asked = in_pod(&mount, &["request", "--token-class", &lending.name, "--seal-to", &public, "--output", "json"]).await;
    assert_eq!(asked.code, 0, "{asked:?}");
    let answer: Value = serde_json::from_str(&asked.out).unwrap();
    let name = answer["request"].as_str().unwrap();
    let open = ["open", name, "-n", &lending.namespace, "--key", file.to_str().unwrap()];
    let said = as_person(&here.stage.cluster.admin_kubeconfig(), &open, "").await;
    assert_eq!(said.code, 0, "{said:?}");
    let user = lending.whoami(said.out.trim_end()).await.expect("it is good");
    assert_eq!(user.username.as_deref(), Some("system:serviceaccount:lent:opened"));
    assert_eq!(answer["tokenID"], json!(super::token_id(&user)));
}
