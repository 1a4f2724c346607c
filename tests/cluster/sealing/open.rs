//! `daypass open`: for people at a terminal and for scripts.

use std::os::unix::fs::PermissionsExt;

use jiff::SignedDuration;
use kube::ResourceExt;
use serde_json::json;

use super::{as_person, grant, in_pod, key, pending};
use crate::kinds::quiet;

const MINUTES: SignedDuration = SignedDuration::from_mins(10);

#[tokio::test]
async fn the_holder_of_the_key_reads_the_credential_from_the_cluster_and_from_a_file() {
    let stage = quiet();
    let pod = stage.pod("open-sealed", "orders-1", "orders").await.unwrap();
    let mount = pod.mount(&stage).unwrap();
    let (file, public) = key(&mount.volume, "key.pem").await;
    let admin = stage.cluster.admin_kubeconfig();
    let request = pod.ask("mine", json!({"className": "sealed", "sealTo": public})).await.unwrap();
    let (name, file) = (request.name_any(), file.to_str().unwrap().to_owned());
    let open = ["open", &name, "-n", "open-sealed", "--key", &file];

    let said = as_person(&admin, &open, "").await;
    assert!(said.code == 75 && said.err.contains("is not answered yet") && said.out.is_empty(), "{said:?}");
    let request = grant(&stage, &request, "the token", MINUTES).await;
    let said = as_person(&admin, &open, "").await;
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "the token\n", ""));

    let target = mount.volume.join("token");
    let said = as_person(&admin, &[&open[..], &["--output", target.to_str().unwrap()]].concat(), "").await;
    assert_eq!((said.code, said.out.as_str()), (0, ""), "{said:?}");
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "the token", "exactly it");
    assert_eq!(std::fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);

    let yaml = tokio::process::Command::new(stage.cluster.kubectl_path())
        .args(["get", "accessrequest", &name, "-n", "open-sealed", "-o", "yaml"])
        .env("KUBECONFIG", &admin)
        .output()
        .await
        .unwrap();
    let yaml = String::from_utf8(yaml.stdout).unwrap();
    assert!(!yaml.contains("the token"), "what lies in the API server is not readable");
    let none = std::path::Path::new("/dev/null");
    let said = as_person(none, &["open", "--file", "-", "--key", &file], &yaml).await;
    assert_eq!((said.code, said.out.as_str()), (0, "the token\n"), "{said:?}");
    // The same object as JSON, changed: it is another request's.
    let mut other = serde_json::to_value(&request).unwrap();
    other["metadata"]["uid"] = json!("another");
    let said = as_person(none, &["open", "--file", "-", "--key", &file], &other.to_string()).await;
    assert!(said.code == 1 && said.err.contains("for another request") && said.out.is_empty(), "{said:?}");
}

#[tokio::test]
async fn whoever_lacks_the_key_or_the_right_is_told_so_and_gets_nothing() {
    let stage = quiet();
    let pod = stage.pod("open-refused", "orders-1", "orders").await.unwrap();
    let mount = pod.mount(&stage).unwrap();
    let (mine, public) = key(&mount.volume, "mine.pem").await;
    let (other, _) = key(&mount.volume, "other.pem").await;
    let request = pod.ask("mine", json!({"className": "sealed", "sealTo": public})).await.unwrap();
    grant(&stage, &request, "the token", MINUTES).await;
    let (name, admin) = (request.name_any(), stage.cluster.admin_kubeconfig());
    let stranger = stage.file("open-stranger.kubeconfig");
    stage.cluster.kubeconfig_for_user(&stranger, "stranger", &["people"]).unwrap();
    let [mine, other] = [mine, other].map(|path| path.to_str().unwrap().to_owned());
    for (kubeconfig, key, name, code, expected) in [
        (&admin, &other, name.as_str(), 1, "it was sealed to another key"),
        (&stranger, &mine, &name, 77, "you need the right to get accessrequests.daypass.dev"),
        (&admin, &mine, "nothing", 1, "there is no AccessRequest nothing"),
        (&admin, &"/no/such/key".to_owned(), &name, 1, "--key: cannot read /no/such/key"),
        (&admin, &public, &name, 1, "--key: cannot read"),
    ] {
        let said = as_person(kubeconfig, &["open", name, "-n", "open-refused", "--key", key], "").await;
        assert!(said.code == code && said.err.contains(expected) && said.out.is_empty(), "{code} {expected}: {said:?}");
        assert!(!said.err.contains("the token"), "{said:?}");
    }
    let again = as_person(&admin, &["open", "--generate-key", &mine], "").await;
    assert!(again.code == 73 && again.err.contains("never overwritten") && again.out.is_empty(), "{again:?}");
    let unwritable = ["open", &name, "-n", "open-refused", "--key", &mine, "--output", "/no/such/place/token"];
    let said = as_person(&admin, &unwritable, "").await;
    assert!(said.code == 73 && said.out.is_empty(), "{said:?}");
}

