//! Signed rights for clients that cannot send their token: single-purpose, bound, expiring.
//!
//! Git-LFS clients send bytes to a URL without any credential of theirs, and Xet clients talk to
//! a store with a short-lived token. Both carry claims that this registry signed. The token that
//! asked for them is named in the claims and looked up again on use, so revoking it ends
//! everything it led to.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::database::now_ms;
use crate::error::{Error, Result};
use crate::registry::Registry;

/// Longest capability that is looked at, in bytes.
const MAX_BYTES: usize = 8 << 10;

#[derive(Serialize, Deserialize)]
struct Signed<C> {
    /// What it may be used for.
    purpose: String,
    /// Milliseconds since 1970.
    expires_at: i64,
    claims: C,
}

impl Registry {
    /// Signs `claims` for one purpose. The text is safe in URLs and headers.
    pub fn issue_capability<C: Serialize>(&self, purpose: &str, expires_at: i64, claims: &C) -> Result<String> {
        let document = serde_json::to_vec(&Signed { purpose: purpose.to_owned(), expires_at, claims })?;
        let tag = hmac::sign(self.keys.capability_key(), &document);
        Ok(format!("{}.{}", URL_SAFE_NO_PAD.encode(&document), URL_SAFE_NO_PAD.encode(tag.as_ref())))
    }

    /// The claims of a capability that this registry signed for this purpose and that has not
    /// expired; else [`Error::Capability`].
    pub fn open_capability<C: DeserializeOwned>(&self, purpose: &str, text: &str) -> Result<C> {
        let refused = |reason: &'static str| Error::Capability(reason);
        let parts = (text.len() <= MAX_BYTES).then(|| text.split_once('.')).flatten();
        let (document, tag) = parts.ok_or_else(|| refused("it is not one of this server's"))?;
        let decode = |part| URL_SAFE_NO_PAD.decode(part).map_err(|_| refused("it is not one of this server's"));
        let (document, tag) = (decode(document)?, decode(tag)?);
        hmac::verify(self.keys.capability_key(), &document, &tag)
            .map_err(|_| refused("its signature is not this server's"))?;
        let signed: Signed<C> = serde_json::from_slice(&document).map_err(|_| refused("it is for something else"))?;
        if signed.purpose != purpose {
            return Err(refused("it is for something else"));
        }
        if signed.expires_at <= now_ms() {
            return Err(refused("it has expired"));
        }
        Ok(signed.claims)
    }
}
