//! A real PostgreSQL lets a pod in by its certificate, and refuses it after the end.
