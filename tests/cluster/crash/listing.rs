//! The publication of a revocation list under faults: the first list of an authority, and the one that names what was taken back.

use std::time::Duration;

use daypass::api::{Delivery, Proof};
use devcluster::proxy::{Action, Call, Fault, Script};
use http::Method;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt};
use serde_json::json;

use super::{
    lives::{End, Form},
    rig::{ACCOUNT, NAMESPACE, Rig, ready},
};
use crate::{
    revocation::{dated, with_list},
    scene::merge,
    support::{class, permit},
};

const REACHED_WITHIN: Duration = Duration::from_secs(45);
const SETTLES_WITHIN: Duration = Duration::from_secs(60);

/// Writes of the list of this authority. A create bears no name; the operator makes no other ConfigMap by then.
fn publishes(ca: &str) -> impl Fn(&Call) -> bool + Send + Sync + 'static {
    let name = format!("/configmaps/daypass-crl-{ca}");
    move |call| call.path.ends_with(&name) || (call.method == Method::POST && call.path.ends_with("/namespaces/daypass-system/configmaps"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_whose_publication_is_cut_off_names_what_was_taken_back_all_the_same() {
    let rig = Rig::set(30).await;
    let faults = [
        ("list-lost", Fault::After(Action::Drop)),
        ("list-dropped", Fault::Before(Action::Drop)),
        ("list-409", Fault::Before(Action::Answer(409))),
        ("list-429", Fault::Before(Action::Answer(429))),
        ("list-500", Fault::Before(Action::Answer(500))),
        ("list-killed-before", Fault::Before(Action::Hang)),
        ("list-killed-after", Fault::After(Action::Hang)),
    ];
    for (name, fault) in faults {
        let met = async || {
            tokio::time::timeout(REACHED_WITHIN, rig.proxy.reached(1)).await.unwrap_or_else(|_| panic!("{name}: no list is published"));
            if matches!(fault, Fault::Before(Action::Hang) | Fault::After(Action::Hang)) {
                rig.crash_and_restart().await;
            }
        };
        let cut_off = || {
            let script = Script::counting(publishes(name));
            match fault.clone() {
                Fault::Before(action) => script.before(1, action),
                Fault::After(action) => script.after(1, action),
            }
        };
        rig.proxy.play(cut_off());
        let mut with_a_list = class(name);
        merge(&mut with_a_list["spec"], with_list(name, "60s"));
        rig.stage().platform(with_a_list).await.unwrap();
        rig.stage().platform(permit(name, NAMESPACE, ACCOUNT, name, json!({}))).await.unwrap();
        met().await;
        ready(rig.stage(), &[format!("dpclass/{name}"), format!("dpcpol/{name}")]).await;
        let first = number(&rig, name).await;

        let life = rig.live(name.to_owned(), Form { class: name, delivery: Delivery::CSR }, End::Expired, 300).await;
        rig.proxy.play(cut_off());
        rig.revoke(&life.names.lease).await;
        met().await;
        rig.over(std::slice::from_ref(&life), SETTLES_WITHIN).await;
        let lease = rig.sight().await.unwrap().after.into_iter().find(|lease| lease.name_any() == life.names.lease).unwrap();
        assert_eq!(lease.status.unwrap().proof, Some(Proof::CRLPublished), "{name}");
        assert!(number(&rig, name).await > first, "{name}: numbers rise");
    }
    rig.audit().await;
}

/// Number of the published list.
async fn number(rig: &Rig, ca: &str) -> u64 {
    let maps = Api::<ConfigMap>::namespaced(rig.admin.clone(), &rig.stage().operator_name().namespace);
    let lists = maps.get(&format!("daypass-crl-{ca}")).await.unwrap().binary_data.unwrap();
    let newest = lists.iter().filter(|(key, _)| key.ends_with(".crl")).map(|(_, list)| dated(&list.0).0).max();
    newest.expect("a list")
}
