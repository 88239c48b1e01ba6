//! Chaincode definitions: how they are kept in the state, and the functions of `_lifecycle`.
