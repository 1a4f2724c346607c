//! Whether a pod is of an image: the one meaning that locks and `daypass revoke` give to the name of an image. Pure.
//!
//! A manifest says what was asked for, a kubelet what is there: a tag that has been moved shows in one of them alone, so either is enough.

/// Names that are kept of one pod at most.
const MOST: usize = 256;
/// Length of a name that is kept, in bytes.
const LONGEST: usize = 1024;

/// Everything that names an image in a pod: containers of every sort, manifest and kubelet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images {
    /// In their order, each once.
    names: Vec<String>,
    /// There are more, or longer ones, than are kept.
    more: bool,
}

impl Images {
    /// What is kept of these names.
    pub fn of<'a>(said: impl IntoIterator<Item = &'a str>) -> Self {
        let mut images = Self::default();
        for name in said.into_iter().filter(|name| !name.is_empty()) {
            match images.names.binary_search_by(|held| held.as_str().cmp(name)) {
                Ok(_) => {}
                Err(place) if images.names.len() < MOST && name.len() <= LONGEST => images.names.insert(place, name.to_owned()),
                Err(_) => images.more = true,
            }
        }
        images
    }

    /// Whether any of them is this image: `repository`, `repository:tag`, `repository@sha256:…` or `sha256:…`. A pod with more names than are
    /// kept is of every image: nobody hides one behind hundreds of others.
    pub fn any_is(&self, image: &str) -> bool {
        self.more || self.names.iter().any(|held| is(held, image))
    }
}

fn is(held: &str, image: &str) -> bool {
    // Some runtimes put a scheme before it.
    let held = held.split_once("://").map_or(held, |(_, held)| held);
    let (repository, digest) = held.split_once('@').map_or((held, None), |(repository, digest)| (repository, Some(digest)));
    held == image || repository == image || digest == Some(image) || untagged(repository) == image || without_tag(held, image)
}

/// `repository:tag@digest` is `repository@digest` as well.
fn without_tag(held: &str, image: &str) -> bool {
    match (held.split_once('@'), image.split_once('@')) {
        (Some((held, digest)), Some((repository, wanted))) => digest == wanted && untagged(held) == repository,
        _ => false,
    }
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
    use super::*;

    const DIGEST: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

    fn images() -> Images {
        let image = format!("docker-pullable://registry.example:5000/shop/app@{DIGEST}");
        Images::of(["registry.example:5000/shop/app:1.2", &image, "tools", "busybox:latest", "tools", ""])
    }

    #[test]
    fn an_image_is_found_by_repository_by_tag_and_by_digest() {
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
            assert!(images().any_is(image), "{image}");
        }
        let both = format!("shop/app:1.2@{DIGEST}");
        let pinned = Images::of([both.as_str()]);
        for image in ["shop/app", "shop/app:1.2", DIGEST, &both, &format!("shop/app@{DIGEST}")] {
            assert!(pinned.any_is(image), "{image}");
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
            assert!(!images().any_is(image), "{image}");
        }
        assert!(!Images::default().any_is("app"));
    }

    #[test]
    fn what_is_kept_is_bounded_and_hides_nothing() {
        let many: Vec<String> = (0..=MOST).map(|n| format!("image-{n}")).collect();
        let kept = Images::of(many.iter().map(String::as_str));
        assert!(kept.names.len() == MOST && kept.any_is("any"));
        let long = "x".repeat(LONGEST + 1);
        assert!(Images::of([long.as_str()]).any_is("any"));
        assert!(!Images::of(many[1..].iter().map(String::as_str)).any_is("any"));
    }
}
