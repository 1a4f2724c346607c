//! The bill of materials: what the binary is made of, as CycloneDX 1.6 (<https://cyclonedx.org/docs/1.6/json/>).
//!
//! `cargo metadata` knows more than is linked: it joins the features of the whole workspace. So cargo's tree of this one package for this one
//! target says what is in it, and the binary itself is asked whether anything was forgotten.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use super::{
    Error, date,
    elf::Architecture,
    output,
    workspace::{Package, Workspace, cargo},
};

/// Name and version of a package.
type Id = (String, String);

/// What one binary is made of.
pub struct Bill<'a> {
    workspace: &'a Workspace,
    architecture: Architecture,
    /// What is linked, and what each uses.
    linked: Tree,
    /// The same with procedural macros and what they are made of: they wrote code, and are not in it.
    all: Tree,
    checksums: BTreeMap<Id, String>,
    /// What the compilers bring.
    toolchain: Vec<Value>,
}

type Tree = BTreeMap<Id, BTreeSet<Id>>;

impl<'a> Bill<'a> {
    /// Asks cargo.
    pub fn of(workspace: &'a Workspace, architecture: Architecture) -> Result<Self, Error> {
        let lock = workspace.root.join("Cargo.lock");
        let lock = fs::read_to_string(&lock).map_err(|error| Error::File(lock, error))?;
        let (linked, all) = (tree(workspace, architecture, "normal,no-proc-macro")?, tree(workspace, architecture, "normal")?);
        let toolchain = toolchain(workspace)?;
        Ok(Self { workspace, architecture, linked, all, checksums: checksums(&lock), toolchain })
    }

    /// Fails if the places in its panic messages are of a package that is not listed as linked.
    pub fn lists_all_of(&self, binary: &[u8]) -> Result<(), Error> {
        let named = sources(binary);
        let packages = self.workspace.packages.keys().filter(|id| !self.linked.contains_key(*id));
        let unlisted = packages.map(|(name, version)| format!("{name}-{version}")).find(|package| named.contains(package.as_str()));
        unlisted.map_or(Ok(()), |package| Err(Error::Unlisted(package)))
    }

    /// The document. Dated only where everything else is.
    pub fn to_json(&self, binary: &[u8], epoch: Option<u32>) -> Result<String, Error> {
        let root = (self.workspace.daypass.name.clone(), self.workspace.daypass.version.clone());
        let mut program = self.component(&root);
        program["type"] = "application".into();
        program["hashes"] = json!([{"alg": "SHA-256", "content": HEXLOWER.encode(digest(&SHA256, binary).as_ref())}]);
        let mut components: Vec<Value> = self.all.keys().filter(|id| **id != root).map(|id| self.component(id)).collect();
        components.extend(self.toolchain.iter().cloned());
        let mut document = json!({
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 1,
            "metadata": {
                "component": program,
                "tools": {"components": [{"type": "application", "name": "cargo xtask image"}]},
                "properties": [{"name": "daypass:target", "value": self.architecture.target()}],
            },
            "components": components,
            "dependencies": self.dependencies(&root),
        });
        if let Some(epoch) = epoch {
            document["metadata"]["timestamp"] = date(epoch).into();
        }
        Ok(serde_json::to_string_pretty(&document)? + "\n")
    }

    fn component(&self, id: &Id) -> Value {
        let purl = purl(id);
        let scope = if self.linked.contains_key(id) { "required" } else { "excluded" };
        let mut component = json!({"type": "library", "bom-ref": purl, "name": id.0, "version": id.1, "purl": purl, "scope": scope});
        let Some(Package { license, repository, .. }) = self.workspace.packages.get(id) else { return component };
        if let Some(license) = license {
            // The slash is how it was written before SPDX.
            component["licenses"] = json!([{"expression": license.replace('/', " OR ")}]);
        }
        if let Some(repository) = repository {
            component["externalReferences"] = json!([{"type": "vcs", "url": repository}]);
        }
        if let Some(checksum) = self.checksums.get(id) {
            component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
        }
        component
    }

    fn dependencies(&self, root: &Id) -> Vec<Value> {
        let brought = self.toolchain.iter().filter_map(|component| component["bom-ref"].as_str().map(str::to_owned));
        let brought: Vec<String> = brought.collect();
        let of = |(id, uses): (&Id, &BTreeSet<Id>)| {
            let uses = uses.iter().map(purl).chain(brought.iter().filter(|_| id == root).cloned());
            json!({"ref": purl(id), "dependsOn": uses.collect::<BTreeSet<_>>()})
        };
        self.all.iter().map(of).chain(brought.iter().map(|id| json!({"ref": id, "dependsOn": []}))).collect()
    }
}

fn purl((name, version): &Id) -> String {
    // The one character of a version that a package URL may not hold as it is.
    format!("pkg:cargo/{name}@{}", version.replace('+', "%2B"))
}

