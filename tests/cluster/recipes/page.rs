//! The pages of `docs/recipes`, and the manifests in them.

use std::path::PathBuf;

use serde_json::Value;

/// One page.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its file.
    pub name: String,
    /// All of it.
    pub text: String,
}

impl Page {
    /// The page in this file.
    pub fn read(name: &str) -> Self {
        let text = std::fs::read_to_string(directory().join(name)).unwrap_or_else(|error| panic!("docs/recipes/{name}: {error}"));
        Self { name: name.to_owned(), text }
    }

    /// Every page, in a stable order.
    pub fn all() -> Vec<Self> {
        let entries = std::fs::read_dir(directory()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names.iter().map(|name| Self::read(name)).collect()
    }

    /// Its YAML, document by document, as it stands.
    pub fn documents(&self) -> Vec<String> {
        let mut documents = Vec::new();
        let mut block: Option<String> = None;
        for line in self.text.lines() {
            match (&mut block, line) {
                (None, "```yaml") => block = Some(String::new()),
                (None, _) => {}
                (Some(text), "```") => {
                    documents.extend(text.split("---\n").map(str::to_owned));
                    block = None;
                }
                (Some(text), line) => *text += &format!("{line}\n"),
            }
        }
        assert!(block.is_none(), "{}: a block does not end", self.name);
        documents
    }

    /// The same as objects, as Rust reads them; what YAML versions differ about is not looked at here.
    pub fn objects(&self) -> Vec<Value> {
        self.documents()
            .iter()
            .map(|text| serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{}: {error}:\n{text}", self.name)))
            .collect()
    }
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/recipes")
}

/// The pod template of a workload, wherever its kind keeps it.
pub fn pod_template(object: &Value) -> Option<&Value> {
    let place = match object["kind"].as_str()? {
        "Deployment" | "Job" => "/spec/template/spec",
        "CronJob" => "/spec/jobTemplate/spec/template/spec",
        "Pod" => "/spec",
        _ => return None,
    };
    object.pointer(place)
}

/// Init containers and containers of a pod.
pub fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers"].into_iter().filter_map(|field| pod[field].as_array()).flatten()
}

/// A list of words.
pub fn words(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(|word| word.as_str().expect("a string").to_owned()).collect()
}
