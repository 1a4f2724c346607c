//! Reads what `cargo xtask image` writes with tools that are not ours (tar, gzip, sha256sum, cargo tree), and runs it in a root that holds
//! nothing else.
//!
//! The binary is a small static C program, so that no release build is needed. DAYPASS_IMAGE_BINARY names a static `daypass` to try as well.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

/// Says who it is, what it was told, and what there is beside it.
const PROGRAM: &str = r#"
#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

int main(int count, char **arguments) {
    printf("%d:%d %s", getuid(), getgid(), arguments[0]);
    for (int i = 1; i < count; i++) printf(" %s", arguments[i]);
    DIR *root = opendir("/");
    for (struct dirent *entry; (entry = readdir(root));) if (entry->d_name[0] != '.') printf(" has:%s", entry->d_name);
    printf("\n");
    return 7;
}
"#;

#[test]
fn every_digest_and_size_is_that_of_the_bytes() {
    let scene = Scene::new("digests");
    let image = scene.image("a");
    let names = image.listed();
    assert_eq!(names[..2], ["oci-layout", "index.json"]);
    assert_eq!(image.json("oci-layout")["imageLayoutVersion"], "1.0.0");

    let index = image.json("index.json");
    let [descriptor] = index["manifests"].as_array().unwrap().as_slice() else { panic!("one image: {index}") };
    let manifest: Value = serde_json::from_slice(&image.blob(descriptor)).unwrap();
    let config: Value = serde_json::from_slice(&image.blob(&manifest["config"])).unwrap();
    let [layer] = manifest["layers"].as_array().unwrap().as_slice() else { panic!("one layer: {manifest}") };
    fs::write(scene.path("layer.gz"), image.blob(layer)).unwrap();
    run("gzip", [OsStr::new("-d"), scene.path("layer.gz").as_ref()]);
    assert_eq!(config["rootfs"]["diff_ids"], Value::from(vec![sha256sum(&scene.path("layer"))]));

    let blobs = names.iter().filter(|name| name.starts_with("blobs/sha256/") && !name.ends_with('/'));
    assert_eq!(blobs.count(), 3, "manifest, configuration, layer and nothing that no one refers to: {names:?}");
    assert!(scene.said.contains(descriptor["digest"].as_str().unwrap()), "the image's digest is printed: {}", scene.said);
}

#[test]
fn the_layer_is_one_program_of_root_and_no_user_is_root() {
    let scene = Scene::new("layer");
    let image = scene.image("a");
    fs::write(scene.path("layer.gz"), image.layer()).unwrap();
    let listed = run("tar", [OsStr::new("--numeric-owner"), "-tvzf".as_ref(), scene.path("layer.gz").as_ref()]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    let words: Vec<&str> = listed.split_whitespace().collect();
    let size = fs::metadata(scene.path("program")).unwrap().len().to_string();
    assert_eq!(words[..3], ["-rwxr-xr-x", "0/0", &size], "{listed}");
    assert_eq!((words.last(), words.len()), (Some(&"daypass"), 6), "one entry: {listed}");

    let config = image.config();
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/daypass"]));
    assert_eq!(config["config"].get("Env"), None);
    assert_eq!(config["config"]["Labels"]["org.opencontainers.image.licenses"], "Apache-2.0");
}

#[test]
fn the_program_runs_in_a_root_that_holds_nothing_else() {
    let scene = Scene::new("bare");
    let Some(output) = scene.image("a").run_bare(&scene.path("root"), &["hello"]) else { return };
    let said = String::from_utf8(output.stdout).unwrap();
    let (user, rest) = said.trim().split_once(' ').unwrap();
    assert_eq!(rest, "/daypass hello has:daypass");
    assert_eq!(output.status.code(), Some(7));
    if root() {
        assert_eq!(user, "65532:65532", "a user namespace has one user, but root can be anybody");
    }
}

#[test]
fn a_static_daypass_runs_in_a_bare_root_and_installs_itself() {
    let Some(binary) = std::env::var_os("DAYPASS_IMAGE_BINARY").map(PathBuf::from) else {
        eprintln!("not tried with daypass itself: DAYPASS_IMAGE_BINARY names no static build of it");
        return;
    };
    let scene = Scene::with("daypass", &binary);
    let image = scene.image("a");
    let Some(help) = image.run_bare(&scene.path("root"), &["exec", "--help"]) else { return };
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("--class"), "{help:?}");
    // A kubelet mounts /proc and the volume.
    let (proc, shared) = (scene.path("root/proc"), scene.path("root/shared"));
    fs::create_dir(&proc).unwrap();
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, PermissionsExt::from_mode(0o777)).unwrap();
    let Some(installed) = image.run_bare(&scene.path("root"), &["install", "/shared"]) else { return };
    assert!(installed.status.success(), "{installed:?}");
    assert_eq!(String::from_utf8_lossy(&installed.stdout), "/shared/daypass\n");
    assert_eq!(fs::read(shared.join("daypass")).unwrap(), fs::read(&binary).unwrap());
}

