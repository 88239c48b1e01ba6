//! Cuts transactions into blocks: the broadcast and participation services.
