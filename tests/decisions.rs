//! Stories of decisions: `tests/decisions/*.yaml`, each with the explanation that people read beside it. See the README there.

#[path = "decisions/given.rs"]
mod given;

use std::{fs, path::Path};

use daypass::core::{decide, explain};

use given::Story;

#[test]
fn every_story_ends_as_written() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/decisions");
    let mut paths: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    assert!(paths.len() >= 20, "the stories are gone from {}", dir.display());
    for path in paths {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        let story: Story = serde_saphyr::from_str(&text).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        let world = story.given.world().unwrap_or_else(|problem| panic!("{name}: {problem}"));
        let told = explain::render(&decide(&world), &world);
        insta::with_settings!({ snapshot_path => "decisions", prepend_module_to_snapshot => false, description => story.story, omit_expression => true }, {
            insta::assert_snapshot!(name, told);
        });
    }
}
