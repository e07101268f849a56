//! Files and made-up servers: no service needed.

mod build;
mod files;
mod lying;
