//! Certificate authorities: managed, brought, missing, rotated.
