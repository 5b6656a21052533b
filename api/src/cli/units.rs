//! Numbers as people read them.

pub(super) use verifier::number::grouped;

use super::output::CliError;

/// Bytes in decimal units, as disks are sold and networks are rated.
pub(super) fn bytes(count: u64) -> String {
    scaled(count, &["kB", "MB", "GB", "TB", "PB", "EB"]).unwrap_or_else(|| format!("{count} bytes"))
}

/// A large count, such as `134.5 M`.
pub(super) fn count(count: u64) -> String {
    scaled(count, &["k", "M", "B", "T"]).unwrap_or_else(|| count.to_string())
}

fn scaled(count: u64, units: &[&str]) -> Option<String> {
    let mut tenths = u128::from(count) * 10;
    let mut unit = None;
    for name in units {
        if tenths < 10_000 {
            break;
        }
        tenths = (tenths + 500) / 1000;
        unit = Some(name);
    }
    unit.map(|unit| format!("{}.{} {unit}", tenths / 10, tenths % 10))
}

/// `count` with the right form of a noun whose plural ends in `s`.
pub(super) fn plural(count: usize, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count as u64), if count == 1 { "" } else { "s" })
}

/// Milliseconds as `312 ms`, `4.2 s` or `3 min 5 s`.
pub(super) fn duration(milliseconds: u64) -> String {
    match milliseconds {
        0..1000 => format!("{milliseconds} ms"),
        1000..60_000 => format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100),
        _ => format!("{} min {} s", milliseconds / 60_000, milliseconds % 60_000 / 1000),
    }
}

/// Seconds of a time such as `90d`, `12h`, `30m` or `45s`.
pub(super) fn parse_seconds(text: &str) -> Result<u64, CliError> {
    let invalid = || CliError::Usage(format!("{text:?} is not a time such as 90d, 12h, 30m or 45s"));
    let unit = text.chars().next_back().ok_or_else(invalid)?;
    let seconds: u64 = match unit {
        'd' => 86_400,
        'h' => 3600,
        'm' => 60,
        's' => 1,
        _ => return Err(invalid()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| invalid())?;
    number.checked_mul(seconds).filter(|seconds| *seconds > 0).ok_or_else(invalid)
}

/// Bytes of a size such as `8GB`, `512MiB` or `1000`.
pub(super) fn parse_bytes(text: &str) -> Result<u64, CliError> {
    let invalid = || CliError::Usage(format!("{text:?} is not a size such as 8GB, 512MiB or 1000000"));
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit: u64 = match text[digits..].trim() {
        "" | "B" => 1,
        "kB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(invalid()),
    };
    let number: u64 = text[..digits].parse().map_err(|_| invalid())?;
    number.checked_mul(unit).filter(|bytes| *bytes > 0).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short_and_rounded() {
        let cases =
            [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (98_312_345, "98.3 MB"), (1 << 30, "1.1 GB")];
        for (amount, expected) in cases {
            assert_eq!(bytes(amount), expected);
        }
        assert_eq!(bytes(u64::MAX), "18.4 EB");
        assert_eq!(count(134_515_008), "134.5 M");
        assert_eq!(count(999), "999");
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(1234), "1,234");
        assert_eq!(grouped(134_515_008), "134,515,008");
        assert_eq!(plural(1, "file"), "1 file");
        assert_eq!(plural(2000, "file"), "2,000 files");
    }

    #[test]
    fn durations_have_a_fitting_unit() {
        assert_eq!(duration(312), "312 ms");
        assert_eq!(duration(4250), "4.2 s");
        assert_eq!(duration(185_000), "3 min 5 s");
    }

    #[test]
    fn times_and_sizes_are_read_with_their_units() {
        assert_eq!(parse_seconds("90d").unwrap(), 7_776_000);
        assert_eq!(parse_seconds("45s").unwrap(), 45);
        assert_eq!(parse_bytes("8GB").unwrap(), 8_000_000_000);
        assert_eq!(parse_bytes("512MiB").unwrap(), 512 << 20);
        assert_eq!(parse_bytes("1000").unwrap(), 1000);
        for wrong in ["", "d", "5", "0d", "-1d", "5 d", "é", "99999999999999999999d", "18446744073709551615d"] {
            assert!(parse_seconds(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "GB", "0", "1gb", "1.5GB", "99999999TiB"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }
}