#[test]
fn the_same_program_gives_the_same_bytes_whoever_packs_it_and_when() {
    let scene = Scene::new("same");
    let first = scene.image("a");
    let copy = scene.path("elsewhere");
    fs::copy(scene.path("program"), &copy).unwrap();
    fs::set_permissions(&copy, PermissionsExt::from_mode(0o700)).unwrap();
    let mut command = scene.xtask(&copy, "b");
    command.envs([("TZ", "Asia/Tokyo"), ("LC_ALL", "C"), ("USER", "somebody")]).current_dir("/");
    assert_success(command.output().unwrap());
    let second = scene.image("b");
    assert_eq!(fs::read(&first.archive).unwrap(), fs::read(&second.archive).unwrap());
    assert_eq!(fs::read(first.sbom()).unwrap(), fs::read(second.sbom()).unwrap());
    assert_eq!(first.config().get("created"), None, "nothing is dated that nobody dated");
}

#[test]
fn source_date_epoch_dates_all_of_it_and_nonsense_is_refused() {
    let scene = Scene::new("epoch");
    assert_success(scene.xtask(&scene.path("program"), "b").env("SOURCE_DATE_EPOCH", "86400").output().unwrap());
    let image = scene.image("b");
    assert_eq!(image.config()["created"], "1970-01-02T00:00:00Z");
    assert_eq!(image.bill()["metadata"]["timestamp"], "1970-01-02T00:00:00Z");
    let refused = scene.xtask(&scene.path("program"), "c").env("SOURCE_DATE_EPOCH", "yesterday").output().unwrap();
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("SOURCE_DATE_EPOCH=yesterday"), "{refused:?}");
}

#[test]
fn a_program_that_needs_a_libc_is_refused() {
    let scene = Scene::new("dynamic");
    let refused = scene.xtask(Path::new(env!("CARGO_BIN_EXE_xtask")), "b").output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("crt-static") && said.contains("/ld-"), "{said}");
    assert!(!scene.path("b.tar").exists());
}

#[test]
fn the_bill_of_materials_lists_what_cargo_links_and_nothing_as_linked_that_it_does_not() {
    let scene = Scene::new("bill");
    let bill = scene.image("a").bill();
    assert_eq!((bill["bomFormat"].as_str(), bill["specVersion"].as_str()), (Some("CycloneDX"), Some("1.6")));
    assert_eq!((bill.get("serialNumber"), bill["metadata"].get("timestamp")), (None, None));

    let mut scopes: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for component in bill["components"].as_array().unwrap() {
        let text = |field: &str| component[field].as_str().unwrap_or_else(|| panic!("no {field}: {component}"));
        let purl = text("purl");
        assert!(component["licenses"][0]["expression"].as_str().is_some_and(|license| !license.contains('/')), "{component}");
        if purl.starts_with("pkg:cargo/") {
            assert!(component["hashes"][0]["content"].as_str().is_some_and(|hash| hash.len() == 64), "{component}");
            scopes.entry(text("scope")).or_default().insert(format!("{} v{}", text("name"), text("version")));
        }
    }
    let linked = tree("normal,no-proc-macro");
    let excluded: BTreeSet<String> = tree("normal").difference(&linked).cloned().collect();
    assert!(linked.len() > 100 && excluded.iter().any(|name| name.starts_with("syn v")), "cargo tree is read wrongly");
    assert_eq!(scopes["required"], linked);
    assert_eq!(scopes["excluded"], excluded);

    let references: BTreeSet<&str> = bill["dependencies"].as_array().unwrap().iter().map(|entry| entry["ref"].as_str().unwrap()).collect();
    let named = bill["dependencies"].as_array().unwrap().iter().flat_map(|entry| entry["dependsOn"].as_array().unwrap());
    assert_eq!(named.filter(|name| !references.contains(name.as_str().unwrap())).collect::<Vec<_>>(), Vec::<&Value>::new());
    let hash = bill["metadata"]["component"]["hashes"][0]["content"].as_str().unwrap();
    assert_eq!(format!("sha256:{hash}"), sha256sum(&scene.path("program")));
}

