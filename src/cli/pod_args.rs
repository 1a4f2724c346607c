//! What the commands of the pod's side have in common: where they are, what they ask for, where the files go.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use clap::Args;

use crate::{
    api::Ttl,
    cluster::Clock,
    pod::{
        Place, PlaceError,
        ask::{Hand, Want},
    },
};

/// Where this pod is.
#[derive(Args, Clone, Debug)]
pub struct WhereArgs {
    /// Directory with the pod's token, ca.crt and namespace, as a kubelet mounts it.
    #[arg(long, env = "DAYPASS_SERVICE_ACCOUNT_DIR", value_name = "DIR", default_value = "/var/run/secrets/kubernetes.io/serviceaccount")]
    service_account_dir: PathBuf,
    /// Name or address of the API server.
    #[arg(long, env = "KUBERNETES_SERVICE_HOST", value_name = "HOST", hide = true)]
    apiserver_host: Option<String>,
    /// Its port.
    #[arg(long, env = "KUBERNETES_SERVICE_PORT", value_name = "PORT", hide = true)]
    apiserver_port: Option<String>,
}

impl WhereArgs {
    /// The way to the API server.
    pub fn place(&self) -> Result<Arc<Place>, PlaceError> {
        let (host, port) = (self.apiserver_host.as_deref(), self.apiserver_port.as_deref());
        Place::mounted(&self.service_account_dir, host, port, Arc::new(Clock::default())).map(Arc::new)
    }
}

/// What to ask for.
#[derive(Args, Clone, Debug)]
pub struct WantArgs {
    /// How long a credential should live, like 90s or 15m. Cut to what policy and class allow; their default if absent.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    ttl: Option<Ttl>,
    /// What it is for, in a few words; kept in the audit trail.
    #[arg(long, value_name = "TEXT")]
    purpose: Option<String>,
}

impl WantArgs {
    /// A credential of this class, for a key that is made here.
    pub fn of(&self, class: &str) -> Want {
        Want { class: class.to_owned(), ttl: self.ttl.clone(), purpose: self.purpose.clone(), hand: Hand::Here }
    }
}

/// A class, and the directory below --dir for its files: `NAME` or `NAME=SUBDIRECTORY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassArg {
    /// Name of the class.
    pub name: String,
    subdirectory: Option<PathBuf>,
}

impl FromStr for ClassArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, subdirectory) = text.split_once('=').map_or((text, None), |(name, sub)| (name, Some(PathBuf::from(sub))));
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b));
        if !is_name {
            return Err("give the name of a CredentialClass, or NAME=SUBDIRECTORY".into());
        }
        if subdirectory.as_ref().is_some_and(|sub| sub.is_absolute() || sub.components().any(|c| c == std::path::Component::ParentDir)) {
            return Err("SUBDIRECTORY is below --dir: give a relative path without ..".into());
        }
        Ok(Self { name: name.to_owned(), subdirectory })
    }
}

/// The directory of each class below this one: the directory itself for a single class, one named after the class where there are several,
/// or the one that was said. No two may be the same.
pub fn directories(classes: &[ClassArg], below: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let several = classes.len() > 1;
    let place = |class: &ClassArg| match &class.subdirectory {
        Some(said) => below.join(said),
        None if several => below.join(&class.name),
        None => below.to_owned(),
    };
    let placed: Vec<_> = classes.iter().map(|class| (class.name.clone(), place(class))).collect();
    let mut seen = BTreeSet::new();
    for (class, directory) in &placed {
        if !seen.insert(directory) {
            return Err(format!("--class {class}: its files would go where those of another class go; give NAME=SUBDIRECTORY"));
        }
    }
    Ok(placed)
}

/// A mode in octal digits, for instance 0640. Never writable or executable for others.
pub fn mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| mode & !0o644 == 0 && mode & 0o400 != 0);
    mode.ok_or_else(|| "give octal digits like 0600, 0640 or 0644: readable for the owner, writable for nobody else".into())
}

/// A duration as in manifests.
pub fn duration(text: &str) -> Result<Ttl, String> {
    let ttl = Ttl(text.to_owned());
    ttl.parse().map(|_| ttl).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(classes: &[&str]) -> Result<Vec<String>, String> {
        let classes: Vec<ClassArg> = classes.iter().map(|text| text.parse().unwrap()).collect();
        directories(&classes, Path::new("/run")).map(|placed| placed.into_iter().map(|(_, path)| path.display().to_string()).collect())
    }

    #[test]
    fn one_class_has_the_directory_and_several_one_each() {
        assert_eq!(placed(&["a"]).unwrap(), ["/run"]);
        assert_eq!(placed(&["a=db"]).unwrap(), ["/run/db"]);
        assert_eq!(placed(&["a", "b=db"]).unwrap(), ["/run/a", "/run/db"]);
        for same in [["a", "a"], ["a=x", "b=x"], ["a", "b=a"]] {
            assert!(placed(&same).unwrap_err().contains("NAME=SUBDIRECTORY"), "{same:?}");
        }
    }

    #[test]
    fn a_class_is_named_and_its_files_stay_below_the_directory() {
        for wrong in ["", "Orders", "a b", "=x", "a=/etc", "a=../x", "a=x/../../y"] {
            assert!(wrong.parse::<ClassArg>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn files_are_never_writable_for_others() {
        assert_eq!((mode("0600"), mode("640"), mode("0444")), (Ok(0o600), Ok(0o640), Ok(0o444)));
        for wrong in ["0660", "0777", "0040", "abc", "", "1600"] {
            assert!(mode(wrong).is_err(), "{wrong}");
        }
    }
}
