//! What an API call can come to, sorted by what to do about it.

use std::time::Duration;

/// A failed API call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// 404: the object is not there.
    #[error("not found: {0}")]
    NotFound(String),
    /// 409 on a create: something of that name exists.
    #[error("already exists: {0}")]
    AlreadyExists(String),
    /// 409: another version, or another object of that name, is there.
    #[error("conflict: {0}")]
    Conflict(String),
    /// 403: RBAC, admission or a quota said no.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// 422 or 400: the API server will never take this.
    #[error("invalid: {0}")]
    Invalid(String),
    /// 429 or 5xx, answered by the API server: try again.
    #[error("the API server is not able right now: {message}")]
    Busy {
        /// What it said.
        message: String,
        /// How long it asked us to wait.
        retry_after: Option<Duration>,
    },
    /// No answer: whether the call took effect is unknown.
    #[error("no answer from the API server: {0}")]
    NoAnswer(String),
}

impl ApiError {
    /// One word of a closed set, for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not_found",
            Self::AlreadyExists(_) => "already_exists",
            Self::Conflict(_) => "conflict",
            Self::Forbidden(_) => "forbidden",
            Self::Invalid(_) => "invalid",
            Self::Busy { .. } => "busy",
            Self::NoAnswer(_) => "no_answer",
        }
    }

    /// How long the API server asked us to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The call certainly changed nothing.
    pub fn is_definite(&self) -> bool {
        !matches!(self, Self::NoAnswer(_) | Self::Busy { .. })
    }
}

impl From<kube::Error> for ApiError {
    fn from(error: kube::Error) -> Self {
        let kube::Error::Api(status) = error else { return Self::NoAnswer(describe(&error)) };
        let message = status.message.clone();
        match (status.code, status.reason.as_str()) {
            (404, _) => Self::NotFound(message),
            (409, "AlreadyExists") => Self::AlreadyExists(message),
            (409, _) => Self::Conflict(message),
            (403, _) => Self::Forbidden(message),
            (400 | 422, _) => Self::Invalid(message),
            _ => {
                let seconds = status.details.as_ref().map(|d| d.retry_after_seconds).filter(|s| *s > 0);
                Self::Busy { message, retry_after: seconds.map(|s| Duration::from_secs(u64::from(s))) }
            }
        }
    }
}

/// The chain of causes, without the Debug form that some of kube's errors print (it may hold a response body).
pub(super) fn describe(error: &kube::Error) -> String {
    // What does not parse is quoted in the error, and it may be a Secret.
    if matches!(error, kube::Error::SerdeError(_) | kube::Error::FromUtf8(_)) {
        return "the answer cannot be read".into();
    }
    let error: &dyn std::error::Error = error;
    let mut text = String::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(&part) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&part);
        }
        cause = error.source();
    }
    text.chars().take(300).collect()
}
