//! `kubectl daypass get NAME`, and the commands that it names.

use kube::ResourceExt;
use serde_json::json;

use super::Person;
use crate::{
    scene::{SOON, Scene},
    support::shared,
};

#[tokio::test]
async fn a_denied_request_says_why_and_what_to_do_and_the_command_it_names_works() {
    let here = shared();
    let gate = json!({"require": [
        {"name": "purpose", "expression": "has(request.spec.purpose) && request.spec.purpose.startsWith('OPS-')", "message": "name a ticket in spec.purpose"},
    ]});
    let scene = Scene::on_terms(&here.stage, "plugin-denied", gate).await;
    let spec = json!({"className": scene.name, "csr": stage::Csr::new().unwrap().pem, "purpose": "curiosity"});
    let request = scene.pod.ask("why", spec).await.unwrap();
    scene.pod.answer(&request).await.unwrap();
    let (person, name) = (Person::admin(&here.stage), request.name_any());
    let said = person.kubectl(&["daypass", "get", &name, "-n", "plugin-denied"]).await;
    assert_eq!(said.code, 0, "that it was denied is no failure of this command: {said:?}");
    let command = format!("kubectl daypass explain {name} -n plugin-denied");
    for part in [
        &format!(
            "AccessRequest plugin-denied/{name}: Denied, GateFailed\n  condition purpose does not hold: name a ticket in spec.purpose\n"
        ),
        "\nWhat to do:  do what the message says, then make a new request: this one stays denied\n",
        &format!("why, policy by policy: {command}\n"),
        "pod plugin-denied-1 of Pod/plugin-denied-1 on node-1\n",
        "purpose: curiosity\n",
        "Deny by ClusterAccessPolicy/plugin-denied, GateFailed",
        "\nConditions:  Decided True, GateFailed, ",
    ] {
        assert!(said.out.contains(part), "{part} in:\n{}", said.out);
    }
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    let said = person.kubectl(&words).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("refuses, GateFailed: require: purpose is false"), "{}", said.out);
}

#[tokio::test]
async fn a_credential_that_ended_early_says_when_it_is_dead_and_then_since_when() {
    let here = shared();
    let scene = Scene::set(&here.stage, "plugin-ended").await;
    let granted = scene.granted("20s").await;
    let (person, name) = (Person::admin(&here.stage), granted.request.name_any());
    let revoke = json!({"spec": {"revoke": {"reason": "laptop lost", "by": "me"}}}).to_string();
    let home = &here.stage.operator_name().namespace;
    let patched = person.kubectl(&["patch", "dplease", &granted.lease.name_any(), "-n", home, "--type=merge", "-p", &revoke]).await;
    assert_eq!(patched.code, 0, "{patched:?}");
    scene.revoking(&granted, SOON).await;
    let said = person.kubectl(&["daypass", "get", &name, "-n", "plugin-ended"]).await;
    assert!(said.out.contains(": Revoking, RevokedByPerson\n  revoked by ") && said.out.contains("laptop lost"), "{said:?}");
    let not_after = granted.lease.spec.not_after();
    let dead = said.out.lines().find(|line| line.starts_with("Dead:")).unwrap();
    assert!(dead.contains(&format!("({not_after})")), "the certificate's own end: {dead}");

    let ended = scene.ended(&granted).await;
    let said = person.kubectl(&["daypass", "get", &name, "-n", "plugin-ended"]).await;
    let dead = said.out.lines().find(|line| line.starts_with("Dead:")).unwrap();
    assert!(dead.ends_with(&format!("{} s after the end", ended.seconds_to_dead.unwrap())), "{dead}");
    let said = person.kubectl(&["daypass", "get", "-n", "plugin-ended"]).await;
    assert!(said.out.contains("dead for "), "{said:?}");
}

#[tokio::test]
async fn a_person_asks_as_a_pod_through_the_plugin() {
    let here = shared();
    let scene = Scene::set(&here.stage, "plugin-ask").await;
    let (csr, file) = (stage::Csr::new().unwrap(), here.stage.file("plugin-ask.csr"));
    std::fs::write(&file, &csr.pem).unwrap();
    let pod = scene.pod.pod.name_any();
    let kubeconfig = here.stage.cluster.admin_kubeconfig();
    // Somebody whose own kubeconfig is of no use.
    let person = Person { stage: &here.stage, kubeconfig: "/dev/null".into() };
    let ask = ["daypass", "request", "--class", "plugin-ask", "--csr", file.to_str().unwrap(), "--pod", &pod, "-n", "plugin-ask"];
    let said = person.kubectl(&[&ask[..], &["--kubeconfig", kubeconfig.to_str().unwrap(), "--context", "devcluster"]].concat()).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.starts_with("-----BEGIN CERTIFICATE-----"), "{said:?}");
    assert!(person.kubectl(&ask).await.err.contains("give --kubeconfig"));
}
