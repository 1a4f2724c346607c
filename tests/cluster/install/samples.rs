//! What people copy from `deploy/samples` is taken as it stands.

use serde_json::Value;

use super::tools::source;
use crate::kinds::{Author, quiet};

#[tokio::test]
async fn the_samples_are_taken_by_a_strict_api_server() {
    let stage = quiet();
    // The request of the samples is made by a pod of shop/orders.
    let pod = stage.pod("shop", "orders-1", "orders").await.unwrap();
    for sample in ["class", "policy", "access"] {
        let file = source(&format!("deploy/samples/{sample}.yaml")).display().to_string();
        let output = stage.cluster.kubectl(["apply", "--dry-run=server", "--validate=strict", "-f", &file]).await.unwrap();
        assert!(output.status.success(), "{sample}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let request: Value = serde_saphyr::from_str(daypass::install::samples::REQUEST).unwrap();
    let taken = Author::new(pod.client).try_create(&request).await.unwrap();
    assert_eq!(taken["spec"]["requester"]["username"], "system:serviceaccount:shop:orders");
    for field in request["spec"].as_object().unwrap().keys() {
        assert_eq!(taken["spec"][field], request["spec"][field], "{field} was dropped");
    }
}
