//! Tests with blocks validated by real peers, and with faulty blocks.

mod codes;
mod hostile;
mod policies;
mod replay;
