//! Jobs and CronJobs: with exec, and with the agent as a native sidecar.

use devcluster::{supervisor::Exit, wait};
use serde_json::{Value, json};

use super::{
    applied::{NAMESPACE, applied, apply_text, kubectl},
    hosted::Hosted,
    page::Page,
};
use crate::{
    pods,
    scene::SOON,
    support::{Running, shared},
};

/// The application of these tests: whether its files are there, and what they are.
const LOOK: &str = "test -s \"$DAYPASS_DIR/tls.key\" && cp -rL \"$DAYPASS_DIR\" ";

#[tokio::test]
async fn a_job_runs_through_exec_gives_its_credential_back_and_completes() {
    let here = shared();
    applied(&here, "job.md").await;
    let pod = Hosted::take(&here, "orders-export").await;
    let installed = pod.container("daypass").await.run().await;
    assert_eq!(installed.code, 0, "{installed:?}");
    let kept = pod.mount.volume.join("kept");
    let export = pod.container("export").await.instead(&["sh", "-c", &format!("{LOOK}{}", kept.display())]);
    assert!(export.words[0].ends_with("/program/daypass"), "the installed program: {:?}", export.words);
    let said = export.run().await;
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
    pods::judged(&pod.scene, &kept).await;
    assert!(!pod.volume("credential").join("tls.key").exists(), "no key is left behind");
    pod.given_back().await;
    pod.finish(0).await;
    until_job(&here, "orders-export", "Complete").await;
}

#[tokio::test]
async fn a_job_that_is_denied_fails_at_once_and_is_not_tried_again() {
    let here = shared();
    applied(&here, "job.md").await;
    here.stage.platform(forbid("orders-forbidden")).await.unwrap();
    here.wait_ready("dpcpol/orders-forbidden").await;
    // The recipe's Job under another name.
    let manifest = Page::read("job.md").documents().into_iter().find(|text| text.contains("name: orders-export\n")).unwrap();
    apply_text(&here, "forbidden", &manifest.replace("orders-export", "orders-forbidden")).await;
    let pod = Hosted::take(&here, "orders-forbidden").await;
    pod.container("daypass").await.run().await;
    let said = pod.container("export").await.instead(&["echo", "it ran"]).run().await;
    assert_eq!((said.code, said.out.as_str()), (77, ""), "{said:?}");
    assert!(said.err.contains("is denied, Forbidden"), "{}", said.err);
    pod.finish(said.code).await;
    until_job(&here, "orders-forbidden", "Failed").await;
    let reason = kubectl(
        &here,
        &["-n", NAMESPACE, "get", "job", "orders-forbidden", "-o", "jsonpath={.status.conditions[?(@.type==\"Failed\")].reason}"],
    );
    assert_eq!(reason.await, "PodFailurePolicy");
}

#[tokio::test]
async fn a_job_with_a_sidecar_completes_when_its_application_has_ended() {
    let here = shared();
    applied(&here, "job.md").await;
    let pod = Hosted::take(&here, "orders-import").await;
    let agent = pod.container("daypass").await.start();
    pod.started("daypass", &agent).await;
    let kept = pod.mount.volume.join("kept");
    let script = format!("{LOOK}{}", kept.display());
    let import = pod.container("import").await.env("DAYPASS_DIR", pod.volume("credential").to_str().unwrap());
    let said = import.instead(&["sh", "-c", &script]).run().await;
    assert_eq!(said.code, 0, "{said:?}");
    pods::judged(&pod.scene, &kept).await;
    // The kubelet's part: when the last container has ended it ends the sidecars.
    assert_eq!(agent.stop().await, Exit::Code(0));
    pod.given_back().await;
    pod.finish(0).await;
    until_job(&here, "orders-import", "Complete").await;
}

#[tokio::test]
async fn a_cron_job_holds_a_credential_while_it_runs_and_none_between_two_runs() {
    let here = shared();
    applied(&here, "cronjob.md").await;
    for run in ["orders-report-first", "orders-report-second"] {
        kubectl(&here, &["-n", NAMESPACE, "create", "job", run, "--from=cronjob/orders-report"]).await;
        let pod = Hosted::take(&here, "orders-report").await;
        let installed = pod.container("daypass").await.run().await;
        assert_eq!(installed.code, 0, "{installed:?}");
        let kept = pod.mount.volume.join("kept");
        let script = format!("{LOOK}{} && echo \"$REPORT_ENDS\"", kept.display());
        let said = pod.container("report").await.instead(&["sh", "-c", &script]).run().await;
        assert_eq!(said.code, 0, "{said:?}");
        pods::judged(&pod.scene, &kept).await;
        assert_eq!(said.out, std::fs::read_to_string(kept.join("expires-at")).unwrap());
        pod.given_back().await;
        assert_eq!(pod.leases().await.len(), 1);
        pod.finish(0).await;
        until_job(&here, run, "Complete").await;
    }
}

/// Nothing for pods with this label.
fn forbid(app: &str) -> Value {
    json!({
        "apiVersion": "daypass.dev/v1alpha1", "kind": "ClusterAccessPolicy", "metadata": {"name": app},
        "spec": {
            "effect": "Forbid", "classes": ["orders-db"],
            "subjects": [{"namespaces": [NAMESPACE], "serviceAccountNames": ["*"], "podSelector": {"matchLabels": {"app": app}}}],
        },
    })
}

async fn until_job(here: &Running, job: &str, condition: &str) {
    let name = format!("job/{job}");
    let look = || async {
        let args = ["-n", NAMESPACE, "wait", &format!("--for=condition={condition}"), "--timeout=1s", &name];
        here.stage.cluster.kubectl(args).await.unwrap().status.success().then_some(())
    };
    wait::until(&format!("{name} to be {condition}"), SOON, look).await.unwrap();
}
