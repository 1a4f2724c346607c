//! What can be told of the pages without running them: the API server takes every manifest, the binary takes every command, and figures,
//! images and links are what they are.

use std::{process::Command, time::Duration};

use daypass::{core::renewal::renew_after, install::Values};
use devcluster::workload;
use serde_json::json;

use super::{
    applied::NAMESPACE,
    hosted::is_daypass,
    page::{Page, containers, pod_template, words},
};
use crate::{kinds::quiet, support::daypass};

#[tokio::test]
async fn every_manifest_is_taken_by_a_strict_api_server_without_a_warning() {
    let stage = quiet();
    let standard = ["enforce", "warn"].map(|mode| format!("pod-security.kubernetes.io/{mode}"));
    let admin = stage.cluster.admin().unwrap();
    workload::namespace(&admin, NAMESPACE, &[]).await.unwrap();
    let labels = standard.map(|label| format!("{label}=restricted"));
    let account = stage.file("recipes-account.yaml").display().to_string();
    let orders = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "orders", "namespace": NAMESPACE}});
    std::fs::write(&account, orders.to_string()).unwrap();
    for args in [
        &["label", "namespace", NAMESPACE, "--overwrite", &labels[0], &labels[1]][..],
        // A pod needs its account to be there.
        &["apply", "-f", &account],
    ] {
        let output = stage.cluster.kubectl(args).await.unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let mut taken = 0;
    for page in Page::all() {
        for (number, document) in page.documents().iter().enumerate() {
            let file = stage.file(&format!("{}-{number}.yaml", page.name)).display().to_string();
            std::fs::write(&file, document).unwrap();
            let output = stage.cluster.kubectl(["apply", "--dry-run=server", "--validate=strict", "-f", &file]).await.unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.is_empty(), "{}: {said}\n{document}", page.name);
            taken += 1;
        }
    }
    assert!(taken >= 20, "only {taken} manifests were found");
}

#[test]
fn every_command_is_one_that_the_binary_takes() {
    let mut parsed = 0;
    for page in Page::all() {
        for object in page.objects() {
            for container in pod_template(&object).into_iter().flat_map(containers) {
                let (command, args) = (words(&container["command"]), words(&container["args"]));
                let line = match command.split_first() {
                    Some((program, rest)) if program.ends_with("/daypass") => rest.iter().chain(&args).cloned().collect(),
                    // The image's entrypoint is the program.
                    None if is_daypass(container) => args,
                    _ => continue,
                };
                if let Err(problem) = takes(&line) {
                    panic!("{}: {line:?}: {problem}", page.name);
                }
                parsed += 1;
            }
        }
    }
    assert!(parsed >= 10, "only {parsed} commands were found");
}

