//! Whether one list may replace another.

use super::list::{RevocationError, SignedRevocationList};

/// Refuses `next` as a replacement for `previous` where it has a lower number, the same number
/// and other content, or another issuer.
///
/// Gives what the new list takes back of the old one, in words: an issuer may do that, but a
/// person should see it.
pub fn check_successor(
    previous: &SignedRevocationList,
    next: &SignedRevocationList,
) -> Result<Vec<String>, RevocationError> {
    let (held, offered) = (previous.list(), next.list());
    if held.issuer != offered.issuer {
        return Err(RevocationError::OtherIssuer { held: held.issuer.clone(), offered: offered.issuer.clone() });
    }
    if offered.number < held.number {
        return Err(RevocationError::Rollback { held: held.number, offered: offered.number });
    }
    if offered.number == held.number && previous.digest() != next.digest() {
        return Err(RevocationError::NumberReused(held.number));
    }
    let withdrawn = held.entries.iter().filter_map(|old| match next.find(&old.revoked) {
        None => Some(old.revoked.to_string()),
        Some(new) if new.is_looser_than(old) => Some(format!("{}, before a later moment", old.revoked)),
        Some(_) => None,
    });
    Ok(withdrawn.collect())
}
