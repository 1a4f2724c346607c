//! The admission guard on a real API server: who may say, write and delete what.
