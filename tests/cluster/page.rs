//! The commands of pages of `docs/`, run as they stand there, by the shell, from the root of this repository.

use std::path::Path;

use stage::Stage;

use crate::{plugin::Person, pods::Said};

/// The shell blocks below a heading of docs/revoking.md.
pub fn blocks(heading: &str) -> Vec<String> {
    blocks_of("docs/revoking.md", heading)
}

/// The shell blocks below a heading of a page.
pub fn blocks_of(page: &str, heading: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let text = std::fs::read_to_string(path).unwrap();
    let section = text.split("\n## ").find(|section| section.lines().next() == Some(heading));
    let section = section.unwrap_or_else(|| panic!("{page} has no section {heading:?}"));
    let blocks = section.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap().to_owned());
    blocks.collect()
}

/// Runs one block as the administrator, with kubectl and the plugin on the PATH; it has to succeed.
pub async fn run(stage: &Stage, block: &str) -> Said {
    let tools = stage.cluster.kubectl_path().parent().unwrap().display().to_string();
    let script = format!("set -euo pipefail\nPATH={tools}:$PATH\n{block}");
    let said = Person::admin(stage).run(Path::new("bash"), &["-c", &script]).await;
    assert_eq!(said.code, 0, "{block}\n{said:?}");
    said
}
