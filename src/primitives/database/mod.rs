//! Databases.

pub mod postgres;