#[tokio::test]
async fn a_script_asks_for_a_token_that_somebody_else_opens() {
    let stage = quiet();
    let pod = stage.pod("open-script", "orders-1", "orders").await.unwrap();
    let mount = pod.mount(&stage).unwrap();
    let (file, public) = key(&mount.volume, "key.pem").await;
    let wrong = in_pod(&mount, &["request", "--token-class", "sealed", "--seal-to", "AAAA"]).await;
    assert!(wrong.code == 2 && wrong.err.contains("--seal-to: it is 3 bytes long"), "{wrong:?}");
    let args = ["request", "--token-class", "sealed", "--seal-to", &public, "--output", "json"];
    let (asked, _) = tokio::join!(in_pod(&mount, &args), async {
        let request = pending(&stage, &pod).await;
        grant(&stage, &request, "the token", MINUTES).await
    });
    assert_eq!(asked.code, 0, "{asked:?}");
    let answer: serde_json::Value = serde_json::from_str(&asked.out).unwrap();
    assert_eq!((&answer["outcome"], &answer["sealed"]["version"]), (&json!("Granted"), &json!(1)), "{answer}");
    assert!(!asked.out.contains("the token"));
    let (name, file) = (answer["request"].as_str().unwrap(), file.to_str().unwrap());
    let said = as_person(&stage.cluster.admin_kubeconfig(), &["open", name, "-n", "open-script", "--key", file], "").await;
    assert_eq!((said.code, said.out.as_str()), (0, "the token\n"), "{said:?}");
}

/// Every file below a directory: etcd's store and log, the audit log, the logs of each process.
fn files_below(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => files_below(&entry.path()),
            Ok(kind) if kind.is_file() => vec![entry.path()],
            _ => vec![],
        })
        .collect()
}

#[tokio::test]
async fn nothing_readable_lies_in_etcd_nor_in_any_log_of_the_control_plane() {
    let stage = quiet();
    let pod = stage.pod("open-etcd", "orders-1", "orders").await.unwrap();
    let mount = pod.mount(&stage).unwrap();
    let (file, public) = key(&mount.volume, "key.pem").await;
    let request = pod.ask("mine", json!({"className": "sealed", "sealTo": public})).await.unwrap();
    let token = "canary-c52b1f6e90d74a38";
    let granted = grant(&stage, &request, token, MINUTES).await;
    let open = ["open", &request.name_any(), "-n", "open-etcd", "--key", file.to_str().unwrap()];
    let said = as_person(&stage.cluster.admin_kubeconfig(), &open, "").await;
    assert_eq!(said.out, format!("{token}\n"));
    let sealed = granted.status.unwrap().credential.unwrap().sealed.unwrap();
    let (mut found, encoded) = (false, data_encoding::BASE64.encode(token.as_bytes()));
    for file in files_below(stage.cluster.dir()) {
        let Ok(bytes) = std::fs::read(&file) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        let holds = |part: &str| text.contains(part);
        assert!(!holds(token) && !holds(&encoded[..encoded.len() - 4]), "the token is readable in {}", file.display());
        found |= holds(&sealed.ciphertext);
    }
    assert!(found, "the search finds what is there");
}