#[test]
fn a_binary_with_code_that_the_bill_does_not_list_is_refused() {
    let scene = Scene::new("unlisted");
    let lock = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock")).unwrap();
    // Only the tests use it.
    let version = lock.split("name = \"proptest\"\nversion = \"").nth(1).unwrap().split('"').next().unwrap();
    let mut binary = fs::read(scene.path("program")).unwrap();
    binary.extend(format!("\0crates/proptest-{version}/src/lib.rs\0").bytes());
    fs::write(scene.path("other"), binary).unwrap();
    let refused = scene.xtask(&scene.path("other"), "b").output().unwrap();
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("proptest-"), "{refused:?}");
}

#[test]
fn the_containerfile_builds_the_same_thing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let file = fs::read_to_string(root.join("Containerfile")).unwrap();
    let build = fs::read_to_string(root.join("xtask/src/image/build.rs")).unwrap();
    let flags = build.split("FLAGS: &[&str] = &[").nth(1).unwrap().split("];").next().unwrap();
    for flag in flags.split('"').skip(1).step_by(2) {
        assert!(file.contains(flag), "the Containerfile does not say {flag}, which the image is built with");
    }
    let config = Scene::new("containerfile").image("a").config();
    assert!(file.contains(&format!("\nUSER {}\n", config["config"]["User"].as_str().unwrap())), "another user");
    assert!(file.contains(&format!("\nENTRYPOINT {}\n", config["config"]["Entrypoint"])), "another entrypoint");
    let toolchain = fs::read_to_string(root.join("rust-toolchain.toml")).unwrap();
    let channel = toolchain.split("channel = \"").nth(1).unwrap().split('"').next().unwrap();
    assert!(file.contains(&format!("rust:{channel}-")), "another Rust than rust-toolchain.toml's {channel}");
}

/// A directory with a program, and the image of it as `a.tar`.
struct Scene {
    directory: PathBuf,
    said: String,
}

impl Scene {
    fn new(name: &str) -> Self {
        let directory = fresh(name);
        let (source, program) = (directory.join("program.c"), directory.join("program"));
        fs::write(&source, PROGRAM).unwrap();
        run("cc", [OsStr::new("-static"), "-o".as_ref(), program.as_ref(), source.as_ref()]);
        Self::packed(directory, &program)
    }

    fn with(name: &str, program: &Path) -> Self {
        Self::packed(fresh(name), program)
    }

    fn packed(directory: PathBuf, program: &Path) -> Self {
        let mut scene = Self { directory, said: String::new() };
        let output = assert_success(scene.xtask(program, "a").output().unwrap());
        scene.said = String::from_utf8(output.stdout).unwrap();
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn xtask(&self, program: &Path, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.arg("image").arg("--binary").arg(program).arg("--out").arg(self.path(&format!("{name}.tar")));
        command.env_remove("SOURCE_DATE_EPOCH");
        command
    }

    /// Unpacked.
    fn image(&self, name: &str) -> Image {
        let (archive, layout) = (self.path(&format!("{name}.tar")), self.path(&format!("{name}.layout")));
        fs::create_dir(&layout).unwrap();
        run("tar", [OsStr::new("-xf"), archive.as_ref(), "-C".as_ref(), layout.as_ref()]);
        Image { archive, layout }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

struct Image {
    archive: PathBuf,
    layout: PathBuf,
}

impl Image {
    fn listed(&self) -> Vec<String> {
        let output = run("tar", [OsStr::new("-tf"), self.archive.as_ref()]);
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.layout.join(name)).unwrap()).unwrap()
    }

    /// What a descriptor points to, once sha256sum agrees.
    fn blob(&self, descriptor: &Value) -> Vec<u8> {
        let digest = descriptor["digest"].as_str().unwrap();
        let file = self.layout.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap());
        assert_eq!(sha256sum(&file), digest);
        let bytes = fs::read(&file).unwrap();
        assert_eq!(descriptor["size"].as_u64(), Some(bytes.len() as u64), "{descriptor}");
        bytes
    }

