//! The custom resources on a real API server: each schema rule both ways, and what a person sees.
