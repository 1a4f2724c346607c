//! Which pods run an image, by what their manifests and their kubelets say. Pure.
//!
//! A manifest says what was asked for, a kubelet what is there: a tag that has been moved shows in one of them alone, so either is enough.

use k8s_openapi::api::core::v1::Pod;

/// Whether a container of this pod, of any sort, is of this image: `repository`, `repository:tag`, `repository@sha256:…` or `sha256:…`.
pub fn runs(pod: &Pod, image: &str) -> bool {
    said(pod).any(|held| is(&held, image))
}

/// Everything that names an image in a pod.
fn said(pod: &Pod) -> impl Iterator<Item = String> {
    let mut held = Vec::new();
    if let Some(spec) = &pod.spec {
        let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        held.extend(containers.filter_map(|container| container.image.clone()));
        held.extend(spec.ephemeral_containers.iter().flatten().filter_map(|container| container.image.clone()));
    }
    if let Some(status) = &pod.status {
        let lists = [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
        held.extend(lists.into_iter().flatten().flatten().flat_map(|container| [container.image.clone(), container.image_id.clone()]));
    }
    held.into_iter()
}

fn is(held: &str, image: &str) -> bool {
    // Some runtimes put a scheme before it.
    let held = held.split_once("://").map_or(held, |(_, held)| held);
    let (repository, digest) = held.split_once('@').map_or((held, None), |(repository, digest)| (repository, Some(digest)));
    held == image || repository == image || digest == Some(image) || untagged(repository) == image
}

/// Without the tag; the colon of a registry's port comes before a slash.
fn untagged(repository: &str) -> &str {
    match repository.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') && !name.is_empty() => name,
        _ => repository,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DIGEST: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

    fn pod() -> Pod {
        let image = format!("registry.example:5000/shop/app@{DIGEST}");
        serde_json::from_value(json!({
            "spec": {
                "containers": [{"name": "app", "image": "registry.example:5000/shop/app:1.2"}],
                "initContainers": [{"name": "init", "image": "tools"}],
                "ephemeralContainers": [{"name": "debug", "image": "busybox:latest"}],
            },
            "status": {"containerStatuses": [{
                "name": "app", "image": "registry.example:5000/shop/app:1.2", "imageID": format!("docker-pullable://{image}"),
                "ready": true, "restartCount": 0,
            }]},
        }))
        .unwrap()
    }

    #[test]
    fn an_image_is_found_by_repository_by_tag_and_by_digest_in_containers_of_every_sort() {
        let by_digest = format!("registry.example:5000/shop/app@{DIGEST}");
        for image in [
            "registry.example:5000/shop/app",
            "registry.example:5000/shop/app:1.2",
            &by_digest,
            DIGEST,
            "tools",
            "busybox",
            "busybox:latest",
        ] {
            assert!(runs(&pod(), image), "{image}");
        }
    }

    #[test]
    fn nothing_that_only_looks_like_it_is_taken_for_it() {
        for image in [
            "app",
            "shop/app",
            "registry.example",
            "registry.example:5000/shop/app:1",
            "registry.example:5000/shop/ap",
            "busybox:1",
            "sha256:1111",
            "",
        ] {
            assert!(!runs(&pod(), image), "{image}");
        }
        assert!(!runs(&Pod::default(), "app"));
    }
}
