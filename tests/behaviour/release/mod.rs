//! scripts/release, scripts/install and scripts/sbom, with throw-away keys, in a checkout of their own.

mod checkout;
mod install;
mod made;
mod supply_chain;