    fn manifest(&self) -> Value {
        serde_json::from_slice(&self.blob(&self.json("index.json")["manifests"][0])).unwrap()
    }

    fn config(&self) -> Value {
        serde_json::from_slice(&self.blob(&self.manifest()["config"])).unwrap()
    }

    fn layer(&self) -> Vec<u8> {
        self.blob(&self.manifest()["layers"][0])
    }

    fn sbom(&self) -> PathBuf {
        self.archive.with_extension("tar.cdx.json")
    }

    fn bill(&self) -> Value {
        serde_json::from_slice(&fs::read(self.sbom()).unwrap()).unwrap()
    }

    /// Runs the entrypoint as a runtime would, in a root with nothing but the layer (and /proc, where there is a directory for it).
    /// `None`, said loudly, where the machine allows neither chroot nor a user namespace; on CI that is a failure.
    fn run_bare(&self, root_directory: &Path, arguments: &[&str]) -> Option<Output> {
        if !root_directory.exists() {
            fs::create_dir(root_directory).unwrap();
            let layer = self.layout.join("layer.tar.gz");
            fs::write(&layer, self.layer()).unwrap();
            run("tar", [OsStr::new("-xzf"), layer.as_ref(), "-C".as_ref(), root_directory.as_ref()]);
        }
        let config = self.config();
        let user = config["config"]["User"].as_str().unwrap();
        let entrypoint = config["config"]["Entrypoint"][0].as_str().unwrap();
        // Both programs are of the machine, and so is the shell: the root gets none of them.
        let (enter, mode) = if root() { ("chroot --userspec=\"$USER_AND_GROUP\"", "-m") } else { ("chroot", "-rmpf") };
        let script = format!(
            "test ! -d \"$0/proc\" || mount -t proc proc \"$0/proc\" || mount --rbind /proc \"$0/proc\" || exit 125; exec {enter} \"$0\" \"$@\""
        );
        let mut command = Command::new("unshare");
        command.args([mode, "sh", "-c", &script]).arg(root_directory).arg(entrypoint).args(arguments).env("USER_AND_GROUP", user);
        let able = Command::new("unshare").args([mode, "true"]).status().is_ok_and(|status| status.success());
        if able {
            return Some(command.output().unwrap());
        }
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "this machine allows neither chroot nor a user namespace: run the tests as root"
        );
        eprintln!("NOT TESTED: this machine allows neither chroot nor a user namespace, so nothing ran in a bare root. Run this as root.");
        None
    }
}

fn root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| std::os::unix::fs::MetadataExt::uid(&process) == 0)
}

fn fresh(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("daypass-image-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir(&directory).unwrap();
    directory
}

/// Packages of cargo's tree, `name vVERSION`, but for daypass.
fn tree(edges: &str) -> BTreeSet<String> {
    let target = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let architecture = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let arguments =
        ["tree", "--manifest-path", target, "-p", "daypass", "--target", &architecture, "--prefix", "none", "--no-dedupe", "-e", edges];
    let output = run(env!("CARGO"), arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    let short = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    text.lines().map(short).filter(|line| !line.starts_with("daypass ")).collect()
}

fn sha256sum(file: &Path) -> String {
    let output = run("sha256sum", [file]);
    format!("sha256:{}", String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap())
}

fn run<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Output {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert_success(output)
}

fn assert_success(output: Output) -> Output {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}
