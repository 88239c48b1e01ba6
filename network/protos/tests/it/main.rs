//! The encoding of the bindings, and that they are generated from `proto/`.

#[cfg(feature = "codegen")]
mod generated;
mod wire;
