//! Whether a place is inside an exclusion.

/// The members of the European Union, ISO 3166-1 alpha-2.
const EUROPEAN_UNION: [&str; 27] = [
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT", "LU", "LV",
    "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
];

/// Whether `territory` is one of the excluded ones or lies in one.
pub(super) fn is_excluded(excluded: &[String], territory: &str) -> bool {
    let territory = match territory.to_ascii_uppercase().as_str() {
        "UK" => "GB".to_owned(),
        "EL" => "GR".to_owned(),
        other => other.to_owned(),
    };
    let in_union = EUROPEAN_UNION.contains(&territory.as_str());
    excluded.iter().any(|place| *place == territory || (place == "EU" && in_union))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_state_is_in_the_union() {
        let excluded = ["EU".to_owned(), "KR".to_owned()];
        for place in ["EU", "DE", "FR", "KR", "de"] {
            assert!(is_excluded(&excluded, place), "{place}");
        }
        for place in ["US", "GB", "CH", "NO"] {
            assert!(!is_excluded(&excluded, place), "{place}");
        }
        assert!(is_excluded(&["GB".to_owned()], "UK"));
    }
}
