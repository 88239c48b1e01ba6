//! Blocks that real peers validated, and blocks made wrong in every way.

mod codes;
mod hostile;
mod policies;
mod replay;
