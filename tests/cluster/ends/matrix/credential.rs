//! A credential as whoever holds it has it, and as whoever checks it sees it.

use jiff::Timestamp;

use crate::{
    judges::{Handed, accepted, accepted_with_lists},
    revocation::served,
    scene::Granted,
    support::Running,
    tokens::whoami,
};

/// The authority whose lists the cells share.
pub const AUTHORITY: &str = "matrix";

/// What was granted, and the credential itself.
pub struct Held {
    pub granted: Granted,
    pub credential: Credential,
}

/// Something to show.
pub enum Credential {
    /// A chain and the roots that came with it.
    Certificate { chain: String, roots: String },
    /// The same, for verifiers that check the list.
    Listed { chain: String, roots: String },
    /// A bearer token.
    Token(String),
}

impl Credential {
    /// Whether it is accepted now: by openssl and rustls-webpki, who have to agree; by the API server.
    pub async fn accepted(&self, here: &Running) -> Result<(), String> {
        match self {
            Self::Certificate { chain, roots } => accepted(Handed { chain, roots }, Timestamp::now()),
            Self::Listed { chain, roots } => {
                let lists = served(here, AUTHORITY).await;
                accepted_with_lists(Handed { chain, roots }, &lists, Timestamp::now())
            }
            Self::Token(token) => whoami(&here.stage, token).await.map(drop).ok_or_else(|| "401".to_owned()),
        }
    }
}
