//! Signed rights for clients that cannot send their token: single-purpose, bound, expiring.
//!
//! Git-LFS clients send bytes to a URL without any credential of theirs, and Xet clients talk to
//! a store with a short-lived token. Both carry claims that this registry signed. The token that
//! asked for them is named beside the claims and looked up again on use, so revoking it ends
//! everything it led to.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::access::Caller;
use crate::database::now_ms;
use crate::error::{Error, Result};
use crate::registry::Registry;

/// Longest capability that is looked at, in bytes.
const MAX_BYTES: usize = 8 << 10;

#[derive(Serialize, Deserialize)]
struct Signed<C> {
    /// What it may be used for.
    purpose: String,
    /// The token of the caller it was issued to; none for someone without one.
    token_id: Option<String>,
    /// Milliseconds since 1970.
    expires_at: i64,
    claims: C,
}

impl Registry {
    /// Signs `claims` for one purpose, on behalf of `caller`. The text is safe in URLs and headers.
    pub fn issue_capability<C: Serialize>(
        &self,
        caller: &Caller,
        purpose: &str,
        expires_at: i64,
        claims: &C,
    ) -> Result<String> {
        let token_id = caller.token_id().map(str::to_owned);
        let document = serde_json::to_vec(&Signed { purpose: purpose.to_owned(), token_id, expires_at, claims })?;
        let tag = hmac::sign(self.keys.capability_key(), &document);
        Ok(format!("{}.{}", URL_SAFE_NO_PAD.encode(&document), URL_SAFE_NO_PAD.encode(tag.as_ref())))
    }

    /// The claims of a capability that this registry signed for this purpose, and the caller on
    /// whose behalf; [`Error::Capability`] where it, or that caller's token, has ended.
    pub async fn open_capability<C: DeserializeOwned>(&self, purpose: &str, text: &str) -> Result<(Caller, C)> {
        let signed: Signed<C> = self.verify_capability(text)?;
        if signed.purpose != purpose {
            return Err(Error::Capability("it is for something else"));
        }
        if signed.expires_at <= now_ms() {
            return Err(Error::Capability("it has expired"));
        }
        Ok((self.caller_by_token_id(signed.token_id.as_deref()).await?, signed.claims))
    }

    fn verify_capability<C: DeserializeOwned>(&self, text: &str) -> Result<Signed<C>> {
        let foreign = || Error::Capability("it is not one of this server's");
        let parts = (text.len() <= MAX_BYTES).then(|| text.split_once('.')).flatten();
        let (document, tag) = parts.ok_or_else(foreign)?;
        let decode = |part| URL_SAFE_NO_PAD.decode(part).map_err(|_| foreign());
        let (document, tag) = (decode(document)?, decode(tag)?);
        hmac::verify(self.keys.capability_key(), &document, &tag)
            .map_err(|_| Error::Capability("its signature is not this server's"))?;
        serde_json::from_slice(&document).map_err(|_| Error::Capability("it is for something else"))
    }
}
