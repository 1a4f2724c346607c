//! The kustomize base `deploy/`. The guard and the operator agree on one namespace and account, written into expressions that kustomize
//! cannot rewrite: whoever needs others uses the chart.

use std::collections::BTreeMap;

use daypass::install::{self, Account, Part, Values, guard, yaml::to_yaml};
use serde_json::Value;

use super::{CRD_HEADER, Error, Files, HEADER};

/// What `kubectl apply -k deploy` applies, in this order: the guard before anything that could make use of its absence.
const ORDER: [&str; 3] = ["crds", "guard", "operator"];

pub(super) fn files(crds: &BTreeMap<String, Value>) -> Result<Files, Error> {
    let mut files = Directories::default();
    files.resources.insert(String::new(), ORDER.map(str::to_owned).to_vec());
    files.note("", "# kubectl apply -k deploy\n# Into another namespace, or under another account: use the chart.\n");
    // What is applied first is written first.
    files.note("", "sortOptions:\n  order: fifo\n");
    for (name, crd) in crds {
        files.add("crds", name, std::slice::from_ref(crd), CRD_HEADER)?;
    }
    for part in install::parts(&Values::default()) {
        match part.name {
            "guard" => add_guard(&mut files, &part)?,
            // None by default; see below.
            "secret-namespaces" | "service-accounts" => {}
            name => files.add("operator", name, &part.objects, HEADER)?,
        }
    }
    let sample = Values { secret_namespaces: vec!["shop".into()], ..Values::default() };
    for part in install::parts(&sample).into_iter().filter(|part| part.name == "secret-namespaces") {
        files.add("secret-namespace", "rbac", &part.objects, HEADER)?;
    }
    let lent = Account { namespace: "lent".into(), name: "reader".into() };
    let sample = Values { service_accounts: vec![lent], ..Values::default() };
    for part in install::parts(&sample).into_iter().filter(|part| part.name == "service-accounts") {
        files.add("service-account", "rbac", &part.objects, HEADER)?;
    }
    files.note(
        "service-account",
        "# For a service account that classes may lend: copy rbac.yaml with the account's namespace and name in place of lent and reader.\n",
    );
    files.note(
        "secret-namespace",
        "# For a namespace whose pods may have credentials delivered as Secrets: make an overlay of this with its namespace.\n",
    );
    let (job, rights): (Vec<Value>, Vec<Value>) =
        install::drain::objects(&Values::default()).into_iter().partition(|object| object["kind"] == "Job");
    files.add("drain", "rbac", &rights, HEADER)?;
    files.add("drain", "job", &job, HEADER)?;
    files.note(
        "drain",
        "# Before kubectl delete -k deploy, and never beside it: ends every credential, stops the operator, and says when it is done.\n",
    );
    Ok(files.finish())
}

/// A file a policy, then the bindings: a binding whose policy is missing or refused is silently open.
fn add_guard(files: &mut Directories, part: &Part) -> Result<(), Error> {
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let is_binding = |object: &Value| object["kind"].as_str().is_some_and(|kind| kind.ends_with("Binding"));
    let (bindings, policies): (Vec<&Value>, Vec<&Value>) = part.objects.iter().partition(|object| is_binding(object));
    let (stamps, verdicts): (Vec<Value>, Vec<Value>) =
        bindings.into_iter().cloned().partition(|object| guard::STAMPS.contains(&name(object).as_str()));
    for policy in policies {
        let name = name(policy);
        files.add("guard", name.split('.').next().unwrap_or_default(), std::slice::from_ref(policy), HEADER)?;
    }
    files.add("guard", "bindings", &verdicts, HEADER)?;
    files.add("guard", "stamp-bindings", &stamps, HEADER)?;
    files.note("guard", "# Policies, then their bindings. Before Kubernetes 1.36 leave out the four files stamp*.yaml.\n");
    Ok(())
}

/// The files of `deploy/`, and the resources of each directory in the order in which they were added.
#[derive(Default)]
struct Directories {
    files: Files,
    resources: BTreeMap<String, Vec<String>>,
    notes: BTreeMap<String, Vec<String>>,
}

impl Directories {
    fn add(&mut self, directory: &str, name: &str, objects: &[Value], header: &str) -> Result<(), Error> {
        self.files.insert(format!("deploy/{directory}/{name}.yaml").into(), format!("{header}{}", to_yaml(objects)?));
        self.resources.entry(directory.to_owned()).or_default().push(format!("{name}.yaml"));
        Ok(())
    }

    /// Lines that go before the resources of a directory.
    fn note(&mut self, directory: &str, text: &str) {
        self.notes.entry(directory.to_owned()).or_default().push(text.to_owned());
    }

    fn finish(mut self) -> Files {
        for (directory, resources) in self.resources {
            let notes = self.notes.remove(&directory).unwrap_or_default();
            let (comments, fields): (Vec<String>, Vec<String>) = notes.into_iter().partition(|note| note.starts_with('#'));
            let list: String = resources.iter().map(|resource| format!("- {resource}\n")).collect();
            let head = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n";
            let content = format!("{HEADER}{}{head}{}resources:\n{list}", comments.concat(), fields.concat());
            let path = if directory.is_empty() {
                "deploy/kustomization.yaml".into()
            } else {
                format!("deploy/{directory}/kustomization.yaml").into()
            };
            self.files.insert(path, content);
        }
        self.files
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::crds;

    #[test]
    fn every_policy_is_applied_before_the_first_binding() {
        let files = files(&crds().unwrap()).unwrap();
        let list = &files[std::path::Path::new("deploy/guard/kustomization.yaml")];
        let at = |name: &str| list.find(&format!("- {name}.yaml")).unwrap();
        for policy in ["verify", "ledger", "confine", "reserve", "leave", "stamp", "stamp-revoke", "stamp-lock"] {
            assert!(at(policy) < at("bindings") && at(policy) < at("stamp-bindings"), "{policy}");
        }
    }

    #[test]
    fn every_file_is_a_resource_of_its_directory() {
        let files = files(&crds().unwrap()).unwrap();
        for path in files.keys().filter(|path| !path.ends_with("kustomization.yaml")) {
            let list = &files[&path.with_file_name("kustomization.yaml")];
            assert!(list.contains(&format!("- {}\n", path.file_name().unwrap().to_str().unwrap())), "{}", path.display());
        }
    }
}
