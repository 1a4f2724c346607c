//! Every end of a grant.