/// What cargo would link into the shipped package, and what each uses.
fn tree(workspace: &Workspace, architecture: Architecture, edges: &str) -> Result<Tree, Error> {
    let mut command = cargo(&workspace.root);
    command.args(["tree", "--locked", "--package", "daypass", "--target", architecture.target(), "--edges", edges]);
    let text = output(command.args(["--charset", "ascii", "--prefix", "depth", "--format", " {p}"]))?;
    read_tree(&String::from_utf8_lossy(&text)).map_err(|problem| Error::Answer { command: "cargo tree", problem })
}

/// Lines such as `2 serde v1.0.229 (*)`: the depth, and the package. What is below `(*)` is said elsewhere.
fn read_tree(text: &str) -> Result<Tree, String> {
    let mut tree = Tree::new();
    let mut above: Vec<Id> = Vec::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let mut next = || words.next().filter(|word| !word.is_empty());
        let parsed = (|| Some((next()?.parse::<usize>().ok()?, next()?, next()?.strip_prefix('v')?)))();
        let (depth, name, version) =
            parsed.filter(|(depth, ..)| *depth <= above.len()).ok_or_else(|| format!("unexpected line {line:?}"))?;
        let id = (name.to_owned(), version.to_owned());
        above.truncate(depth);
        if let Some(user) = above.last() {
            tree.entry(user.clone()).or_default().insert(id.clone());
        }
        tree.entry(id.clone()).or_default();
        above.push(id);
    }
    Ok(tree)
}

/// The checksums of Cargo.lock, which cargo writes with one field a line.
fn checksums(lock: &str) -> BTreeMap<Id, String> {
    let package = |text: &str| {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \"")?.strip_suffix('"'));
        Some(((field("name")?.to_owned(), field("version")?.to_owned()), field("checksum")?.to_owned()))
    };
    lock.split("[[package]]").filter_map(package).collect()
}

/// The packages, `name-version`, whose sources the binary names, as it does for places that may panic.
fn sources(binary: &[u8]) -> BTreeSet<&str> {
    let parts: Vec<&[u8]> = binary.split(|byte| *byte == b'/').collect();
    // The standard library is built from packages too, and they are its own: `/rust/deps/NAME-VERSION/src`.
    let named = parts.windows(3).filter(|parts| parts[2] == b"src" && parts[0] != b"deps").map(|parts| parts[1]);
    named.filter_map(|part| std::str::from_utf8(part).ok()).collect()
}

/// What is linked without being a package: Rust's standard library, the C library, and what unwinds the stack.
fn toolchain(workspace: &Workspace) -> Result<Vec<Value>, Error> {
    let said = |command: &mut Command| output(command).map(|text| String::from_utf8_lossy(&text).trim().to_owned());
    let glibc = said(Command::new("getconf").arg("GNU_LIBC_VERSION"))?;
    let gcc = said(Command::new("cc").arg("-dumpfullversion"))?;
    let parts = [
        ("rust-std", workspace.rustc.release.as_str(), "MIT OR Apache-2.0"),
        ("glibc", glibc.trim_start_matches("glibc "), "LGPL-2.1-or-later"),
        ("libgcc", gcc.as_str(), "GPL-3.0-or-later WITH GCC-exception-3.1"),
    ];
    let component = |(name, version, license): (&str, &str, &str)| {
        let purl = format!("pkg:generic/{name}@{version}");
        let licenses = json!([{"expression": license}]);
        json!({"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl, "scope": "required", "licenses": licenses})
    };
    Ok(parts.into_iter().map(component).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> Id {
        (name.to_owned(), "1.0.0".to_owned())
    }

    #[test]
    fn the_tree_is_read_with_who_uses_what() {
        let text = "0 a v1.0.0 (/src)\n1 b v1.0.0 (proc-macro)\n2 c v1.0.0\n3 d v1.0.0\n1 c v1.0.0 (*)\n";
        let tree = read_tree(text).unwrap();
        assert_eq!(tree[&id("a")], BTreeSet::from([id("b"), id("c")]));
        assert_eq!(tree[&id("b")], BTreeSet::from([id("c")]));
        assert_eq!((tree[&id("c")].len(), tree[&id("d")].len()), (1, 0));
    }

    #[test]
    fn a_tree_that_looks_otherwise_is_an_error_and_no_shorter_bill() {
        for text in ["0 a\n", "a v1.0.0\n", "0 a v1.0.0\n2 b v1.0.0\n", "0 a v1.0.0\n[build-dependencies]\n"] {
            assert!(read_tree(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn packages_are_known_by_the_places_that_may_panic() {
        let binary =
            b"\0crates/serde-1.0.0/src/de/mod.rs\0/rust/deps/hashbrown-0.16.1/src/raw.rs\0/home/.cargo/registry/src/i/b-0.1.0+c.2/src/x.rs";
        let named: Vec<&str> = sources(binary).into_iter().filter(|part| part.contains('-')).collect();
        assert_eq!(named, ["b-0.1.0+c.2", "serde-1.0.0"]);
    }

    #[test]
    fn a_version_with_a_plus_is_written_as_a_package_url_must_be() {
        assert_eq!(purl(&("a".into(), "1.0.0+b.2".into())), "pkg:cargo/a@1.0.0%2Bb.2");
    }
}
