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
    pod::{Place, PlaceError, ask::Want, hand::Hand},
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
    /// A credential of this class, which comes this way.
    pub fn of(&self, class: &str, hand: Hand) -> Want {
        Want { class: class.to_owned(), ttl: self.ttl.clone(), purpose: self.purpose.clone(), hand }
    }
}

/// Which classes to hold a credential of, and where the files of each go.
#[derive(Args, Clone, Debug)]
pub struct ClassArgs {
    /// Class of certificates to hold a credential of; repeat for several. The files of NAME=SUBDIRECTORY go to that directory below the one
    /// for the files; without it those of a single class go there itself and those of several each to a directory named after the class.
    #[arg(long = "class", value_name = "NAME[=SUBDIRECTORY]", required_unless_present = "token_classes")]
    classes: Vec<ClassArg>,
    /// The same of a class of tokens: its file is token. It comes sealed to a key that is made in memory for each one.
    #[arg(long = "token-class", value_name = "NAME[=SUBDIRECTORY]")]
    token_classes: Vec<ClassArg>,
}

/// A class with its place.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Name of the class.
    pub class: String,
    /// How its credential comes.
    pub hand: Hand,
    /// Where its files go.
    pub directory: PathBuf,
}

impl ClassArgs {
    /// The directory of each class below this one: the directory itself for a single class, one named after the class where there are several,
    /// or the one that was said. No two may be the same.
    pub fn placed(&self, below: &Path) -> Result<Vec<Placed>, String> {
        let several = self.classes.len() + self.token_classes.len() > 1;
        let certificates = self.classes.iter().map(|class| ("--class", class, Hand::Here));
        let tokens = self.token_classes.iter().map(|class| ("--token-class", class, Hand::Token));
        let (mut placed, mut seen) = (Vec::new(), BTreeSet::new());
        for (flag, class, hand) in certificates.chain(tokens) {
            let directory = match &class.subdirectory {
                Some(said) => below.join(said),
                None if several => below.join(&class.name),
                None => below.to_owned(),
            };
            if !seen.insert(directory.clone()) {
                return Err(format!("{flag} {}: its files would go where those of another class go; give NAME=SUBDIRECTORY", class.name));
            }
            placed.push(Placed { class: class.name.clone(), hand, directory });
        }
        Ok(placed)
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

    fn placed(classes: &[&str], token_classes: &[&str]) -> Result<Vec<String>, String> {
        let [classes, token_classes] = [classes, token_classes].map(|all| all.iter().map(|text| text.parse().unwrap()).collect());
        let placed = ClassArgs { classes, token_classes }.placed(Path::new("/run"))?;
        Ok(placed.into_iter().map(|one| one.directory.display().to_string()).collect())
    }

    #[test]
    fn one_class_has_the_directory_and_several_one_each() {
        assert_eq!(placed(&["a"], &[]).unwrap(), ["/run"]);
        assert_eq!(placed(&[], &["a"]).unwrap(), ["/run"]);
        assert_eq!(placed(&["a=db"], &[]).unwrap(), ["/run/db"]);
        assert_eq!(placed(&["a", "b=db"], &["c", "d=x"]).unwrap(), ["/run/a", "/run/db", "/run/c", "/run/x"]);
        for same in [["a", "a"], ["a=x", "b=x"], ["a", "b=a"]] {
            assert!(placed(&same, &[]).unwrap_err().contains("--class"), "{same:?}");
            let said = placed(&same[..1], &same[1..]).unwrap_err();
            assert!(said.contains("--token-class") && said.contains("NAME=SUBDIRECTORY"), "{said}");
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
