//! The fault proxy does to a write what its script says, and nothing to anything else.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use devcluster::{
    Cluster, Options,
    proxy::{Action, Call, Entry, Proxy, Script},
    wait,
    workload::{self, TokenOptions},
};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, PostParams, WatchEvent, WatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};

/// A client whose kubeconfig points at the proxy and whose token is read from a file, as the operator's is.
async fn through(proxy: &Proxy, cluster: &Cluster) -> Client {
    let admin = cluster.admin().unwrap();
    let token = workload::unbound_token(&admin, "default", "tester", &TokenOptions::default()).await.unwrap();
    let (file, kubeconfig) = (cluster.dir().join("token"), cluster.dir().join("through-the-proxy"));
    std::fs::write(&file, token).unwrap();
    cluster.kubeconfig_with_token_file(&kubeconfig, &file, proxy.url()).unwrap();
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

fn config_map(name: &str) -> ConfigMap {
    serde_json::from_value(serde_json::json!({"metadata": {"name": name}})).unwrap()
}

fn creates(call: &Call) -> bool {
    call.method == http::Method::POST && call.path.ends_with("/configmaps")
}

fn codes(entry: &Entry) -> (Option<u16>, Option<u16>) {
    (entry.upstream, entry.code)
}

#[tokio::test]
async fn each_fault_hits_its_write_and_the_log_tells_what_was_committed() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let admin = cluster.admin().unwrap();
    workload::service_account(&admin, "default", "tester").await.unwrap();
    let granted =
        cluster.kubectl(["create", "clusterrolebinding", "tester", "--clusterrole=cluster-admin", "--serviceaccount=default:tester"]);
    assert!(granted.await.unwrap().status.success());
    let direct: Api<ConfigMap> = Api::namespaced(admin, "default");
    let killed = Arc::new(AtomicBool::new(false));
    let kill = {
        let killed = killed.clone();
        Action::call(move || {
            killed.store(true, Ordering::SeqCst);
            std::future::ready(())
        })
    };
    let script = Script::counting(creates)
        .before(2, Action::Drop)
        .after(3, Action::Drop)
        .before(4, Action::Answer(429))
        .after(5, Action::Answer(504))
        .after(6, kill)
        .before(7, Action::Hang)
        .before(8, Action::Delay(Duration::from_millis(1)));
    let proxy = Proxy::start(&cluster, script).await.unwrap();
    let client = through(&proxy, &cluster).await;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let post = PostParams::default();

    // A watch streams through while writes go by.
    let mut seen = maps.watch(&WatchParams::default(), "0").await.unwrap().boxed();

    assert!(maps.create(&post, &config_map("w1")).await.is_ok());
    for (name, answer, committed) in
        [("w2", None, false), ("w3", None, true), ("w4", Some(429), false), ("w5", Some(504), true), ("w6", None, true)]
    {
        let error = maps.create(&post, &config_map(name)).await.unwrap_err();
        let code = match &error {
            kube::Error::Api(status) => Some(status.code),
            _ => None,
        };
        assert_eq!(code, answer, "{name}: {error}");
        assert_eq!(direct.get_opt(name).await.unwrap().is_some(), committed, "{name}");
    }
    assert!(killed.load(Ordering::SeqCst));

    let hanging = tokio::spawn({
        let maps = maps.clone();
        async move { maps.create(&PostParams::default(), &config_map("w7")).await }
    });
    proxy.reached(7).await;
    assert!(direct.get_opt("w7").await.unwrap().is_none());
    proxy.release();
    hanging.await.unwrap().unwrap();
    maps.create(&post, &config_map("w8")).await.unwrap();
    // Neither of these is counted.
    maps.delete("w8", &DeleteParams::default()).await.unwrap();
    Api::<ServiceAccount>::namespaced(client, "default")
        .create(&post, &ServiceAccount { metadata: config_map("sa").metadata, ..Default::default() })
        .await
        .unwrap();

    let writes = proxy.writes();
    assert_eq!(writes.iter().filter_map(|write| write.n).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8]);
    let (ok, none) = (Some(201), None);
    let expected = [(ok, ok), (none, none), (ok, none), (none, Some(429)), (ok, Some(504)), (ok, none), (ok, ok), (ok, ok)];
    assert_eq!(writes.iter().map(codes).collect::<Vec<_>>(), expected);

    let mut watched = Vec::new();
    while let Some(event) = seen.try_next().await.unwrap() {
        if let WatchEvent::Added(map) = event {
            watched.extend(map.metadata.name);
        }
        if watched.last().is_some_and(|name| name == "w8") {
            break;
        }
    }
    assert!(watched.contains(&"w3".to_owned()), "{watched:?}");

    proxy.play(Script::quiet().before(1, Action::Answer(409)));
    assert!(matches!(maps.create(&post, &config_map("again")).await, Err(kube::Error::Api(status)) if status.is_conflict()));
    maps.create(&post, &config_map("again")).await.unwrap();
    assert_eq!(proxy.log().len(), 2, "another script begins with an empty log");

    // A client that is killed while its write is on the way: the write is done all the same, and the log says so.
    proxy.play(Script::counting(creates).before(1, Action::Hang));
    let dying = tokio::spawn(async move { maps.create(&PostParams::default(), &config_map("orphan")).await });
    proxy.reached(1).await;
    dying.abort();
    assert!(dying.await.unwrap_err().is_cancelled());
    proxy.release();
    let committed = || std::future::ready(proxy.writes()[0].upstream);
    assert_eq!(wait::until("the orphaned write", Duration::from_secs(20), committed).await.unwrap(), 201);
    assert!(direct.get_opt("orphan").await.unwrap().is_some());
}
