//! Every end of a grant: by its time, by whatever it rested on, and by a person. A certificate that ends early stays good for verifiers
//! until its own end, and nothing says otherwise; a Secret that held it is gone at once.

mod causes;
mod matrix;
mod person;
mod policy;
mod restart;
mod retention;
mod secrets;
mod storm;
mod time;
