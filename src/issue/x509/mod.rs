//! X.509: certificate authorities, signing requests, certificate profiles.
