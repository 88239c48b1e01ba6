//! Messages that are to fail, be delayed or be lost, for tests.
