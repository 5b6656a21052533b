//! Names, times and addresses as the formats write them.

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use super::Subject;

/// A UUID of version 8 (RFC 9562) from the revision's name and content, equal for every document
/// of the revision.
pub(super) fn uuid(subject: &Subject) -> String {
    let mut hasher = Sha256::new();
    for field in ["weighhouse-aibom-v1", &subject.full_name(), &subject.version(), &subject.content_digest] {
        hasher.update((field.len() as u64).to_be_bytes());
        hasher.update(field.as_bytes());
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize()[..16]);
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let digits = hex::encode(bytes);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

/// RFC 3339 in whole seconds, UTC, as SPDX demands; 1970 for a time that no calendar has.
pub(super) fn timestamp(milliseconds: i64) -> String {
    let whole = SignedDuration::from_secs(milliseconds.div_euclid(1000));
    let time = Timestamp::from_duration(whole).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The package URL of a repository of the Hub's form, `owner/name` or `name`; none for other names.
pub(super) fn purl(name: &str, revision: Option<&str>) -> Option<String> {
    if !is_repository(name) {
        return None;
    }
    let mut purl = String::from("pkg:huggingface");
    for segment in name.split('/') {
        purl.push('/');
        purl.push_str(&escaped(segment));
    }
    if let Some(revision) = revision {
        purl.push('@');
        purl.push_str(&escaped(&revision.to_ascii_lowercase()));
    }
    Some(purl)
}

/// Whether `name` can be a repository's, so that an address made of it means something.
pub(super) fn is_repository(name: &str) -> bool {
    let is_part =
        |part: &str| !part.is_empty() && !part.chars().all(|c| c == '.') && !part.contains(char::is_whitespace);
    let parts: Vec<&str> = name.split('/').collect();
    parts.len() <= 2 && name.len() <= 200 && parts.into_iter().all(is_part)
}

/// The repository's address on the Hub, whose names model cards use.
pub(super) fn hub_url(kind: &str, name: &str) -> Option<String> {
    let path = || name.split('/').map(escaped).collect::<Vec<_>>().join("/");
    is_repository(name).then(|| format!("https://huggingface.co/{kind}{}", path()))
}

/// Percent-encodes all but RFC 3986's unreserved characters.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&hex::encode_upper([byte]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_in_package_urls() {
        assert_eq!(purl("a/b.c", Some("AB@1")).unwrap(), "pkg:huggingface/a/b.c@ab%401");
        assert_eq!(purl("gpt2", None).unwrap(), "pkg:huggingface/gpt2");
        assert_eq!(purl("ä/b?c#d", None).unwrap(), "pkg:huggingface/%C3%A4/b%3Fc%23d");
        for wrong in ["", "a/", "/b", "a/b/c", "a/..", "a b/c"] {
            assert_eq!(purl(wrong, None), None, "{wrong}");
        }
    }

    #[test]
    fn times_have_whole_seconds_and_odd_ones_do_no_harm() {
        assert_eq!(timestamp(1_764_000_000_999), "2025-11-24T16:00:00Z");
        assert_eq!(timestamp(-1), "1969-12-31T23:59:59Z");
        assert_eq!(timestamp(i64::MAX), "1970-01-01T00:00:00Z");
    }
}
