//! People with rights of their own: who may end is told apart from who may only look, and from who may not even that.

use kube::ResourceExt;

use super::{last, revoke};
use crate::{
    plugin::Person,
    scene::{SOON, Scene},
    support::shared,
};

#[tokio::test]
async fn a_person_without_the_right_is_told_which_one_and_with_it_is_on_record() {
    let here = shared();
    let home = &here.stage.operator_name().namespace;
    let scene = Scene::set(&here.stage, "revoke-rights").await;
    let granted = scene.granted("60s").await;
    let sam = Person::named(&here.stage, "sam");

    let said = revoke(&sam, &["--class", "revoke-rights"]).await;
    assert_eq!((said.code, said.out.as_str()), (77, ""), "{said:?}");
    let needed = "you need the right to list credentialleases.daypass.dev in namespace daypass-system: ask for a RoleBinding to the ClusterRole daypass-revoker";
    assert!(said.err.contains(needed) && said.err.contains("User \"sam\""), "{said:?}");

    // Who may look, and not end: nothing was changed, and that counts as failed.
    sam.may("sam", "daypass-viewer", home).await;
    let looks = devcluster::wait::until("the binding to count", SOON, || async {
        let said = sam.kubectl(&["daypass", "revoke", "--class", "revoke-rights", "--dry-run"]).await;
        (said.code == 0).then_some(said)
    });
    assert!(looks.await.unwrap().out.contains("1 credential would end"));
    let said = revoke(&sam, &["--class", "revoke-rights"]).await;
    assert_eq!((said.code, last(&said)), (77, "0 proven dead, 0 still waiting, 1 failed"), "{said:?}");
    assert!(said.err.contains("you need the right to patch credentialleases.daypass.dev") && said.err.contains("FAILED"), "{said:?}");
    assert!(scene.leases().get(&granted.lease.name_any()).await.unwrap().spec.revoke.is_none());

    let said = revoke(&sam, &["--class", "revoke-rights", "--image", "registry.example/app"]).await;
    assert!(said.code == 77 && said.err.contains("you need the right to list pods in every namespace"), "{said:?}");

    sam.may("sam", "daypass-revoker", home).await;
    let may = devcluster::wait::until("the binding to count", SOON, || async {
        let said = sam.kubectl(&["auth", "can-i", "patch", "credentialleases.daypass.dev", "-n", home]).await;
        (said.code == 0).then_some(())
    });
    may.await.unwrap();
    let said = revoke(&sam, &["--class", "revoke-rights"]).await;
    assert_eq!((said.code, last(&said)), (0, "1 proven dead, 0 still waiting, 0 failed"), "{said:?}");
    assert_eq!(scene.leases().get(&granted.lease.name_any()).await.unwrap().spec.revoke.unwrap().by, "sam");
}
