//! What passes between client, peer and chaincode, for whoever listens.
