//! `daypass request`, for scripts and for people.

use serde_json::{Value, json};

use super::{Container, judged, requests};
use crate::{
    scene::Scene,
    support::{daypass, shared},
};

#[tokio::test]
async fn a_script_gets_files_and_an_answer_that_it_can_read_and_no_key_on_its_output() {
    let here = shared();
    let scene = Scene::set(&here.stage, "request-files").await;
    let container = Container::new(&scene);
    let directory = container.path("creds");
    let args = ["request", "--class", "request-files", "--dir", directory.to_str().unwrap(), "--ttl", "2m", "--output", "json"];
    let said = container.run(&args).await;
    assert_eq!(said.code, 0, "{said:?}");
    judged(&scene, &directory).await;
    let answer: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&answer["outcome"], &answer["className"]), (&json!("Granted"), &json!("request-files")));
    assert_eq!(answer["certificate"], std::fs::read_to_string(directory.join("tls.crt")).unwrap());
    assert!(!said.out.contains("PRIVATE KEY") && !said.err.contains("PRIVATE KEY"), "{said:?}");
}

#[tokio::test]
async fn whoever_brings_a_signing_request_keeps_the_key() {
    let here = shared();
    let scene = Scene::set(&here.stage, "request-csr").await;
    let container = Container::new(&scene);
    let (csr, file) = (stage::Csr::new().unwrap(), container.path("mine.csr"));
    std::fs::write(&file, &csr.pem).unwrap();
    let said = container.run(&["request", "--class", "request-csr", "--csr", file.to_str().unwrap()]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let lease = super::leases(&scene).await.remove(0);
    let roots = requests(&scene).await.remove(0).status.unwrap().credential.unwrap().ca_bundle;
    crate::judges::judge(crate::judges::Handed { chain: &said.out, roots: &roots }, &lease, &csr.key);

    std::fs::write(&file, "nonsense").unwrap();
    let said = container.run(&["request", "--class", "request-csr", "--csr", file.to_str().unwrap(), "--output", "json"]).await;
    let answer: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, &answer["outcome"], &answer["reason"]), (77, &json!("Denied"), &json!("InvalidCSR")), "{said:?}");
}

#[tokio::test]
async fn a_person_sees_what_a_pod_would_be_answered() {
    let here = shared();
    let scene = Scene::set(&here.stage, "request-person").await;
    let container = Container::new(&scene);
    let (csr, file) = (stage::Csr::new().unwrap(), container.path("mine.csr"));
    std::fs::write(&file, &csr.pem).unwrap();
    let pod = kube::ResourceExt::name_any(&scene.pod.pod);
    let ask = |pod: &str| {
        let args = ["request", "--class", "request-person", "--csr", file.to_str().unwrap(), "--pod", pod, "--namespace", "request-person"];
        std::process::Command::new(daypass()).args(args).env("KUBECONFIG", here.stage.cluster.admin_kubeconfig()).output().unwrap()
    };
    let output = ask(&pod);
    assert!(output.status.success(), "{output:?}");
    let asked = requests(&scene).await.remove(0);
    assert_eq!(asked.spec.requester.pod_name, pod, "stamped as the pod, not as the person");
    let output = ask("nobody");
    assert_eq!(output.status.code(), Some(77));
    assert!(String::from_utf8_lossy(&output.stderr).contains("request-person/nobody"), "{output:?}");
}

#[tokio::test]
async fn a_key_never_shows_in_what_is_logged_however_much_is() {
    let here = shared();
    let scene = Scene::set(&here.stage, "request-canary").await;
    let container = Container::new(&scene);
    let agent = container.agent("creds", &["--ttl", "5s", "--log", "trace"]);
    agent.ready().await;
    let mut keys = vec![agent.file("tls.key").unwrap()];
    agent.renewed(&agent.file("tls.crt").unwrap()).await;
    keys.push(agent.file("tls.key").unwrap());
    agent.process.stop().await;
    let log = agent.log();
    assert!(log.contains("TRACE"), "there is something to look through");
    for key in keys {
        let body: String = key.lines().filter(|line| !line.starts_with("-----")).collect();
        for canary in [&body[..24], &body[40..64], "PRIVATE KEY"] {
            assert!(!log.contains(canary), "a key is in the log");
        }
    }
    let token = &scene.pod.token;
    assert!(!log.contains(&token[token.len() - 40..]), "the pod's token is in the log");
}
