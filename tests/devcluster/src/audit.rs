//! The API servers' audit log as values: who asked for what, and what the answer was.
//!
//! Only reads. Bodies are not in the log, so no Secret's content is either. Called by tests.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::Deserialize;

/// Why the log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such file, most likely.
    #[error("{path}: {source}", path = .path.display())]
    Read {
        /// The log.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is no event.
    #[error("{path}:{line}: {source}", path = .path.display())]
    Parse {
        /// The log.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
}

/// One stage of one request.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// The same for all stages of a request.
    #[serde(rename = "auditID")]
    pub audit_id: String,
    /// How far the request was.
    pub stage: Stage,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; of other URLs the lower-case method.
    pub verb: String,
    /// Who authenticated.
    pub user: User,
    /// Whom they pretended to be.
    pub impersonated_user: Option<User>,
    /// On what; none for URLs such as `/readyz`.
    pub object_ref: Option<ObjectRef>,
    /// The answer; its code is 0 until there is one.
    #[serde(default)]
    pub response_status: ResponseStatus,
    /// Path and query.
    #[serde(rename = "requestURI")]
    pub request_uri: String,
    /// What the client calls itself.
    #[serde(default)]
    pub user_agent: String,
    /// What authorisers and admission wrote down.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// When the request came.
    #[serde(rename = "requestReceivedTimestamp")]
    pub received: Timestamp,
    /// When this stage was reached.
    #[serde(rename = "stageTimestamp")]
    pub reached: Timestamp,
}

impl Event {
    /// The name the request acted under: the impersonated one, if any.
    pub fn username(&self) -> &str {
        &self.impersonated_user.as_ref().unwrap_or(&self.user).username
    }

    /// The code of the answer.
    pub fn code(&self) -> u16 {
        self.response_status.code
    }

    /// Whether it is this verb on this resource, in the form `secrets` or `accessrequests/status`.
    pub fn is(&self, verb: &str, resource: &str) -> bool {
        let (resource, subresource) = resource.split_once('/').map_or((resource, None), |(main, sub)| (main, Some(sub)));
        let on = |object: &ObjectRef| object.resource == resource && object.subresource.as_deref() == subresource;
        self.verb == verb && self.object_ref.as_ref().is_some_and(on)
    }

    /// Whether the request changes nothing by its own wish, as its query says. A dry run asked for in a body does not show here.
    pub fn dry_run(&self) -> bool {
        self.request_uri.split_once('?').is_some_and(|(_, query)| query.split('&').any(|pair| pair == "dryRun=All"))
    }
}

/// How far a request was. RequestReceived is left out by the audit policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Stage {
    /// Not in the logs of this crate's clusters.
    RequestReceived,
    /// A long answer, such as a watch, has begun.
    ResponseStarted,
    /// The answer is complete.
    ResponseComplete,
    /// The API server panicked.
    Panic,
}

/// Who.
#[derive(Clone, Debug, Deserialize)]
pub struct User {
    /// The name.
    #[serde(default)]
    pub username: String,
    /// The UID; empty for users of certificates.
    #[serde(default)]
    pub uid: String,
    /// The groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// More, such as the pod of a bound token.
    #[serde(default)]
    pub extra: BTreeMap<String, Vec<String>>,
}

/// On what.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// Plural, lower case.
    #[serde(default)]
    pub resource: String,
    /// Such as `status` or `token`.
    pub subresource: Option<String>,
    /// Empty for resources of the cluster.
    #[serde(default)]
    pub namespace: String,
    /// Empty where the server makes it up, and for lists.
    #[serde(default)]
    pub name: String,
    /// Empty for the core group.
    #[serde(default)]
    pub api_group: String,
    /// Empty unless the request named one.
    #[serde(default)]
    pub uid: String,
}

/// The answer.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ResponseStatus {
    /// The HTTP code.
    #[serde(default)]
    pub code: u16,
    /// Such as `Forbidden`; empty on success.
    #[serde(default)]
    pub reason: String,
    /// The text of a refusal.
    #[serde(default)]
    pub message: String,
}

/// Reads a log that may still be written to: a last line without its end is left for the next time.
pub fn read(path: &Path) -> Result<Vec<Event>, Error> {
    let bytes = fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let end = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    let complete = String::from_utf8_lossy(&bytes[..end]);
    let parse = |(number, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|source| Error::Parse { path: path.to_owned(), line: number + 1, source })
    };
    complete.lines().enumerate().map(parse).collect()
}

/// The events of one user, the impersonated counting as themselves.
pub fn by_user<'a>(events: &'a [Event], username: &'a str) -> impl Iterator<Item = &'a Event> {
    events.iter().filter(move |event| event.username() == username)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    const LINE: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a1","stage":"ResponseComplete",
        "requestURI":"/api/v1/namespaces/shop/secrets/s?dryRun=All","verb":"delete","user":{"username":"admin","groups":["system:masters"]},
        "impersonatedUser":{"username":"jane"},"objectRef":{"resource":"secrets","namespace":"shop","name":"s","apiVersion":"v1"},
        "responseStatus":{"metadata":{},"code":200},"requestReceivedTimestamp":"2026-11-24T10:00:00.000001Z",
        "stageTimestamp":"2026-11-24T10:00:00.000002Z"}"#;

    #[test]
    fn reads_complete_lines_and_tells_the_impersonated_from_the_impersonator() {
        let scratch = Scratch::new().unwrap();
        let path = scratch.path().join("audit.jsonl");
        let line = LINE.replace('\n', " ");
        fs::write(&path, format!("{line}\n{}", &line[..100])).unwrap();

        let events = read(&path).unwrap();
        assert_eq!(events.len(), 1, "the second line is still being written");
        assert!(events[0].is("delete", "secrets") && !events[0].is("delete", "secrets/status"));
        assert!(events[0].dry_run());
        assert_eq!((events[0].code(), events[0].user.username.as_str()), (200, "admin"));
        assert_eq!(by_user(&events, "jane").count(), 1);
        assert_eq!(by_user(&events, "admin").count(), 0);

        fs::write(&path, "{}\n").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("audit.jsonl:1:"));
    }
}
