//! The report of a run: case results and messages as text for a terminal, as JSON, as XML for CI
//! services, and as an HTML page.
//!
//! Only presents results: outcomes come from [`crate::check`], the exit code from [`crate::run::Report`].

mod causes;
pub(crate) mod document;
pub(crate) mod html;
pub(crate) mod junit;
pub(crate) mod text;
