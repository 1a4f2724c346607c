//! People without rights, without a server, without a clue: each is told what is missing, and scripts can tell them apart.

use std::net::TcpListener;

use kube::ResourceExt;

use super::{Person, cells};
use crate::{scene::Scene, support::shared};

#[tokio::test]
async fn a_person_without_rights_is_told_which_one_is_missing_and_what_to_ask_for() {
    let here = shared();
    let scene = Scene::set(&here.stage, "plugin-rights").await;
    let granted = scene.granted("10m").await.request.name_any();
    let rita = Person::named(&here.stage, "rita");
    for (args, right, binding) in [
        (&["-A"][..], "list accessrequests.daypass.dev in every namespace", "a ClusterRoleBinding to the ClusterRole daypass-viewer"),
        (
            &["-n", "plugin-rights"],
            "list accessrequests.daypass.dev in namespace plugin-rights",
            "a RoleBinding to the ClusterRole daypass-viewer",
        ),
        (&[&granted, "-n", "plugin-rights"], "get accessrequests.daypass.dev in namespace plugin-rights", "a RoleBinding"),
    ] {
        let said = rita.kubectl(&[&["daypass", "get"], args].concat()).await;
        assert_eq!((said.code, said.out.as_str()), (77, ""), "{said:?}");
        assert!(said.err.contains(right) && said.err.contains(binding) && said.err.contains("User \"rita\""), "{said:?}");
    }

    // What she was told to ask for is what she needs.
    rita.may_view("rita", "plugin-rights").await;
    let seen = devcluster::wait::until("the binding to count", crate::scene::SOON, || async {
        Some(rita.kubectl(&["daypass", "get", "-n", "plugin-rights"]).await).filter(|said| said.code == 0)
    });
    assert_eq!(cells(&seen.await.unwrap().out)[1][0], granted);
    assert_eq!(rita.kubectl(&["daypass", "get", &granted, "-n", "plugin-rights"]).await.code, 0);
    let said = rita.kubectl(&["daypass", "get", "-A"]).await;
    assert!(said.code == 77 && said.err.contains("or look into one namespace with -n"), "{said:?}");
}

#[tokio::test]
async fn exit_codes_tell_a_wrong_line_from_a_missing_request_and_from_a_missing_server() {
    let here = shared();
    let admin = Person::admin(&here.stage);
    let said = admin.kubectl(&["daypass", "get", "nobody", "-n", "default"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("there is no AccessRequest nobody in namespace default"), "{said:?}");
    let said = admin.kubectl(&["daypass", "get", "--nonsense"]).await;
    assert!(said.code == 2 && said.err.contains("Usage: kubectl daypass get"), "{said:?}");
    let said = admin.kubectl(&["daypass", "get", "-A", "--context", "nowhere"]).await;
    assert!(said.code == 1 && said.err.contains("--context nowhere: there is none of that name, only devcluster"), "{said:?}");

    // A port that nobody listens on any more.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (kubeconfig, token) = (here.stage.file("plugin-away.kubeconfig"), here.stage.file("plugin-away.token"));
    std::fs::write(&token, "nobody's").unwrap();
    let server = format!("https://{gone}").parse().unwrap();
    here.stage.cluster.kubeconfig_with_token_file(&kubeconfig, &token, &server).unwrap();
    let lost = Person { stage: &here.stage, kubeconfig: kubeconfig.clone() };
    let said = lost.kubectl(&["daypass", "get", "-A"]).await;
    assert!(said.code == 69 && said.err.contains("no answer from the API server"), "{said:?}");

    let server = here.stage.cluster.server_urls().remove(0);
    here.stage.cluster.kubeconfig_with_token_file(&kubeconfig, &token, &server).unwrap();
    let said = lost.kubectl(&["daypass", "get", "-A"]).await;
    assert!(said.code == 77 && said.err.contains("the API server does not know you (401)"), "{said:?}");
}
