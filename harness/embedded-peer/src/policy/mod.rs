//! What signatures suffice: signature policies, implicit meta policies, and the sets that satisfy them.
