//! Bad input: refused with the part named, and never a credential.
