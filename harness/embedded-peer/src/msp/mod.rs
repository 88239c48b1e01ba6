//! Whose signature is it: identities, certificates and the roles they have.
