//! `kubectl daypass get`: many requests, a line each.

use kube::ResourceExt;
use serde_json::{Value, json};

use super::{Person, cells};
use crate::{scene::Scene, support::shared};

/// Asks for a class that does not exist, and is denied.
async fn denied(scene: &Scene<'_>, prefix: &str) -> String {
    let spec = json!({"className": "plugin-nowhere", "csr": stage::Csr::new().unwrap().pem});
    let request = scene.pod.ask(prefix, spec).await.unwrap();
    scene.pod.answer(&request).await.unwrap();
    request.name_any()
}

#[tokio::test]
async fn a_person_on_call_sees_who_got_what_and_how_long_it_still_lives() {
    let here = shared();
    let scene = Scene::set(&here.stage, "plugin-list").await;
    let granted = scene.granted("10m").await.request.name_any();
    let denied = denied(&scene, "z-denied").await;
    let person = Person::admin(&here.stage);

    let said = person.kubectl(&["daypass", "get", "-A"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let table = cells(&said.out);
    assert_eq!(table[0], ["NAMESPACE", "NAME", "WORKLOAD", "CLASS", "STATE", "REASON", "CREDENTIAL", "AGE"]);
    let line = |name: &str| table.iter().position(|line| line.get(1) == Some(&name)).unwrap_or_else(|| panic!("{name}: {}", said.out));
    let active = &table[line(&granted)];
    assert_eq!(active[..6], ["plugin-list", &granted, "Pod/plugin-list-1", "plugin-list", "Active", "Permitted"]);
    // The API server's time is known to a second, and never overstated.
    assert!((active[6].starts_with("9m") || active[6] == "10m left") && active[6].ends_with(" left"), "{active:?}");
    let refused = &table[line(&denied)];
    assert_eq!(refused[3..6], ["plugin-nowhere", "Denied", "ClassUnavailable"]);
    assert!(refused[6].starts_with("none"), "{refused:?}");
    assert!(line(&granted) < line(&denied), "the newest last");

    let said = person.kubectl(&["daypass", "get", "-n", "plugin-list", "--state", "denied", "-o", "wide"]).await;
    let table = cells(&said.out);
    assert_eq!((table.len(), table[0][0], table[1][0]), (2, "NAME", denied.as_str()), "{said:?}");
    assert!(said.out.contains("there is no CredentialClass plugin-nowhere"), "{said:?}");
    let said = person.kubectl(&["daypass", "get", "-n", "plugin-list", "--class", "plugin-list"]).await;
    assert_eq!(cells(&said.out)[1][0], granted, "{said:?}");
    assert_eq!(cells(&said.out).len(), 2, "{said:?}");
}

#[tokio::test]
async fn a_script_reads_absolute_times_and_no_certificate() {
    let here = shared();
    let scene = Scene::set(&here.stage, "plugin-json").await;
    let granted = scene.granted("10m").await.request;
    let said = Person::admin(&here.stage).kubectl(&["daypass", "get", "-n", "plugin-json", "-o", "json"]).await;
    let answer: Value = serde_json::from_str(&said.out).unwrap();
    let (row, credential) = (&answer["requests"][0], granted.status.clone().unwrap().credential.unwrap());
    assert_eq!((&row["name"], &row["state"], &row["credential"]), (&json!(granted.name_any()), &json!("Active"), &json!("Live")));
    assert_eq!((&row["expiresAt"], &row["serial"]), (&json!(credential.expires_at), &json!(credential.serial)));
    let read: jiff::Timestamp = answer["time"].as_str().unwrap().parse().unwrap();
    assert!(read < credential.expires_at && read + std::time::Duration::from_secs(601) > credential.expires_at, "{answer}");
    assert!(!said.out.contains("BEGIN"), "{said:?}");
}

#[tokio::test]
async fn many_are_read_in_pages_and_the_newest_are_shown() {
    let here = shared();
    let scene = Scene::set(&here.stage, "plugin-many").await;
    let mut made = Vec::new();
    for _ in 0..7 {
        made.push(denied(&scene, "one").await);
    }
    let before = here.stage.cluster.audit().unwrap().len();
    let person = Person::admin(&here.stage);
    let said = person.kubectl(&["daypass", "get", "-n", "plugin-many", "--chunk-size", "2"]).await;
    assert_eq!(cells(&said.out).len(), 8, "{said:?}");
    let said = person.kubectl(&["daypass", "get", "-n", "plugin-many", "--chunk-size", "2", "--limit", "3"]).await;
    assert!(said.err.starts_with("4 older ones are not shown"), "{said:?}");
    let shown: Vec<_> = cells(&said.out)[1..].iter().map(|line| line[0].to_owned()).collect();
    assert_eq!(shown.len(), 3, "{said:?}");
    // Creation times have seconds only: who of one second is newest, nobody can say.
    let listed = scene.requests().list(&Default::default()).await.unwrap().items;
    let times = |names: &[String]| {
        let of = |request: &daypass::api::AccessRequest| request.creation_timestamp().unwrap().0;
        let mut times: Vec<_> = listed.iter().filter(|request| names.contains(&request.name_any())).map(of).collect();
        times.sort();
        times
    };
    assert_eq!(times(&shown), times(&made)[4..], "the newest three");
    let pages = devcluster::wait::until("the pages in the audit log", crate::scene::SOON, || async {
        let events = here.stage.cluster.audit().unwrap();
        let lists = events[before..].iter().filter(|event| event.is("list", "accessrequests") && event.request_uri.contains("limit=2"));
        let pages = lists.filter(|event| event.request_uri.contains("/namespaces/plugin-many/")).count();
        (pages >= 8).then_some(pages)
    });
    assert_eq!(pages.await.unwrap(), 8, "four pages each");
}

#[tokio::test]
async fn where_there_is_none_a_sentence_says_so_and_it_is_no_failure() {
    let here = shared();
    let person = Person::admin(&here.stage);
    let said = person.kubectl(&["daypass", "get", "-n", "plugin-empty"]).await;
    assert_eq!((said.code, said.out.as_str()), (0, ""), "{said:?}");
    assert_eq!(said.err, "There is no AccessRequest in namespace plugin-empty (-A looks into all namespaces).\n");
    let said = person.kubectl(&["daypass", "get", "-A", "--class", "plugin-none"]).await;
    assert_eq!((said.code, said.err.as_str()), (0, "There is no AccessRequest that fits in any namespace.\n"));
}
