//! PEM text and the one DER structure that is needed: an elliptic-curve public key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Largest PEM text that is read, in bytes.
const MAX_PEM_BYTES: usize = 16 * 1024;

/// The curves that OMS requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    /// Everything of a `SubjectPublicKeyInfo` (RFC 5480) before the point: there is one DER
    /// encoding for each named curve with an uncompressed point.
    pub(super) const fn spki_prefix(self) -> &'static [u8] {
        match self {
            Self::P256 => b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00",
            Self::P384 => b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\x03\x62\x00",
            Self::P521 => {
                b"\x30\x81\x9b\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x23\x03\x81\x86\x00"
            }
        }
    }

    /// Length of an uncompressed point, its leading 4 included.
    const fn point_length(self) -> usize {
        match self {
            Self::P256 => 65,
            Self::P384 => 97,
            Self::P521 => 133,
        }
    }

    /// The curve and the uncompressed point of a `SubjectPublicKeyInfo`.
    pub(super) fn split_spki(der: &[u8]) -> Option<(Self, &[u8])> {
        Self::ALL.into_iter().find_map(|curve| {
            let point = der.strip_prefix(curve.spki_prefix())?;
            (point.len() == curve.point_length() && point[0] == 4).then_some((curve, point))
        })
    }
}

/// The label and content of the first block of a PEM text.
pub(super) fn parse_pem(text: &str) -> Option<(&str, Vec<u8>)> {
    if text.len() > MAX_PEM_BYTES {
        return None;
    }
    let (label, content) = parse_pem_blocks(text).next()?;
    Some((label, content?))
}

/// Labels and contents of all blocks of a PEM text; the content is none where it is not base64.
pub(super) fn parse_pem_blocks(text: &str) -> impl Iterator<Item = (&str, Option<Vec<u8>>)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once("-----BEGIN ")?;
        let (label, after) = after.split_once("-----")?;
        let (body, after) = after.split_once(&format!("-----END {label}-----"))?;
        rest = after;
        let base64: String = body.split_whitespace().collect();
        Some((label, STANDARD.decode(base64).ok()))
    })
}

/// PEM with lines of 64 characters and a final newline, as OpenSSL and Python write it.
pub(super) fn write_pem(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = tail;
    }
    pem.push_str(&format_end(label));
    pem
}

fn format_end(label: &str) -> String {
    format!("-----END {label}-----\n")
}
