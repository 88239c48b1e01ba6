//! The gateway service, by which SDKs evaluate and submit.
