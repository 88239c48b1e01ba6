//! The discovery service, as far as SDKs and the peer tool need it.
