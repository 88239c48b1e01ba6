//! Builders made of a few lines of shell, each for one behavior of a peer.
