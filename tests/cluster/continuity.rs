//! The guard in force, missing, weakened, changed: what the operator does and says.
