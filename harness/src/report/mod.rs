//! The report of a run: case results and messages as text for a terminal, as JSON, as XML for CI
//! services, and as an HTML page.
//!
//! Only presents results: outcomes come from [`crate::check`], the exit code from [`crate::run::Report`].

pub mod document;
pub mod html;
pub mod junit;
pub mod text;
