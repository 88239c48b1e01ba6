//! Packages, external builders, and the stream to a chaincode server.
