//! What must no longer be believed: a list that is carried to where no network is.
//!
//! Sigstore revokes nothing because its certificates live for minutes, OMS knows no revocation,
//! and no answer of an online service reaches a closed site. So keys, certificates, signature
//! bundles and contents are named in one numbered document, signed by its issuer. A list may be
//! replaced only by one of a higher number: whoever could bring an older one back would undo a
//! revocation. Certificate authorities publish lists of their own (RFC 5280), which are read too.

mod crl;
mod entry;
mod list;
mod succession;

pub use crl::{Crl, CrlEntry, CrlError, NamedCrl};
pub use entry::{CompromisedFrom, Entry, EntryError, LogMoment, Receipt, Revoked, TimeMoment};
pub use list::{
    MAX_LIST_BYTES, PAYLOAD_TYPE, RevocationError, RevocationList, SignedRevocationList, sign, sign_document, verify,
};
pub use succession::check_successor;