#[test]
fn a_flag_that_does_not_exist_would_be_found() {
    let takes = |line: &[&str]| takes(&line.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    assert_eq!(takes(&["agent", "--class", "c", "--dir", "/d"]), Ok(()));
    for wrong in [
        &["agent", "--class", "c", "--dir", "/d", "--sidecar"][..],
        &["agent", "--class", "c"],
        &["exec", "--class", "c", "--wat", "5m", "--", "true"],
        &["install", "/d", "--mode", "0700"],
        &["request", "--class", "c", "--secret-name", "daypass-x", "--dir", "/d"],
    ] {
        assert!(takes(wrong).is_err(), "{wrong:?}");
    }
}

/// Whether the binary takes these arguments: outside a pod it then says just that, before it does anything. `install` needs no pod, and is
/// asked for its help behind its arguments.
fn takes(line: &[String]) -> Result<(), String> {
    let (help, code): (&[&str], i32) = if line[0] == "install" { (&["--help"], 0) } else { (&[], 78) };
    let output = Command::new(daypass()).args(line).args(help).env_clear().output().unwrap();
    if output.status.code() == Some(code) { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// The image holds `/daypass` and nothing else: a volume over it leaves nothing to start.
#[test]
fn no_volume_hides_the_program_of_the_image() {
    for page in Page::all() {
        for object in page.objects() {
            for container in pod_template(&object).into_iter().flat_map(containers).filter(|container| is_daypass(container)) {
                let mounts = container["volumeMounts"].as_array().into_iter().flatten();
                let paths: Vec<_> = mounts.map(|mount| mount["mountPath"].as_str().unwrap()).collect();
                assert!(paths.iter().all(|path| *path != "/" && !path.starts_with("/daypass")), "{}: {paths:?}", page.name);
            }
        }
    }
}

#[test]
fn the_image_is_that_of_this_version() {
    let image = Values::default().image;
    for page in Page::all() {
        for mention in page.text.lines().filter(|line| line.contains("daypass-dev/daypass")) {
            assert!(mention.ends_with(&format!("image: {image}")), "{}: {mention}", page.name);
        }
    }
}

/// The kubelet's part is played with what these volumes and users are.
#[test]
fn credentials_are_in_memory_and_in_bounds_and_shared_by_one_user_or_one_group() {
    let mut pods = 0;
    for page in Page::all() {
        for object in page.objects() {
            let Some(pod) = pod_template(&object) else { continue };
            pods += 1;
            for volume in pod["volumes"].as_array().unwrap().iter().filter(|volume| volume["name"] == "credential") {
                assert_eq!(volume["emptyDir"], json!({"medium": "Memory", "sizeLimit": "1Mi"}), "{}", page.name);
            }
            let one_user = pod["securityContext"]["runAsUser"].is_u64();
            assert!(one_user || pod["securityContext"]["fsGroup"].is_u64(), "{}", page.name);
            for container in containers(pod) {
                assert!(!one_user || container["securityContext"]["runAsUser"].is_null(), "{}: two users", page.name);
                assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true, "{}", page.name);
            }
        }
    }
    assert!(pods >= 8, "only {pods} pods were found");
}

#[test]
fn the_budgets_are_those_of_the_rule_of_renewal() {
    let page = Page::read("README.md");
    for minutes in [1, 5, 10, 15] {
        let life = Duration::from_secs(60 * minutes);
        let (early, late) = (renew_after(life, 0.0), renew_after(life, 1.0));
        let row = format!("| {minutes}m | {} to {} | {} to {} |", said(early), said(late), said(life - late), said(life - early));
        assert!(page.text.contains(&row), "the table lacks: {row}");
    }
    let (early, late) = (renew_after(Duration::from_secs(1), 0.0).as_secs_f64(), renew_after(Duration::from_secs(1), 1.0).as_secs_f64());
    let formula = format!("budget = TTL − renewal = TTL × {:.3} … {:.1}", 1.0 - late, 1.0 - early);
    assert!(page.text.contains(&formula), "the formula is: {formula}");
}

/// `3m 40s`, without what is zero.
fn said(duration: Duration) -> String {
    let seconds = duration.as_secs_f64().round() as u64;
    let parts = [(seconds / 60, "m"), (seconds % 60, "s")];
    parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_page_is_found_from_the_first_one() {
    let (first, pages) = (Page::read("README.md"), Page::all());
    for page in pages.iter().filter(|page| page.name != first.name) {
        assert!(first.text.contains(&format!("({})", page.name)), "{} is not in the table", page.name);
    }
    // What pages say of each other leads to a page, and to a heading of it.
    for page in &pages {
        for link in page.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let file = if file.is_empty() { &page.name } else { file };
            let to = pages.iter().find(|page| page.name == file).unwrap_or_else(|| panic!("{}: {link} leads nowhere", page.name));
            let slug = |line: &str| line.trim_start_matches(['#', ' ']).to_lowercase().replace(' ', "-");
            let there = heading.is_empty() || to.text.lines().any(|line| line.starts_with('#') && slug(line) == heading);
            assert!(there, "{}: {link} leads to no heading", page.name);
        }
    }
}
