//! A network of peers and orderers in this process.
