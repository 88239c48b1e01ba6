//! Streams blocks: the deliver services of peers and orderers.
