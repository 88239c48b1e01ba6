//! What the bindings put on the wire, and that they are generated from what lies in `proto/`.

#[cfg(feature = "codegen")]
mod generated;
mod wire;
